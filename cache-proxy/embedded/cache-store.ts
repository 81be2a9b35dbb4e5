import {
  closeSync,
  fdatasync as fdatasyncCallback,
  openSync,
  renameSync,
  rmSync,
  statfsSync,
  unlinkSync,
  utimesSync,
  write as writeCallback,
  writeFileSync,
} from 'node:fs';
import { rm } from 'node:fs/promises';
import { promisify } from 'node:util';
import { LRUCache } from 'lru-cache';
import type { Digest } from '../../oci/digest.ts';
import type { EngineLog, Freed } from '../pool-engine.ts';
import type { CacheLimits } from '../pools/pool.ts';
import { createCacheFolder } from './cache-folder.ts';
import {
  cachedBytes,
  createCacheIndex,
  type Indexed,
  type IndexedBlob,
  type IndexedDocument,
  isWhole,
  pieceBytes,
} from './cache-index.ts';
import {
  type CachedDocument,
  encodeDocument,
  keyOfDocument,
  type ManifestDocument,
  readDocument,
} from './documents.ts';

const writeAt = promisify(writeCallback);
const syncData = promisify(fdatasyncCallback);

/** The disk is full, or the limits leave no room: what is fetched has to pass without being kept. */
export class NoRoom extends Error {
  override readonly name = 'NoRoom';
}

/** A piece while it arrives: others read from its file what is there already. */
export interface PieceWriter {
  /** Open for reading and writing, until `close`. */
  readonly fd: number;
  /** Errors: NoRoom; then the piece is to be discarded. */
  write(chunk: Buffer, position: number): Promise<void>;
  /** Moves it to its place; it can still be read from `fd`. Errors: NoRoom. */
  commit(): void;
  /** Not wanted any more, or never finished. */
  discard(): void;
  close(): void;
}

/** What lies on the disk, within its limits. Only one process may use a folder. */
export interface CacheStore {
  limits: CacheLimits;
  usage(): Freed;
  /** Thrown out for the limits' sake, since the start. */
  evicted(): Freed;
  blob(digest: string): IndexedBlob | undefined;
  /** Undefined: it is not here. The caller closes it. */
  openPiece(digest: Digest, piece: number): number | undefined;
  /** Errors: NoRoom. */
  beginPiece(blob: { digest: Digest; size: number; slice: number }, piece: number): PieceWriter;
  /** Everything of this blob that is here was compared with the digest: true at once, and resolves when it will be known after a power cut, too. */
  markVerified(digest: Digest): Promise<void>;
  document(key: string): CachedDocument | undefined;
  manifest(key: string): ManifestDocument | undefined;
  /** Without room it is not kept. */
  putDocument(document: CachedDocument): void;
  /** Now used last. */
  touch(entry: Indexed | undefined): void;
  indexedDocument(key: string): IndexedDocument | undefined;
  /** As of now: what comes and goes while somebody looks at them changes nothing. */
  entries(): readonly Indexed[];
  remove(entry: Indexed): Freed;
  /** Removes what nobody asked for in `limits.inactive`, and what is over the limits. */
  sweep(): void;
}

export interface CacheStoreOptions {
  readonly folder: string;
  readonly limits: CacheLimits;
  readonly log: EngineLog;
  /** Somebody reads or fills this blob: others go first. */
  readonly busy: (digest: string) => boolean;
  readonly now?: () => number;
}

/** A file's time is its last use, as exact as that. */
const touchEvery = 3_600_000;
/** Manifests are small and asked for on every pull. */
const memoryForDocuments = 32 * 1024 * 1024;
const mostDocuments = 100_000;

/** Errors: UserError for a folder that cannot be used. */
export async function openCacheStore(options: CacheStoreOptions): Promise<CacheStore> {
  const { log, busy, now = Date.now } = options;
  const folder = createCacheFolder(options.folder);
  const index = createCacheIndex();
  const inMemory = new LRUCache<string, CachedDocument>({
    maxSize: memoryForDocuments,
    sizeCalculation: (document) => 500 + (document.kind === 'manifest' ? document.body.length : 0),
  });
  const evicted = { entries: 0, bytes: 0 };
  /** Of pieces that are being written. */
  let reserved = 0;

  for (const entry of await folder.load()) {
    if (entry.kind !== 'blob') index.addDocument(entry);
    else {
      for (const piece of entry.pieces) index.addPiece(entry, piece).verified = entry.verified;
    }
  }

  const forgetFile = (path: string): void => {
    try {
      unlinkSync(path);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') {
        log.warn({ err: error }, 'a file of the cache cannot be removed');
      }
    }
  };
  const dropPiece = (blob: IndexedBlob, piece: number): number => {
    // The mark first: without it the rest is only compared once more.
    if (blob.verified) forgetFile(folder.verifiedPath(blob.digest));
    index.removePiece(blob, piece);
    forgetFile(folder.piecePath(blob, piece));
    if (blob.pieces.size === 0) rmSync(folder.blobPath(blob.digest), { recursive: true, force: true });
    return pieceBytes(blob, piece);
  };
  const evictOne = (): boolean => {
    const entry = index.victim(busy);
    if (entry === undefined) return false;
    evicted.entries += 1;
    if (entry.kind === 'blob') {
      // Of a blob that is being read, what has been read already; else from its end.
      const pieces = [...entry.pieces].toSorted((a, b) => a - b);
      evicted.bytes += dropPiece(entry, (busy(entry.digest) ? pieces[0] : pieces.at(-1)) ?? 0);
    } else evicted.bytes += store.remove(entry).bytes;
    return true;
  };
  const lacks = (bytes: number): boolean => {
    if (index.bytes + reserved + bytes > store.limits.maxSize) return true;
    if (store.limits.minFree === 0) return false;
    const { bavail, bsize } = statfsSync(options.folder);
    return bavail * bsize - bytes < store.limits.minFree;
  };
  const makeRoom = (bytes: number): void => {
    while (lacks(bytes)) if (!evictOne()) throw new NoRoom('the cache’s limits leave no room');
  };

  const store: CacheStore = {
    limits: options.limits,
    usage: () => ({ entries: index.entries, bytes: index.bytes }),
    evicted: () => ({ ...evicted }),
    blob: (digest) => index.blob(digest),
    openPiece(digest, piece) {
      const blob = index.blob(digest);
      if (blob === undefined || !blob.pieces.has(piece)) return undefined;
      try {
        return openSync(folder.piecePath(blob, piece), 'r');
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
        // Somebody removed it by hand.
        dropPiece(blob, piece);
        return undefined;
      }
    },
    beginPiece(blob, piece) {
      const length = pieceBytes(blob, piece);
      makeRoom(length);
      const path = folder.temporaryPath();
      const fd = openWritable(path);
      reserved += length;
      let kept: 'open' | 'committed' | 'discarded' = 'open';
      const end = (how: 'committed' | 'discarded'): boolean => {
        if (kept !== 'open') return false;
        kept = how;
        reserved -= length;
        return true;
      };
      return {
        fd,
        async write(chunk, position) {
          try {
            let written = 0;
            while (written < chunk.length) {
              const left = chunk.length - written;
              written += (await writeAt(fd, chunk, written, left, position + written)).bytesWritten;
            }
          } catch (cause) {
            throw new NoRoom(`the cache cannot be written: ${(cause as Error).message}`, { cause });
          }
        },
        commit() {
          if (!end('committed')) return;
          const former = index.blob(blob.digest);
          if (former !== undefined && (former.size !== blob.size || former.slice !== blob.slice)) {
            store.remove(former);
          }
          try {
            folder.place(path, folder.piecePath(blob, piece));
          } catch (cause) {
            forgetFile(path);
            throw new NoRoom(`the cache cannot be written: ${(cause as Error).message}`, { cause });
          }
          const entry = index.addPiece({ ...blob, used: now() }, piece);
          index.touch(entry, now());
        },
        discard() {
          if (end('discarded')) forgetFile(path);
        },
        close: () => closeSync(fd),
      };
    },
    async markVerified(digest) {
      const blob = index.blob(digest);
      if (blob === undefined || !isWhole(blob) || blob.verified) return;
      const { removals } = blob;
      blob.verified = true;
      for (const piece of blob.pieces) {
        const fd = store.openPiece(digest, piece);
        if (fd === undefined) return;
        try {
          await syncData(fd);
        } finally {
          closeSync(fd);
        }
      }
      // Meanwhile a piece may have gone, and come again from elsewhere.
      if (index.blob(digest) !== blob || blob.removals !== removals) return;
      writeFileSync(folder.verifiedPath(digest), '');
    },
    document(key) {
      const entry = index.document(key);
      if (entry === undefined) return undefined;
      const document = inMemory.get(key) ?? readDocument(folder.documentPath(key));
      if (document === undefined) {
        store.remove(entry);
        return undefined;
      }
      inMemory.set(key, document);
      store.touch(entry);
      return document;
    },
    manifest(key) {
      const found = store.document(key);
      return found?.kind === 'manifest' ? found : undefined;
    },
    putDocument(document) {
      const key = keyOfDocument(document);
      const bytes = encodeDocument(document);
      const temporary = folder.temporaryPath();
      try {
        makeRoom(bytes.length);
        while (index.documents >= mostDocuments && evictDocument()) evicted.entries += 1;
        writeFileSync(temporary, bytes, { flag: 'wx', mode: 0o600 });
        folder.place(temporary, folder.documentPath(key));
      } catch (error) {
        rmSync(temporary, { force: true });
        log.warn({ err: error }, 'a manifest was not kept in the cache');
        return;
      }
      const { kind, repository, digest } = document;
      const about = { kind, key, repository, digest, bytes: bytes.length, used: now() };
      index.addDocument(document.kind === 'tag' ? { ...about, tag: document.tag } : about);
      inMemory.set(key, document);
    },
    touch(entry) {
      if (entry === undefined) return;
      const before = entry.used;
      index.touch(entry, now());
      if (now() - before < touchEvery) return;
      const path = entry.kind === 'blob' ? folder.blobPath(entry.digest) : folder.documentPath(entry.key);
      try {
        utimesSync(path, now() / 1000, now() / 1000);
      } catch {
        // Only for the order after a restart.
      }
    },
    indexedDocument: (key) => index.document(key),
    entries: () => [...index.all()],
    remove(entry) {
      if (entry.kind !== 'blob') {
        inMemory.delete(entry.key);
        if (index.document(entry.key) !== entry) return { entries: 0, bytes: 0 };
        index.remove(entry);
        forgetFile(folder.documentPath(entry.key));
        return { entries: 1, bytes: entry.bytes };
      }
      if (index.blob(entry.digest) !== entry) return { entries: 0, bytes: 0 };
      const freed = { entries: entry.pieces.size, bytes: cachedBytes(entry) };
      index.remove(entry);
      // Out of the way at once, so that none of it is mistaken for what comes next.
      const aside = folder.temporaryPath();
      try {
        renameSync(folder.blobPath(entry.digest), aside);
      } catch (error) {
        log.warn({ err: error }, 'a blob of the cache cannot be removed');
        return freed;
      }
      // A thousand large files take a second, in which everybody else would wait; what is left of them is removed with the next start.
      rm(aside, { recursive: true, force: true }).catch((error: unknown) => {
        log.warn({ err: error }, 'a blob of the cache cannot be removed');
      });
      return freed;
    },
    sweep() {
      const since = now() - store.limits.inactive;
      for (const entry of index.all()) {
        if (entry.used > since) break;
        if (entry.kind !== 'blob' || !busy(entry.digest)) store.remove(entry);
      }
      while (lacks(0)) if (!evictOne()) break;
    },
  };
  store.sweep();
  return store;

  function evictDocument(): boolean {
    for (const entry of index.all()) {
      if (entry.kind === 'blob') continue;
      store.remove(entry);
      return true;
    }
    return false;
  }
}

/** Errors: NoRoom. */
function openWritable(path: string): number {
  try {
    return openSync(path, 'wx+', 0o600);
  } catch (cause) {
    throw new NoRoom(`the cache cannot be written: ${(cause as Error).message}`, { cause });
  }
}
