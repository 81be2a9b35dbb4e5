import { closeSync } from 'node:fs';
import { type BlobFetchDeps, BlobGone, fetchPieces, type Source } from './blob-fetch.ts';
import { pieceBytes } from './cache-index.ts';
import type { Purpose } from './fetches.ts';
import type { OpenBlob } from './open-blobs.ts';
import type { PieceFill } from './piece-fill.ts';

/** Where bytes go. */
export type TakeFile = (fd: number, from: number, to: number) => Promise<void>;

/** Tries in a row that brought nothing new. */
const mostFailures = 3;

/**
 * Bytes `start` to `end` (with it) in their order, each from where it is: a finished piece, one that still arrives, or the origin, which is asked for what nobody
 * asked for yet. `reached` is told how far it came. Errors: what the fetch failed with; what `take` fails with.
 */
export async function readBlob(
  deps: BlobFetchDeps,
  blob: OpenBlob,
  source: Source,
  range: { readonly start: number; readonly end: number; readonly size: number; readonly purpose: Purpose },
  take: TakeFile,
  reached: (position: number) => void,
): Promise<void> {
  const { end, purpose } = range;
  const sizes = { size: range.size, slice: blob.slice };
  let position = range.start;
  let failures = 0;
  while (position <= end) {
    const piece = Math.floor(position / blob.slice);
    const until = Math.min(end + 1, piece * blob.slice + pieceBytes(sizes, piece));
    const before = position;
    const taken = await takeKept(deps, blob, piece, position, until, take);
    if (taken) position = until;
    else {
      const fill = blob.fills.get(piece) ?? fetchPieces(deps, blob, source, { first: piece, end, purpose });
      askAhead(deps, blob, source, { piece: piece + 1, end, purpose });
      position = await takeFill(blob, fill, position, until, take);
      if (position < until) {
        failures = position > before ? 1 : failures + 1;
        if (failures >= mostFailures || isFinal(fill, source)) throw fill.error;
      }
    }
    if (position === until) failures = 0;
    reached(position);
  }
}

/** While the last piece of one request arrives, the next request is on its way. */
function askAhead(
  deps: BlobFetchDeps,
  blob: OpenBlob,
  source: Source,
  next: { readonly piece: number; readonly end: number; readonly purpose: Purpose },
): void {
  if (next.piece * blob.slice > next.end || blob.has(next.piece) || blob.fills.has(next.piece)) return;
  fetchPieces(deps, blob, source, { first: next.piece, end: next.end, purpose: next.purpose });
}

/** Another repository may have what this fetch was refused, and its reader may try. */
function isFinal(fill: PieceFill, source: Source): boolean {
  if (fill.error instanceof BlobGone) return fill.source === source.name;
  return source.link.away || isNoRoom(fill.error);
}

function isNoRoom(error: unknown): boolean {
  return error instanceof Error && error.name === 'NoRoom';
}

async function takeKept(
  deps: BlobFetchDeps,
  blob: OpenBlob,
  piece: number,
  position: number,
  until: number,
  take: TakeFile,
): Promise<boolean> {
  if (blob.dead) return false;
  const fd = deps.store.openPiece(blob.digest, piece);
  if (fd === undefined) return false;
  try {
    await take(fd, position - piece * blob.slice, until - piece * blob.slice);
    return true;
  } finally {
    closeSync(fd);
  }
}

/** As far as the piece comes: to `until`, or less when it fails. */
export async function takeFill(
  blob: OpenBlob,
  fill: PieceFill,
  from: number,
  until: number,
  take: TakeFile,
): Promise<number> {
  const start = fill.piece * blob.slice;
  const leave = fill.follow();
  let position = from;
  try {
    while (position < until) {
      const available = Math.min(until, start + fill.written);
      if (available > position && fill.fd !== undefined) {
        await take(fill.fd, position - start, available - start);
        position = available;
      } else if (fill.state === 'coming') await fill.changes.next();
      else break;
    }
    return position;
  } finally {
    leave();
  }
}
