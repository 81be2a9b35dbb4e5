import { join } from 'node:path';
import { JobFailed } from '../../core/queue/job-queue.ts';
import { UserError } from '../../core/user-error.ts';
import { createLimit } from '../../oci/copy/limit.ts';
import type { Digest } from '../../oci/digest.ts';
import type { Registry } from '../../oci/registry.ts';
import { createBaseImageReader } from '../engines/assembler/base-image.ts';
import { BaseImageGone } from '../engines/base-image-gone.ts';
import { ContainerApiError } from '../engines/docker/container-api.ts';
import type { LevelSandbox } from '../engines/level-sandbox.ts';
import { BaseImagesFailed, type LevelFailure } from './base-images-failed.ts';
import { buildLevel, type LevelImageBuilt } from './build-level.ts';
import { type CatalogEntry, catalogFaultsError, findEntry, lineOf } from './catalog.ts';
import { checkArchitectures } from './choose-architectures.ts';
import { createDebianDownloads } from './debian/downloads.ts';
import { createKeptDownloads } from './debian/kept-downloads.ts';
import { type BaseImageProgress, EngineMissing, type LevelContext } from './level-context.ts';
import { loadCatalog } from './load-catalog.ts';
import { channelGroups, type LevelOutcome, moveChannels } from './move-channels.ts';
import { createKeptSources } from './sources/kept-sources.ts';
import type { CatalogMirrors } from './sources/mirror-addresses.ts';
import { createSourceFetcher } from './sources/source-fetcher.ts';

export interface BuildBaseImagesOptions {
  /** Of several, entries of a later one stand in for those of an earlier one. */
  readonly catalogDir: string | readonly string[];
  /** Entries to build, with their parents: `jdk:17`, or `jdk` for its latest; undefined = all but those marked untested. */
  readonly names?: readonly string[];
  readonly registry: Registry;
  /** Keeps downloads between builds; may be removed at any time. */
  readonly cacheDir: string;
  /** Look for newer packages also where recipe and parent are unchanged. Default false. */
  readonly update?: boolean;
  /** Debian's name of the architecture. Default: this machine's. */
  readonly architecture?: string;
  /** Several make an index of images. Default: those of the image that is there, else `architecture`. */
  readonly architectures?: readonly string[];
  /** Sources, packages of npm and of Debian come from the cache and `sourcesRepository` only, see `mirrorSources`. Default false: it is only asked first. */
  readonly offline?: boolean;
  /** The container engine, asked for when the first level needs it. Default: there is none. */
  readonly sandbox?: () => Promise<LevelSandbox | undefined>;
  readonly onProgress?: (progress: BaseImageProgress) => void;
  /** What whoever builds should know. */
  readonly log?: (line: string) => void;
  readonly signal?: AbortSignal;
}

export interface BuiltBaseImage {
  readonly name: string;
  /** The entry's id, `jdk:17`. */
  readonly id: string;
  readonly repository: string;
  readonly digest: Digest;
  /** Channels, then the immutable tag. Only the channels when nothing was to do. */
  readonly tags: readonly string[];
  readonly built: boolean;
  /** Bytes of the entry's own compressed layer; 0 when nothing was to do. */
  readonly layerBytes: number;
}

/** Scripts and tests at the same time: each may use as much as a build. */
const runsAtOnce = 2;

/** Lines of a script's output that an error shows. */
const shownLines = 25;

/**
 * Brings the catalog's images into the registry, parents first. An entry whose recipe and parent are those of the image in its first channel is left alone; a
 * level that comes out as it was stops the wave there. Channels move last: those of an entry and of all that changed on top of it together, once all of
 * these were made and tried. Errors: UserError (faults in the catalog with file and line), BaseImagesFailed when a level could not be made (others were), and
 * those of the registry.
 */
export async function buildBaseImages(options: BuildBaseImagesOptions): Promise<readonly BuiltBaseImage[]> {
  checkArchitectures(options.architectures);
  const { all, wanted, mirrors } = await wantedEntries(options);
  const controller = new AbortController();
  const output = createOutput();
  const fetcher = createSourceFetcher({
    folder: options.cacheDir,
    mirrors,
    offline: options.offline === true,
    store: createKeptSources(options.registry),
  });
  const context = createContext(options, {
    fetcher,
    failed: controller.signal,
    output: (entry, line) => output.add(entry, line),
  });
  const started = new Map<string, Promise<LevelImageBuilt>>();
  const built: LevelImageBuilt[] = [];
  const failures = new Map<string, LevelFailure>();
  let fatal: { readonly error: unknown } | undefined;
  for (const entry of wanted) {
    const below = started.get(entry.parent ?? '');
    const suite = lineOf(all, entry)[0]?.file.debian?.suite;
    const level = buildLevel(entry, { below, suite }, context);
    started.set(entry.id, level);
    level.then(
      (image) => built.push(image),
      (error: unknown) => {
        const parent = failures.get(entry.parent ?? '')?.entry;
        const failure =
          parent === undefined ? toFailure(entry, error, output.last(entry)) : blocked(entry, parent);
        if (failure !== undefined) failures.set(entry.id, failure);
        else fatal ??= { error };
        if (failure === undefined) controller.abort();
      },
    );
  }
  await Promise.allSettled(started.values());
  fetcher.close();
  options.signal?.throwIfAborted();
  if (fatal !== undefined) throw fatal.error;
  const held = await moveGroups({ wanted, built, failures }, options.registry);
  const inOrder = wanted.flatMap((entry) => built.filter((image) => image.entry === entry));
  const images = inOrder.map(toResult);
  if (failures.size > 0) throw new BaseImagesFailed([...failures.values()], images, held);
  return images;
}

/** Undefined for what is no fault of the level alone. */
function toFailure(entry: CatalogEntry, error: unknown, output: readonly string[]): LevelFailure | undefined {
  if (error instanceof EngineMissing) return { kind: 'no engine', entry };
  const kinds = [UserError, JobFailed, BaseImageGone, ContainerApiError];
  if (!(error instanceof Error) || !kinds.some((kind) => error instanceof kind)) return undefined;
  return { kind: 'failed', entry, error, output };
}

function blocked(entry: CatalogEntry, below: CatalogEntry): LevelFailure {
  return { kind: 'blocked', entry, below };
}

/** Moves the channels of all groups in which nothing failed; returns the entries with new images whose channels stay. */
async function moveGroups(
  run: {
    readonly wanted: readonly CatalogEntry[];
    readonly built: readonly LevelImageBuilt[];
    readonly failures: ReadonlyMap<string, LevelFailure>;
  },
  registry: Registry,
): Promise<readonly CatalogEntry[]> {
  const images = new Map(run.built.map((image) => [image.entry.id, image]));
  const outcomes = run.wanted.map((entry): LevelOutcome => {
    const failure = run.failures.get(entry.id);
    if (failure !== undefined) return { entry, state: failure.kind === 'failed' ? 'failed' : 'not built' };
    return { entry, state: images.get(entry.id)?.changed === true ? 'changed' : 'unchanged' };
  });
  const held: CatalogEntry[] = [];
  for (const group of channelGroups(outcomes)) {
    const failed = group.some(({ state }) => state === 'failed');
    for (const { entry } of group) {
      const image = images.get(entry.id);
      if (image === undefined) continue;
      if (failed) held.push(entry);
      else await moveChannels(registry, image);
    }
  }
  return held;
}

function toResult({ entry, digest, tag, layerBytes }: LevelImageBuilt): BuiltBaseImage {
  const { name, channels } = entry.file;
  return {
    name,
    id: entry.id,
    repository: entry.repository,
    digest,
    tags: tag === undefined ? channels : [...channels, tag],
    built: tag !== undefined,
    layerBytes,
  };
}

function createContext(
  options: BuildBaseImagesOptions,
  own: Pick<LevelContext, 'fetcher' | 'output'> & { readonly failed: AbortSignal },
): LevelContext {
  const { registry, cacheDir, onProgress, log } = options;
  let sandbox: Promise<LevelSandbox | undefined> | undefined;
  return {
    registry,
    cacheDir,
    architecture: options.architecture ?? (process.arch === 'x64' ? 'amd64' : process.arch),
    architectures: options.architectures,
    update: options.update === true,
    signal: AbortSignal.any([own.failed, ...(options.signal === undefined ? [] : [options.signal])]),
    readBase: createBaseImageReader(registry),
    fetcher: own.fetcher,
    downloads:
      options.offline === true
        ? createKeptDownloads(createKeptSources(registry), cacheDir)
        : createDebianDownloads(cacheDir),
    async sandbox() {
      sandbox ??= options.sandbox?.() ?? Promise.resolve(undefined);
      return sandbox;
    },
    runs: createLimit(runsAtOnce),
    onProgress: (progress) => onProgress?.(progress),
    output: (entry, line) => own.output(entry, line),
    note: (line) => log?.(line),
  };
}

/** The last lines of each entry's scripts and tests, for an error. */
function createOutput(): {
  add(entry: CatalogEntry, line: string): void;
  last(entry: CatalogEntry): readonly string[];
} {
  const lines = new Map<string, string[]>();
  return {
    add({ id }, line) {
      const known = lines.get(id) ?? [];
      if (known.push(line) > shownLines) known.shift();
      lines.set(id, known);
    },
    last: ({ id }) => lines.get(id) ?? [],
  };
}

async function wantedEntries(options: BuildBaseImagesOptions): Promise<{
  readonly all: readonly CatalogEntry[];
  readonly wanted: readonly CatalogEntry[];
  readonly mirrors: CatalogMirrors;
}> {
  const catalog = await loadCatalog(options.catalogDir);
  if (catalog.entries.length === 0) throw catalogFaultsError(catalog, options.catalogDir);
  const { entries, mirrors } = catalog;
  const named =
    options.names?.map((name) => findEntry(entries, name)) ??
    entries.filter(({ file }) => file.untested === undefined);
  const wanted = new Set(named.flatMap((entry) => lineOf(entries, entry)));
  for (const { id, file } of wanted) {
    if (file.untested !== undefined) options.log?.(`${id} is untested: ${file.untested}`);
  }
  return { all: entries, wanted: entries.filter((entry) => wanted.has(entry)), mirrors };
}

/** Where downloads are kept, below the folder that the program uses for its caches. */
export function baseImageCache(cacheRoot: string): string {
  return join(cacheRoot, 'base-images');
}
