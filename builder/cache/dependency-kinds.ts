import { posix } from 'node:path';
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
  readonly paths: readonly string[];
  /** Changes with the lockfiles, and with nothing else of the source. */
  readonly lock: readonly string[];
}

/**
 * The caches of a build. `written` is `build.cache` of App.yaml: paths that begin with `~/`, false for none, or undefined for those whose lockfiles are in the source.
 */
export function chooseCaches(
  written: false | readonly string[] | undefined,
  entries: readonly SourceEntry[],
): readonly ChosenCache[] {
  if (written === false) return [];
  if (written !== undefined) {
    const paths = [...new Set(written.map((path) => path.replace(/^~\//, '').replace(/\/+$/, '')))].sort();
    const lock = lockOf(entries, (name) => dependencyKinds.some((each) => each.isLockfile(name)));
    return [{ name: 'own', paths, lock }];
  }
  return dependencyKinds.flatMap(({ name, paths, isLockfile }) => {
    const lock = lockOf(entries, isLockfile);
    return lock.length === 0 ? [] : [{ name, paths, lock }];
  });
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
