import { createHash, randomBytes } from 'node:crypto';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { constants, createZstdCompress, createZstdDecompress } from 'node:zlib';
import { type ObjectStore, PreconditionFailed } from '../../core/object-store/object-store.ts';
import type { ChosenCache } from './dependency-kinds.ts';

/** Which builds share a cache. */
export interface CacheScope {
  /** The git repository, `team/app`. */
  readonly owner: string;
  /** Name of the application in it. */
  readonly appname: string;
  /** What the commands run in: another system may need other packages. */
  readonly base: string;
  /** Searched one after another. */
  readonly read: readonly string[];
  /** Undefined: nothing is kept. */
  readonly write?: string;
}

/** What package managers fetched, kept in the store between builds: `cache/deps/<team>/<app>/<scope>/<appname>-<kind>/…`. */
export interface DependencyCaches {
  /** The archive for `cache`, or else the newest one of other lockfiles, which is most of what is needed. Undefined = there is none. */
  find(scope: CacheScope, cache: ChosenCache): Promise<FoundCache | undefined>;
  /** Keeps `archive`, unless somebody was faster. Errors: those of `archive` and of the store; nothing is left then. Returns the bytes that it takes. */
  save(
    scope: CacheScope,
    cache: ChosenCache,
    archive: AsyncIterable<Buffer>,
    signal: AbortSignal,
  ): Promise<number>;
  /** Removes what nobody used for `unusedDays`. Returns how many there were. */
  sweep(options: { readonly unusedDays: number; readonly now?: Date }): Promise<number>;
}

export interface FoundCache {
  /** Of these very lockfiles, and in the scope that is written: nothing to save. */
  readonly exact: boolean;
  /** Bytes in the store. */
  readonly size: number;
  /** A tar relative to the cache's place. Undefined: it was removed meanwhile. */
  open(signal: AbortSignal): Promise<Readable | undefined>;
  /** Removes it: it is damaged, or of no use. */
  forget(): Promise<void>;
}

interface IndexEntry {
  readonly key: string;
  readonly object: string;
  readonly size: number;
  readonly savedAt: string;
  readonly usedAt: string;
}

interface Index {
  readonly version: 1;
  /** The newest first. */
  readonly entries: readonly IndexEntry[];
}

/** Archives of one application, scope and kind: that of the branch as it is, and of those it comes from. */
const mostEntries = 3;
/** A use is written down once in so long: most builds write nothing. */
const useMs = 6 * 3600 * 1000;
const prefix = 'cache/deps/';

export function createDependencyCaches(store: ObjectStore): DependencyCaches {
  async function readIndex(folder: string): Promise<{ index: Index; etag?: string }> {
    const object = await store.get(`${folder}index`);
    if (object === undefined) return { index: { version: 1, entries: [] } };
    return { index: JSON.parse(object.body.toString('utf8')) as Index, etag: object.etag };
  }

  /** `change` may be asked several times; undefined = leave it. Returns entries that are no longer in it. */
  async function changeIndex(
    folder: string,
    change: (entries: readonly IndexEntry[]) => readonly IndexEntry[] | undefined,
  ): Promise<readonly IndexEntry[]> {
    for (;;) {
      const { index, etag } = await readIndex(folder);
      const entries = change(index.entries);
      if (entries === undefined) return [];
      const body = Buffer.from(JSON.stringify({ version: 1, entries } satisfies Index));
      try {
        const condition = etag === undefined ? { ifNoneMatch: '*' as const } : { ifMatch: etag };
        await store.put(`${folder}index`, body, { ...condition, durability: 'process' });
        const kept = new Set(entries.map(({ object }) => object));
        return index.entries.filter(({ object }) => !kept.has(object));
      } catch (error) {
        if (!(error instanceof PreconditionFailed)) throw error;
      }
    }
  }

  async function noteUse(folder: string, entry: IndexEntry): Promise<void> {
    const now = new Date();
    if (now.getTime() - Date.parse(entry.usedAt) < useMs) return;
    await changeIndex(folder, (entries) =>
      entries.map((each) => (each.object === entry.object ? { ...each, usedAt: now.toISOString() } : each)),
    );
  }

  return {
    async find(scope, cache) {
      const key = keyOf(scope, cache);
      let second: { folder: string; entry: IndexEntry } | undefined;
      for (const name of scope.read) {
        const folder = folderOf(scope, name, cache);
        const { entries } = (await readIndex(folder)).index;
        const same = entries.find((entry) => entry.key === key);
        if (same !== undefined) return found(folder, same, true);
        const [newest] = entries;
        if (newest !== undefined) second ??= { folder, entry: newest };
      }
      return second === undefined ? undefined : found(second.folder, second.entry, false);
    },

    async save(scope, cache, archive, signal) {
      if (scope.write === undefined) throw new RangeError('this build keeps no caches');
      const folder = folderOf(scope, scope.write, cache);
      const key = keyOf(scope, cache);
      const object = `${key.slice(0, 16)}-${randomBytes(6).toString('hex')}`;
      const size = await write(store, `${folder}${object}`, archive, signal);
      const now = new Date().toISOString();
      let kept = true;
      const dropped = await changeIndex(folder, (entries) => {
        kept = !entries.some((entry) => entry.key === key);
        if (!kept) return undefined;
        return [{ key, object, size, savedAt: now, usedAt: now }, ...entries].slice(0, mostEntries);
      });
      const gone = kept ? dropped.map((entry) => entry.object) : [object];
      await store.deleteMany(gone.map((name) => folder + name));
      return size;
    },

    async sweep({ unusedDays, now = new Date() }) {
      const oldest = now.getTime() - unusedDays * 86_400_000;
      let removed = 0;
      for await (const folder of foldersOf(store)) {
        const dropped = await changeIndex(folder, (entries) => {
          const used = entries.filter(({ usedAt }) => Date.parse(usedAt) >= oldest);
          return used.length === entries.length ? undefined : used;
        });
        await store.deleteMany(dropped.map(({ object }) => folder + object));
        removed +=
          dropped.length + (await sweepUnnamed(store, folder, (await readIndex(folder)).index, oldest));
      }
      return removed;
    },
  };

  function found(folder: string, entry: IndexEntry, exact: boolean): FoundCache {
    return {
      exact,
      size: entry.size,
      async open(signal) {
        const stored = await store.getStream(folder + entry.object);
        if (stored === undefined) return undefined;
        await noteUse(folder, entry);
        const plain = createZstdDecompress();
        // Its errors and its end are those of `plain`.
        pipeline(stored.body, plain, { signal }).catch((error: unknown) => plain.destroy(error as Error));
        return plain;
      },
      async forget() {
        await changeIndex(folder, (entries) => entries.filter(({ object }) => object !== entry.object));
        await store.delete(folder + entry.object);
      },
    };
  }
}

/**
 * Objects that no index names, as their writer died, and an index that names none. Young ones may be on their way: a build that finds its index gone writes another.
 */
async function sweepUnnamed(
  store: ObjectStore,
  folder: string,
  index: Index,
  oldest: number,
): Promise<number> {
  const named = new Set(index.entries.map(({ object }) => folder + object));
  const { objects } = await store.list({ prefix: folder });
  const old = objects.filter(({ modified }) => modified.getTime() < oldest);
  const lost = old.filter(({ key }) => !key.endsWith('/index') && !named.has(key));
  const empty = index.entries.length === 0 ? old.filter(({ key }) => key.endsWith('/index')) : [];
  await store.deleteMany([...lost, ...empty].map(({ key }) => key));
  return lost.length;
}

/** `cache/deps/<team>/<app>/<scope>/<appname>-<kind>/`, each once. */
async function* foldersOf(store: ObjectStore): AsyncGenerator<string> {
  let startAfter: string | undefined;
  let last = '';
  do {
    const page = await store.list({ prefix, ...(startAfter === undefined ? {} : { startAfter }) });
    for (const { key } of page.objects) {
      const folder = key.slice(0, key.lastIndexOf('/') + 1);
      if (folder !== last) yield folder;
      last = folder;
    }
    startAfter = page.next;
  } while (startAfter !== undefined);
}

/** Compressed, and never in memory as a whole. */
async function write(
  store: ObjectStore,
  key: string,
  archive: AsyncIterable<Buffer>,
  signal: AbortSignal,
): Promise<number> {
  const { multipart } = store;
  let state = await multipart.create(key);
  try {
    const writer = await multipart.resume(key, state);
    let size = 0;
    try {
      await pipeline(
        archive,
        // Packages are compressed already; this is for the many small files beside them, and must not cost time.
        createZstdCompress({
          params: { [constants.ZSTD_c_compressionLevel]: 1, [constants.ZSTD_c_checksumFlag]: 1 },
        }),
        async (compressed: AsyncIterable<Buffer>) => {
          for await (const chunk of compressed) {
            size += chunk.length;
            // The writer keeps it, and zlib gives out parts of a larger buffer.
            await writer.write(Buffer.from(chunk));
          }
        },
        { signal },
      );
      state = await writer.checkpoint({ last: true });
    } finally {
      await writer.close();
    }
    await multipart.complete(key, state);
    return size;
  } catch (error) {
    await multipart.abort(key, state).catch(() => {});
    throw error;
  }
}

function folderOf({ owner, appname }: CacheScope, scope: string, cache: ChosenCache): string {
  return `${prefix}${owner}/${scope}/${appname}-${cache.name}/`;
}

function keyOf({ base }: CacheScope, { name, paths, lock }: ChosenCache): string {
  return createHash('sha256')
    .update(JSON.stringify(['brickyard cache 1', base, name, paths, lock]))
    .digest('hex');
}
