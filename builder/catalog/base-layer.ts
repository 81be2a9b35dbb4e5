import { UserError } from '../../core/user-error.ts';
import type { ContentSpool } from '../../oci/layer/content-spool.ts';
import type { LayerEntry } from '../../oci/layer/entry.ts';
import { compileGlob } from '../plan/glob.ts';
import type { CatalogEntry } from './catalog.ts';
import type { DebianDownloads } from './debian/downloads.ts';
import { layOut } from './debian/lay-out.ts';
import { type InstalledPackage, readPackage } from './debian/read-package.ts';
import { createFileTree, type FileTree, symlink } from './file-tree.ts';
import { addNpmFiles, type NpmPackage, npmPackagesOf } from './npm/npm-package.ts';
import { addSources } from './sources/add-sources.ts';
import type { FetchedSource, SourceFetcher } from './sources/source-fetcher.ts';

export interface BaseLayerContext {
  /** Downloads are kept here between builds. */
  readonly cacheDir: string;
  readonly fetcher: SourceFetcher;
  /** `amd64`, `arm64`. */
  readonly architecture: string;
  readonly downloads: DebianDownloads;
  readonly spool: ContentSpool;
  readonly signal: AbortSignal;
  onStep(step: 'download' | 'unpack', done: number, total: number): void;
}

export interface BaseLayerFiles {
  readonly entries: readonly LayerEntry[];
  /** What was fetched, exactly, e.g. `tini 0.19.0-1+b3 <sha256>`: equal lists, equal layers. */
  readonly sources: readonly string[];
  /** What only static.sh sees, under its name. */
  readonly offered: readonly FetchedSource[];
}

/** Fetches an entry's sources and puts together what of its one layer needs no container engine. Errors: UserError. */
export async function makeBaseLayer(
  entry: CatalogEntry,
  staticFiles: readonly LayerEntry[],
  context: BaseLayerContext,
): Promise<BaseLayerFiles> {
  if (entry.file.image !== undefined) {
    throw new UserError(`${entry.file.name}: entries that name an image of docker.io are not supported yet`);
  }
  const tree = createFileTree();
  const sources = [...(await addDebian(tree, entry, context)), ...(await addNpm(tree, entry, context))];
  const { keys, offered } = await addSources(tree, entry, context);
  sources.push(...keys);
  for (const file of staticFiles) {
    if (file.type === 'directory') tree.add(file);
    else tree.replace(file);
  }
  return { entries: tree.sorted(), sources, offered };
}

async function addDebian(
  tree: FileTree,
  entry: CatalogEntry,
  context: BaseLayerContext,
): Promise<readonly string[]> {
  const { debian } = entry.file;
  if (debian === undefined) return [];
  const { spool, signal, architecture } = context;
  const { packages, sources } = await context.downloads.download(
    { suite: debian.suite, architecture, packages: debian.packages },
    { signal, onProgress: (done, total) => context.onStep('download', done, total) },
  );
  const excludes = debian.exclude ?? [];
  const excluded = createExclusion(excludes);
  const installed: InstalledPackage[] = [];
  // base-files comes first: its modes of /tmp, /root and the like are the ones that count.
  const first = packages.filter(({ name }) => name === 'base-files');
  const rest = packages.filter(({ name }) => name !== 'base-files');
  for (const [index, debianPackage] of [...first, ...rest].entries()) {
    context.onStep('unpack', index, packages.length);
    installed.push(await readPackage(debianPackage, { tree, spool, excluded, signal }));
  }
  context.onStep('unpack', packages.length, packages.length);
  await layOut(tree, installed, { architecture, sources, excludes });
  return packages.map(({ name, version, sha256 }) => `${name} ${version} ${sha256}`);
}

async function addNpm(
  tree: FileTree,
  entry: CatalogEntry,
  context: BaseLayerContext,
): Promise<readonly string[]> {
  const packages = npmPackagesOf(entry.file, context.architecture);
  const wanted = (entry.file.npm ?? []).map((npm, index) => ({ npm, ...(packages[index] as NpmPackage) }));
  const { signal, spool } = context;
  let done = 0;
  if (wanted.length === 0) return [];
  context.onStep('download', 0, wanted.length);
  const files = await Promise.all(
    wanted.map(async (npm) => {
      const { file } = await context.fetcher.npm(npm, signal);
      done += 1;
      context.onStep('download', done, wanted.length);
      return file;
    }),
  );
  for (const [index, { npm }] of wanted.entries()) {
    context.onStep('unpack', index, wanted.length);
    const moves = Object.entries(npm.files).map(([from, to]) => ({ from, to: to.slice(1) }));
    await addNpmFiles(files[index] ?? '', moves, { tree, spool, signal });
    for (const [path, target] of Object.entries(npm.links ?? {})) tree.add(symlink(path.slice(1), target));
  }
  return wanted.map(({ name, version, integrity }) => `${name} ${version} ${integrity}`);
}

/** As .dockerignore: the last pattern that matches decides, and `!` takes back. */
function createExclusion(patterns: readonly string[]): (path: string) => boolean {
  const rules = patterns.map((pattern) => ({
    exclude: !pattern.startsWith('!'),
    glob: compileGlob(pattern.replace(/^!/, '')),
  }));
  return (path) => rules.findLast(({ glob }) => glob.matches(path))?.exclude ?? false;
}
