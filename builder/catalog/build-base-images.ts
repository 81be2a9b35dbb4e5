import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { UserError } from '../../core/user-error.ts';
import { type Digest, digestOf } from '../../oci/digest.ts';
import { isOciError } from '../../oci/errors.ts';
import { encodeImageConfig } from '../../oci/image-config.ts';
import { createContentSpool } from '../../oci/layer/content-spool.ts';
import type { Layer } from '../../oci/layer.ts';
import { parseManifest } from '../../oci/manifest.ts';
import { mediaTypes } from '../../oci/media-types.ts';
import type { Registry } from '../../oci/registry.ts';
import { type BaseImage, createBaseImageReader } from '../engines/assembler/base-image.ts';
import { mountLayers } from '../engines/assembler/mount-layers.ts';
import { pushLayer } from '../engines/assembler/push-layer.ts';
import { BaseImageGone } from '../engines/base-image-gone.ts';
import { baseImageConfig, baseImageManifest, recipeAnnotation } from './base-image-documents.ts';
import { makeBaseLayer } from './base-layer.ts';
import { buildKey, recipeKey } from './build-key.ts';
import { type CatalogEntry, catalogFaultsError, findEntry, lineOf } from './catalog.ts';
import { loadCatalog } from './load-catalog.ts';
import type { CatalogMirrors } from './sources/mirror-addresses.ts';
import { createSourceFetcher, type SourceFetcher, type SourceStore } from './sources/source-fetcher.ts';
import { readStaticFiles } from './static-files.ts';

export interface BaseImageProgress {
  /** The entry's id, `jdk:17`. */
  readonly name: string;
  readonly step: 'download' | 'unpack' | 'compress' | 'push' | 'done';
  readonly done: number;
  readonly total: number;
}

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
  /** Where sources were kept for closed networks; asked before the rest of the world. Default: there is none. */
  readonly sourceStore?: SourceStore;
  /** Sources come from the cache and `sourceStore` only. Default false. */
  readonly offline?: boolean;
  readonly onProgress?: (progress: BaseImageProgress) => void;
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

/**
 * Brings the catalog's images into the registry, parents first. An entry whose recipe and parent are those of the image in its first channel is left alone.
 * Errors: UserError (faults in the catalog with file and line, missing programs, downloads, a parent that somebody deletes meanwhile), and those of the registry.
 */
export async function buildBaseImages(options: BuildBaseImagesOptions): Promise<readonly BuiltBaseImage[]> {
  const { entries, mirrors } = await wantedEntries(options);
  const architecture = options.architecture ?? (process.arch === 'x64' ? 'amd64' : process.arch);
  const controller = new AbortController();
  const signal = AbortSignal.any([
    controller.signal,
    ...(options.signal === undefined ? [] : [options.signal]),
  ]);
  const readBase = createBaseImageReader(options.registry);
  const fetcher = createSourceFetcher({
    folder: options.cacheDir,
    mirrors,
    offline: options.offline === true,
    ...(options.sourceStore === undefined ? {} : { store: options.sourceStore }),
  });
  const started = new Map<string, Promise<BuiltBaseImage>>();
  for (const entry of entries) {
    const parent = entry.parent === undefined ? undefined : started.get(entry.parent);
    started.set(entry.id, buildEntry(entry, parent, { ...options, architecture, signal, readBase, fetcher }));
  }
  try {
    return await Promise.all(started.values());
  } catch (error) {
    controller.abort();
    await Promise.allSettled(started.values());
    if (!(error instanceof BaseImageGone)) throw error;
    throw new UserError(`${error.message}; no channel was moved to it, run this again`, { cause: error });
  } finally {
    fetcher.close();
  }
}

async function wantedEntries(
  options: BuildBaseImagesOptions,
): Promise<{ readonly entries: readonly CatalogEntry[]; readonly mirrors: CatalogMirrors }> {
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
  return { entries: entries.filter((entry) => wanted.has(entry)), mirrors };
}

interface EntryContext extends BuildBaseImagesOptions {
  readonly architecture: string;
  readonly signal: AbortSignal;
  readonly readBase: ReturnType<typeof createBaseImageReader>;
  readonly fetcher: SourceFetcher;
}

async function buildEntry(
  entry: CatalogEntry,
  parent: Promise<BuiltBaseImage> | undefined,
  context: EntryContext,
): Promise<BuiltBaseImage> {
  const { registry, architecture } = context;
  const { id } = entry;
  const { name, channels } = entry.file;
  const report = (step: BaseImageProgress['step'], done: number, total: number): void =>
    context.onProgress?.({ name: id, step, done, total });
  const staticFiles = await readStaticFiles(entry);
  const current = await currentImage(registry, entry);
  const recipeFor = (digest: Digest | undefined): string =>
    recipeKey({ entry, staticFiles, parent: digest, architecture });

  // The layer does not depend on the parent, so it is made while the parent is: with most of a level's time spent in downloads
  // and compression, two levels take little longer than the slower one. It is only started early when it surely will be needed.
  const early = current === undefined || context.update === true ? makeLayer() : undefined;
  early?.catch(() => undefined);
  const below = await parent;
  const recipe = recipeFor(below?.digest);
  if (current?.recipe === recipe && context.update !== true) {
    report('done', 1, 1);
    return {
      name,
      id,
      repository: entry.repository,
      digest: current.digest,
      tags: channels,
      built: false,
      layerBytes: 0,
    };
  }
  const { layer, sources } = await (early ?? makeLayer());
  report('push', 0, 1);
  const base = below === undefined ? undefined : await context.readBase(below);
  if (below !== undefined && base !== undefined) {
    await mountLayers(registry, entry.repository, base.layers, below);
  }
  const key = buildKey(recipe, sources);
  const image = await pushImage({ entry, base, below, layer, recipe, key, sources }, context);
  report('done', 1, 1);
  return { ...image, layerBytes: layer.size };

  async function makeLayer(): Promise<{ layer: Layer; sources: readonly string[] }> {
    await mkdir(context.cacheDir, { recursive: true });
    const spool = createContentSpool({ folder: context.cacheDir, memoryBytes: 32 * 1024 * 1024 });
    try {
      const files = await makeBaseLayer(entry, staticFiles, {
        cacheDir: context.cacheDir,
        fetcher: context.fetcher,
        architecture,
        spool,
        signal: context.signal,
        onStep: (step, done, total) => report(step as BaseImageProgress['step'], done, total),
      });
      const total = files.entries.length;
      let done = 0;
      function* counted() {
        for (const file of files.entries) {
          if (done % 200 === 0) report('compress', done, total);
          done += 1;
          yield file;
        }
      }
      const { layer, store } = await pushLayer(registry, entry.repository, counted(), context.signal);
      await store();
      report('compress', total, total);
      return { layer, sources: files.sources };
    } finally {
      await spool.close();
    }
  }
}

/** What the first channel points to; the recipe is '' for an image that somebody else pushed. */
async function currentImage(
  registry: Registry,
  entry: CatalogEntry,
): Promise<{ digest: Digest; recipe: string } | undefined> {
  try {
    const { bytes, descriptor } = await registry.getManifest(entry.repository, entry.file.channels[0] ?? '');
    const manifest = parseManifest(bytes, descriptor.mediaType);
    return { digest: descriptor.digest, recipe: manifest.annotations?.[recipeAnnotation] ?? '' };
  } catch (error) {
    if (isOciError(error, 'MANIFEST_UNKNOWN') || isOciError(error, 'NAME_UNKNOWN')) return undefined;
    throw error;
  }
}

async function pushImage(
  image: {
    readonly entry: CatalogEntry;
    readonly base: BaseImage | undefined;
    readonly below: BuiltBaseImage | undefined;
    readonly layer: Layer;
    readonly recipe: string;
    readonly key: string;
    readonly sources: readonly string[];
  },
  context: EntryContext,
): Promise<Omit<BuiltBaseImage, 'layerBytes'>> {
  const { entry } = image;
  const { registry, architecture } = context;
  const config = encodeImageConfig(baseImageConfig(entry, image.base?.config, image.layer, architecture));
  await registry.putBlob(entry.repository, digestOf(config), config);
  const bytes = baseImageManifest({ ...image, config });
  const digest = digestOf(bytes);
  await registry.putManifest(entry.repository, digest, bytes, mediaTypes.ociManifest);
  // The immutable tag first: a channel never points to something that has no name of its own.
  const tags = [`${entry.file.version}-${image.key.slice(0, 8)}`, ...entry.file.channels];
  for (const tag of tags) await registry.putManifest(entry.repository, tag, bytes, mediaTypes.ociManifest);
  return {
    name: entry.file.name,
    id: entry.id,
    repository: entry.repository,
    digest,
    tags: [...entry.file.channels, tags[0] ?? ''],
    built: true,
  };
}

/** Where downloads are kept, below the folder that the program uses for its caches. */
export function baseImageCache(cacheRoot: string): string {
  return join(cacheRoot, 'base-images');
}
