import { createHash } from 'node:crypto';
import { closeSync, read as readCallback } from 'node:fs';
import { promisify } from 'node:util';
import { digestAlgorithm, digestOfHash } from '../../oci/digest.ts';
import type { EngineLog } from '../pool-engine.ts';
import { takeFill } from './blob-reader.ts';
import { isWhole, pieceBytes, pieceCount } from './cache-index.ts';
import type { CacheStore } from './cache-store.ts';
import type { Comparison, OpenBlob, OpenBlobs } from './open-blobs.ts';

const readAt = promisify(readCallback);
const bufferBytes = 256 * 1024;

export interface CompareDeps {
  readonly store: CacheStore;
  readonly blobs: OpenBlobs;
  readonly log: EngineLog;
}

/**
 * Compares the whole blob with its digest, following what still arrives; never fetches anything itself. What is wrong is thrown away. One comparison goes on at a
 * time, however many ask. Never rejects.
 */
export function compareBlob(deps: CompareDeps, blob: OpenBlob): Promise<Comparison> {
  const running = blob.comparison;
  if (running !== undefined) return running;
  const release = blob.use();
  const removals = deps.store.blob(blob.digest)?.removals ?? 0;
  const comparison = compare(deps, blob)
    .catch((error: unknown): Comparison => {
      deps.log.warn({ err: error, digest: blob.digest }, 'a blob could not be compared with its digest');
      return 'unknown';
    })
    .then((result) => {
      conclude(deps, blob, result, removals);
      if (result === 'unknown') blob.comparison = undefined;
      release();
      return result;
    });
  blob.comparison = comparison;
  return comparison;
}

async function compare({ store }: CompareDeps, blob: OpenBlob): Promise<Comparison> {
  const { size, slice } = blob;
  if (size === undefined) return 'unknown';
  const algorithm = digestAlgorithm(blob.digest);
  const hash = createHash(algorithm);
  const buffer = Buffer.allocUnsafeSlow(bufferBytes);
  const update = async (fd: number, from: number, to: number): Promise<void> => {
    for (let at = from; at < to; ) {
      const { bytesRead } = await readAt(fd, buffer, 0, Math.min(bufferBytes, to - at), at);
      if (bytesRead === 0) throw new Error('a file of the cache is shorter than it was');
      hash.update(buffer.subarray(0, bytesRead));
      at += bytesRead;
    }
  };
  for (let piece = 0, position = 0; piece < pieceCount({ size, slice }); ) {
    const until = piece * slice + pieceBytes({ size, slice }, piece);
    const fd = blob.dead ? undefined : store.openPiece(blob.digest, piece);
    const fill = blob.fills.get(piece);
    if (fd !== undefined) {
      try {
        await update(fd, position - piece * slice, until - piece * slice);
        position = until;
      } finally {
        closeSync(fd);
      }
    } else if (fill !== undefined) {
      position = await takeFill(blob, fill, position, until, update);
      // Fetched anew from its beginning, by another request and perhaps with other bytes.
      if (position < until && position > piece * slice) return 'unknown';
    } else {
      // Nobody fetches this piece. Somebody may still do so, unless all who could only wait for us.
      if (blob.dead || blob.awaited > 0 || blob.users <= 1) return 'unknown';
      await blob.changes.next();
    }
    if (position === until) piece += 1;
  }
  return digestOfHash(algorithm, hash) === blob.digest ? 'right' : 'wrong';
}

function conclude(
  { store, blobs, log }: CompareDeps,
  blob: OpenBlob,
  result: Comparison,
  removals: number,
): void {
  if (blob.dead || result === 'unknown') return;
  const kept = store.blob(blob.digest);
  if (result === 'wrong') {
    log.warn(
      { digest: blob.digest },
      'the origin sent bytes that do not match their digest; they are thrown away',
    );
    if (kept !== undefined) store.remove(kept);
    blobs.detach(blob.digest);
    return;
  }
  // What was removed and came again meanwhile is not what was read.
  if (kept === undefined || !isWhole(kept) || kept.removals !== removals) return;
  store.markVerified(blob.digest).catch((error: unknown) => {
    log.warn({ err: error, digest: blob.digest }, 'what was compared with its digest is not written down');
  });
}
