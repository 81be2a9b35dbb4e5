import { posix } from 'node:path';
import { JobFailed } from '../../core/queue/job-queue.ts';
import { pathText } from '../plan/select-source.ts';
import type { SourceEntry } from '../plan/source-tree.ts';

/** What a package manager keeps below $HOME of what it has fetched. */
export interface DependencyKind {
  /** For people and in keys. */
  readonly name: string;
  /** Below $HOME. */
  readonly paths: readonly string[];
  /** Names of the files that say which packages there are, wherever they lie. */
  readonly isLockfile: (name: string) => boolean;
}

/** In the order in which they are restored. */
export const dependencyKinds: readonly DependencyKind[] = [
  kind('npm', ['.npm'], /^(?:package-lock|npm-shrinkwrap)\.json$/),
  kind('yarn', ['.cache/yarn'], /^yarn\.lock$/),
  kind('pnpm', ['.local/share/pnpm/store'], /^pnpm-lock\.yaml$/),
  kind('maven', ['.m2/repository'], /^pom\.xml$/),
  kind(
    'gradle',
    ['.gradle/caches', '.gradle/wrapper'],
    /^(?:gradle\.lockfile|(?:build|settings)\.gradle(?:\.kts)?)$/,
  ),
  kind('pip', ['.cache/pip'], /^(?:requirements[\w.-]*\.txt|poetry\.lock|Pipfile\.lock|uv\.lock)$/),
  kind('go', ['go/pkg/mod', '.cache/go-build'], /^go\.sum$/),
];

/** A cache that a build has. */
export interface ChosenCache {
  readonly name: string;
  /** What `paths` are relative to: $HOME of the commands, or the folder with the source. */
  readonly place: 'home' | 'workspace';
  readonly paths: readonly string[];
  /** Changes with the lockfiles, and with nothing else of the source. */
  readonly lock: readonly string[];
}

/**
 * The caches of a build. `written` is `build.cache` of App.yaml: paths below `~/` or in the workspace, false for none, or undefined for those whose lockfiles are in the source.
 * Errors: JobFailed when a path is one of the source's own, which a cache must not stand in for.
 */
export function chooseCaches(
  written: false | readonly string[] | undefined,
  entries: readonly SourceEntry[],
): readonly ChosenCache[] {
  if (written === false) return [];
  if (written !== undefined) {
    const paths = [...new Set(written.map((path) => path.replace(/\/+$/, '')))].sort();
    const lock = lockOf(entries, (name) => dependencyKinds.some((each) => each.isLockfile(name)));
    const home = paths.flatMap((path) => (path.startsWith('~/') ? [path.slice(2)] : []));
    const workspace = paths.filter((path) => !path.startsWith('~/'));
    for (const path of workspace) refuseOfSource(path, entries);
    return [
      { name: 'own', place: 'home' as const, paths: home, lock },
      { name: 'workspace', place: 'workspace' as const, paths: workspace, lock },
    ].filter((cache) => cache.paths.length > 0);
  }
  return dependencyKinds.flatMap(({ name, paths, isLockfile }) => {
    const lock = lockOf(entries, isLockfile);
    return lock.length === 0 ? [] : [{ name, place: 'home' as const, paths, lock }];
  });
}

function refuseOfSource(path: string, entries: readonly SourceEntry[]): void {
  const own = entries.find(
    (entry) => `${entry.path}/`.startsWith(`${path}/`) || path.startsWith(`${entry.path}/`),
  );
  if (own === undefined) return;
  throw new JobFailed(
    `build.cache: ${path} cannot be kept from build to build, as ${pathText(own.path)} is in the source`,
  );
}

function lockOf(entries: readonly SourceEntry[], isLockfile: (name: string) => boolean): readonly string[] {
  return entries
    .filter(({ path, kind }) => kind !== 'symlink' && isLockfile(posix.basename(path)))
    .filter(({ path }) => !`/${path}`.includes('/node_modules/'))
    .map(({ path, id }) => `${path} ${id}`);
}

function kind(name: string, paths: readonly string[], lockfile: RegExp): DependencyKind {
  return { name, paths, isLockfile: (file) => lockfile.test(file) };
}
