import { closeSync, read as readCallback } from 'node:fs';
import { Readable } from 'node:stream';
import { promisify } from 'node:util';
import { isDigest } from '../../oci/digest.ts';
import type { CacheEntry, Freed, PoolCache, PurgeTarget } from '../pool-engine.ts';
import {
  cachedBytes,
  type Indexed,
  type IndexedBlob,
  isWhole,
  pieceBytes,
  pieceCount,
} from './cache-index.ts';
import type { CacheStore } from './cache-store.ts';
import type { OpenBlobs } from './open-blobs.ts';

const readAt = promisify(readCallback);
const chunkBytes = 256 * 1024;

/** The store, as agents see it. */
export function createPoolCache(store: CacheStore, blobs: OpenBlobs): PoolCache {
  return {
    async *entries() {
      for (const entry of store.entries()) yield* entriesOf(entry);
    },
    async coverage(digest) {
      const blob = store.blob(digest);
      if (blob === undefined) return { cached: 0, whole: false };
      return { cached: cachedBytes(blob), size: blob.size, whole: isWhole(blob) };
    },
    async read(digest) {
      const blob = store.blob(digest);
      if (blob === undefined || !isWhole(blob)) return undefined;
      return Readable.from(piecesOf(store, blob), { objectMode: false, highWaterMark: chunkBytes });
    },
    async purge(what) {
      const freed = { entries: 0, bytes: 0 };
      for (const entry of store.entries()) {
        if (!isMeant(entry, what)) continue;
        if (entry.kind === 'blob') blobs.detach(entry.digest);
        const { entries, bytes } = store.remove(entry);
        freed.entries += entries;
        freed.bytes += bytes;
      }
      // Perhaps none of it is here yet.
      if ('digest' in what) blobs.detach(what.digest);
      return freed;
    },
    async usage(): Promise<Freed> {
      return store.usage();
    },
  };
}

function* entriesOf(entry: Indexed): Iterable<CacheEntry> {
  if (entry.kind === 'blob') {
    for (const piece of entry.pieces) {
      const offset = piece * entry.slice;
      yield { kind: 'blob', digest: entry.digest, offset, bytes: pieceBytes(entry, piece) };
    }
    return;
  }
  const { kind, repository, digest, tag, bytes } = entry;
  yield kind === 'tag' && tag !== undefined
    ? { kind, repository, tag, bytes }
    : { kind: 'manifest', repository, digest, bytes };
}

/** By digest tags go, too, that stand for it: what they stand for is not here any more. */
function isMeant(entry: Indexed, what: PurgeTarget): boolean {
  if ('digest' in what) return isDigest(what.digest) && entry.digest === what.digest;
  if (entry.kind === 'blob' || entry.repository !== what.repository) return false;
  return what.tag === undefined || entry.tag === what.tag;
}

async function* piecesOf(store: CacheStore, blob: IndexedBlob): AsyncGenerator<Buffer> {
  for (let piece = 0; piece < pieceCount(blob); piece += 1) {
    const fd = store.openPiece(blob.digest, piece);
    if (fd === undefined) throw new Error('a part of the blob was evicted meanwhile');
    try {
      for (let at = 0; at < pieceBytes(blob, piece); ) {
        const { bytesRead, buffer } = await readAt(fd, Buffer.allocUnsafeSlow(chunkBytes), 0, chunkBytes, at);
        if (bytesRead === 0) throw new Error('a file of the cache is shorter than it was');
        yield buffer.subarray(0, bytesRead);
        at += bytesRead;
      }
    } finally {
      closeSync(fd);
    }
  }
}
