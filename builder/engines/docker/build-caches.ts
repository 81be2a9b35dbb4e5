import type { Readable } from 'node:stream';
import type { Logger } from '../../../core/log.ts';
import { CacheNotKept, cacheArchive } from '../../cache/cache-archive.ts';
import type { FoundCache } from '../../cache/dependency-cache.ts';
import { formatBytes, formatDuration } from '../../farm/report.ts';
import type { SecretFinder } from '../../secrets/find-secret.ts';
import type { BuildCache, EngineContext } from '../engine.ts';
import type { ContainerApi } from './container-api.ts';
import { buildUser } from './workspace.ts';

export interface BuildCachesInput {
  readonly api: Pick<ContainerApi, 'putArchive' | 'getArchive'>;
  readonly log: Logger;
  /** Has the volume with both places. */
  readonly container: string;
  /** Where caches lie, both there already: $HOME, and the folder with the source. */
  readonly places: Readonly<Record<BuildCache['place'], string>>;
  readonly context: EngineContext;
}

/** A quick way to unpack a tar into a folder of the volume; false = it could not, try another. See `unpackInside`. */
export type Unpack = (folder: string, archive: Readable, signal: AbortSignal) => Promise<boolean>;

/** Compressed bytes up to which another container costs more time than it saves. */
const fewBytes = 2 * 1024 ** 2;

/** A cache that is kept when the commands have succeeded. */
export interface CacheToSave {
  readonly cache: BuildCache;
  /** What the commands began with. */
  readonly restored: FoundCache | undefined;
}

/**
 * Lays out what earlier builds have fetched, and tells of it. Returns what is to be kept afterwards: caches of other lockfiles than these. Errors: ContainerApiError and those of
 * the store in the middle of an archive, which is then forgotten, so that the next attempt does without.
 */
export async function restoreCaches(
  caches: readonly BuildCache[],
  input: BuildCachesInput & { readonly unpack: Unpack },
): Promise<readonly CacheToSave[]> {
  // Side by side: of each the half is waiting for the disk. A failing one does not leave another behind that still writes.
  const kept = await Promise.allSettled(caches.map((cache) => restoreCache(cache, input)));
  const failed = kept.find((each) => each.status === 'rejected');
  if (failed !== undefined) throw failed.reason as Error;
  return kept.flatMap((each) => (each.status === 'fulfilled' ? (each.value ?? []) : []));
}

/** Returns it where it is to be kept afterwards. */
async function restoreCache(
  cache: BuildCache,
  input: BuildCachesInput & { readonly unpack: Unpack },
): Promise<CacheToSave | undefined> {
  const { log, places, context } = input;
  const begun = performance.now();
  let found: FoundCache | undefined;
  try {
    found = await cache.find();
  } catch (error) {
    // Could not look: nothing is known, so nothing is kept either.
    log.warn({ err: error, cache: cache.name }, 'a dependency cache could not be looked for');
    return undefined;
  }
  let restored = false;
  if (found !== undefined) {
    try {
      restored = await layOut(found, places[cache.place], input);
    } catch (error) {
      await found.forget().catch(() => {});
      throw error;
    }
  }
  if (found !== undefined && restored) {
    const milliseconds = performance.now() - begun;
    context.phase?.('restore', milliseconds);
    const other = found.exact ? '' : ', of other lockfiles';
    context.log(
      `cache restored ${formatBytes(found.size)} (${cache.name}${other}) ${formatDuration(milliseconds)}`,
    );
  }
  const hit = found?.exact === true ? 'hit' : 'partial';
  context.cache?.(restored ? hit : 'miss');
  return cache.save !== undefined && found?.exact !== true ? { cache, restored: found } : undefined;
}

/** False: it was removed meanwhile. */
async function layOut(
  found: FoundCache,
  folder: string,
  { api, container, context: { signal }, unpack }: BuildCachesInput & { readonly unpack: Unpack },
): Promise<boolean> {
  if (found.size > fewBytes) {
    const archive = await found.open(signal);
    if (archive === undefined) return false;
    if (await unpack(folder, archive, signal)) return true;
  }
  const archive = await found.open(signal);
  if (archive === undefined) return false;
  await api.putArchive(container, folder, archive, signal);
  return true;
}

/** Keeps what the commands have left. A build does not fail by it. */
export async function saveCaches(
  caches: readonly CacheToSave[],
  input: BuildCachesInput & { readonly finder?: SecretFinder | undefined },
): Promise<void> {
  const { log, places, container, context, finder } = input;
  for (const { cache, restored } of caches) {
    const begun = performance.now();
    const folders = cache.paths.map((path) => ({
      path,
      open: () => openFolder(input, `${places[cache.place]}/${path}`),
    }));
    try {
      const archive = cacheArchive(folders, { owner: buildUser, limits: cache.limits, finder });
      const size = await cache.save?.(archive, context.signal);
      const milliseconds = performance.now() - begun;
      if (size !== undefined)
        context.log(`cache saved ${formatBytes(size)} (${cache.name}) ${formatDuration(milliseconds)}`);
    } catch (error) {
      if (context.signal.aborted) throw error;
      if (!(error instanceof CacheNotKept)) {
        log.warn({ err: error, container, cache: cache.name }, 'a dependency cache could not be kept');
        context.log(`the cache (${cache.name}) could not be kept`);
        continue;
      }
      if (error.reason === 'empty') continue;
      context.log(`the cache (${cache.name}) is not kept: ${error.message}`);
      // It only ever grows from build to build: the next one begins anew.
      if (error.reason === 'too large') await restored?.forget().catch(() => {});
    }
  }
}

async function openFolder(
  { api, container, context }: BuildCachesInput,
  path: string,
): Promise<AsyncIterable<Uint8Array> | undefined> {
  try {
    return await api.getArchive(container, path, context.signal);
  } catch (error) {
    const { cause } = error as { cause?: { statusCode?: number } };
    if (cause?.statusCode === 404) return undefined;
    throw error;
  }
}
