import { type BlobAnswer, fetchBlob } from '../fetch/fetch-blob.ts';
import { OriginAway, type OriginLink } from '../fetch/origin-link.ts';
import type { ParentPools } from '../fetch/parent-pools.ts';
import type { PullRecord } from '../pull-record.ts';
import { isWhole, pieceBytes } from './cache-index.ts';
import { type CacheStore, NoRoom } from './cache-store.ts';
import { type FetchNote, observeFetch, type Purpose } from './fetches.ts';
import type { OpenBlob } from './open-blobs.ts';
import { createPieceFill, type PieceFill } from './piece-fill.ts';

/** The origin says that this blob is not in that repository. */
export class BlobGone extends Error {
  override readonly name = 'BlobGone';
}

/** The origin does not let the pool's own account read this. */
export class PoolDenied extends Error {
  override readonly name = 'PoolDenied';
}

/** Where a blob or a manifest is fetched from. */
export interface Source {
  /** `<ns>|<repository>` */
  readonly name: string;
  readonly link: OriginLink;
  readonly parents: ParentPools | undefined;
  /** As the registry itself calls it. */
  readonly repository: string;
}

/** Pieces that one request to the origin is for: few enough that little comes for nobody when the client leaves. */
const window = 8;

export interface BlobFetchDeps {
  readonly store: CacheStore;
  readonly onRecord: (record: PullRecord) => void;
  /** Told of a blob whose last missing piece has come. */
  readonly completed: (blob: OpenBlob) => void;
}

/**
 * Asks the origin for `first` and what is missing behind it, up to the byte `end`; one request, which goes on to its end whoever leaves. The fill of `first` says
 * what becomes of it.
 */
export function fetchPieces(
  deps: BlobFetchDeps,
  blob: OpenBlob,
  source: Source,
  want: { readonly first: number; readonly end: number | undefined; readonly purpose: Purpose },
): PieceFill {
  const { first, purpose } = want;
  const fills = new Map<number, PieceFill>();
  const open = (piece: number): PieceFill => {
    const fill = createPieceFill(piece, source.name, () => !blob.dead);
    fills.set(piece, fill);
    blob.fills.set(piece, fill);
    return fill;
  };
  const mayOpen = (piece: number): boolean => !blob.fills.has(piece) && !blob.has(piece);
  const fill = open(first);
  const behind = lastPiece(blob, want.end);
  for (let piece = first + 1; piece <= behind && piece < first + window && mayOpen(piece); piece += 1)
    open(piece);

  const release = blob.use();
  void run().finally(() => {
    failAll(new OriginAway('the answer ended early'));
    blob.changes.changed();
    release();
  });
  blob.changes.changed();
  return fill;

  /** Whoever asks next asks the origin again. */
  function failAll(error: unknown): void {
    for (const each of fills.values()) {
      if (blob.fills.get(each.piece) === each) blob.fills.delete(each.piece);
      each.fail(error);
    }
  }

  async function run(): Promise<void> {
    const note = observeFetch(purpose, deps.onRecord);
    let answer: BlobAnswer | undefined;
    try {
      const last = first + fills.size - 1;
      answer = await fetchBlob(source.link, source.parents, {
        repository: source.repository,
        digest: blob.digest,
        range: `bytes=${first * blob.slice}-${(last + 1) * blob.slice - 1}`,
      });
      note.answered(answer.status);
      await take(answer, note);
    } catch (error) {
      failAll(asFailure(error));
      answer?.body.destroy();
    } finally {
      note.end('miss');
    }
  }

  async function take(answer: BlobAnswer, note: Pick<FetchNote, 'bytes' | 'piece'>): Promise<void> {
    const { start, size } = readExtent(answer);
    if (size !== undefined) blob.setSize(size);
    if (answer.status === 416 && size !== undefined) {
      answer.body.resume();
      return;
    }
    if (start === undefined || size === undefined) throw refusal(answer.status);
    for (const [piece, each] of fills) {
      if (pieceBytes({ size, slice: blob.slice }, piece) > 0) continue;
      fills.delete(piece);
      blob.fills.delete(piece);
      each.fail(new BlobGone('behind the end'));
    }
    // Who answers all instead of a part would do so again for the next part.
    if (answer.status === 200) {
      for (let piece = 0; piece * blob.slice < size; piece += 1) if (mayOpen(piece)) open(piece);
    } else if (start !== first * blob.slice) throw new OriginAway('another part than was asked for');
    let position = start;
    for await (const chunk of answer.body as AsyncIterable<Buffer>) {
      note.bytes(chunk.length);
      position = await spread(chunk, position, { size, arrived: note.piece });
    }
  }

  /** Hands a chunk to the pieces that it is a part of. */
  async function spread(
    chunk: Buffer,
    from: number,
    { size, arrived }: { size: number; arrived: () => void },
  ): Promise<number> {
    let position = from;
    let rest = chunk;
    while (rest.length > 0 && position < size) {
      const piece = Math.floor(position / blob.slice);
      const border = piece * blob.slice + pieceBytes({ size, slice: blob.slice }, piece);
      const part = rest.subarray(0, border - position);
      const each = fills.get(piece);
      if (each?.state === 'coming') {
        if (each.fd === undefined)
          each.begin(deps.store.beginPiece({ digest: blob.digest, slice: blob.slice, size }, piece));
        await each.write(part);
        if (position + part.length === border) {
          each.finish();
          arrived();
          blob.fills.delete(piece);
          blob.changes.changed();
          const kept = blob.dead ? undefined : deps.store.blob(blob.digest);
          if (kept !== undefined && isWhole(kept)) deps.completed(blob);
        }
      }
      position += part.length;
      rest = rest.subarray(part.length);
    }
    return position;
  }
}

function lastPiece(blob: OpenBlob, end: number | undefined): number {
  const last = end ?? (blob.size === undefined ? undefined : blob.size - 1);
  return last === undefined ? Number.POSITIVE_INFINITY : Math.floor(last / blob.slice);
}

/** Where the answer's bytes begin, and how long the whole is; undefined where it does not say. */
export function readExtent(answer: BlobAnswer): { start: number | undefined; size: number | undefined } {
  const { status, headers } = answer;
  if (status === 200) {
    const size = /^[0-9]{1,15}$/.test(headers['content-length'] ?? '')
      ? Number(headers['content-length'])
      : undefined;
    return { start: size === undefined ? undefined : 0, size };
  }
  const match = /^bytes (?:([0-9]{1,15})-[0-9]{1,15}|\*)\/([0-9]{1,15})$/.exec(
    headers['content-range'] ?? '',
  );
  if ((status !== 206 && status !== 416) || match === null) return { start: undefined, size: undefined };
  return { start: match[1] === undefined ? undefined : Number(match[1]), size: Number(match[2]) };
}

/** What a status means that brings no bytes. */
export function refusal(status: number): Error {
  if (status === 404) return new BlobGone('the origin does not have it');
  if (status === 401 || status === 403) return new PoolDenied('the origin refuses the pool’s account');
  return new OriginAway(`it answered ${status}`);
}

/** What is none of ours is the connection's: it broke off. */
function asFailure(error: unknown): unknown {
  const known = [BlobGone, PoolDenied, OriginAway, NoRoom].some((kind) => error instanceof kind);
  return known ? error : new OriginAway('the answer broke off', { cause: error });
}
