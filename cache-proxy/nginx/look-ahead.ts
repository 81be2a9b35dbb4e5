import { pipeline, Transform } from 'node:stream';
import { LRUCache } from 'lru-cache';
import type { BlobAnswer, BlobPiece } from '../fetch/fetch-blob.ts';
import type { PoolLinks } from '../fetch/pool-links.ts';
import { type HeldPiece, holdPiece } from './held-piece.ts';
import { lastWanted, parsePart, parseSpan, type Span } from './piece-span.ts';

/** Where pieces come from; what was asked for ahead is only for who asks by the same one. */
export type PieceSource = ReturnType<PoolLinks['of']>;

export interface LookAheadDeps {
  readonly fetch: (source: PieceSource, piece: BlobPiece) => Promise<BlobAnswer>;
  /** Whether nginx has that piece already. Errors: it could not be seen; then nothing is asked for ahead. */
  readonly isCached: (digest: string, range: string) => Promise<boolean>;
  /** Milliseconds that pieces are kept after nginx had all that it asked for. Default 5,000. */
  readonly keepMs?: number;
  /** Milliseconds from a piece's end to the question for the next one: a client that takes longer is slower than the link. Default 1,000. */
  readonly slowMs?: number;
  /** Milliseconds before a piece's end, as its speed lets expect it, that the next one is asked for. Default 100: origins take as long when they are busy. */
  readonly aheadMs?: number;
  /** And that its bytes are taken from the line: before, there is only as much of it as its connection holds. Default 25. */
  readonly drawMs?: number;
}

export interface PieceWish {
  readonly piece: BlobPiece;
  /** The Range of the client; undefined: it wants the whole blob. */
  readonly wanted?: string | undefined;
  /** The pool's own prewarming: it sets its own pace, so nothing is asked for ahead of it. */
  readonly prewarm: boolean;
  /** Begins the record of a piece that is asked for ahead; what is returned ends it, where nobody wanted it. */
  readonly record: () => (status: number, bytes: number) => void;
}

/**
 * nginx asks for the next piece of a blob when its client has all of the former one, and its other clients look for it every half second: so long the link
 * has nothing to carry. So the next pieces are asked for already, one after another, and kept for nginx: only where a client keeps up with the link,
 * and never what lies in the cache or behind the end.
 */
export interface LookAhead {
  /** As `fetchBlob`. */
  fetch(source: PieceSource, wish: PieceWish): Promise<BlobAnswer>;
  /** Lets go what is kept: other connections are in force. */
  letGo(): void;
  /** And asks for nothing ahead any more. */
  close(): void;
}

/** Pieces of one blob that are kept at the same time: 670 ms of a link whose pieces have the default size. */
const maxKept = 4;
/** And of all blobs together. */
const maxHeld = 16;
/** What one of them may take of memory; the rest waits in its connection. */
const maxHeldBytes = 4 * 1024 * 1024;
/** Pieces whose end is remembered. */
const maxEnded = 1024;

/** What is read of one blob, from one of its pieces on. */
interface Run {
  readonly source: PieceSource;
  readonly piece: BlobPiece;
  /** Of the blob. */
  readonly total: number;
  readonly kept: Set<HeldPiece>;
  /** The piece that was asked for last. */
  tail: Tail;
  /** Last byte that a client wants. */
  last: number;
  /** Pieces that nginx is being sent. */
  passing: number;
  record: PieceWish['record'];
  asking: boolean;
  over: boolean;
  timer?: NodeJS.Timeout;
}

interface Tail extends Span {
  /** Little of it is still to come. */
  near: boolean;
  /** So little that the next one may have its share of the link. */
  ending: boolean;
  next?: HeldPiece;
}

export function createLookAhead(deps: LookAheadDeps): LookAhead {
  const { keepMs = 5_000, slowMs = 1_000, aheadMs = 100, drawMs = 25 } = deps;
  const runs = new Set<Run>();
  const held = new Map<string, { readonly run: Run; readonly piece: HeldPiece }>();
  const underWay = new Set<string>();
  /** Where pieces ended lately. */
  const ended = new LRUCache<string, true>({ max: maxEnded, ttl: slowMs });
  let closed = false;

  const endRun = (run: Run): void => {
    run.over = true;
    clearTimeout(run.timer);
    runs.delete(run);
    for (const piece of run.kept) piece.letGo();
  };
  const endAll = (): void => {
    for (const run of runs) endRun(run);
  };

  /** Asks for what comes next, where it is time. */
  const advance = (run: Run): void => {
    const { tail } = run;
    const next = { first: tail.last + 1, last: tail.last + 1 + tail.last - tail.first };
    if (run.asking || !tail.near || next.first > run.last) return;
    const { repository, digest } = run.piece;
    const piece = { repository, digest, range: `bytes=${next.first}-${next.last}` };
    const key = keyOf(piece);
    // What has just ended is not a file of nginx' yet.
    const isThere = (): boolean => held.has(key) || underWay.has(key) || ended.has(endOf(digest, next));
    const mayAsk = (): boolean => !run.over && run.kept.size < maxKept && held.size < maxHeld && !isThere();
    if (!mayAsk()) return;
    run.asking = true;
    void deps
      .isCached(digest, piece.range)
      .catch(() => true)
      .then((cached) => {
        run.asking = false;
        if (cached) run.last = tail.last;
        else if (mayAsk()) askAhead(run, piece, { ...next, near: false, ending: false });
      });
  };

  const askAhead = (run: Run, piece: BlobPiece, tail: Tail): void => {
    const key = keyOf(piece);
    const kept: HeldPiece = holdPiece({
      asked: deps.fetch(run.source, piece),
      through: watch(run, tail),
      onEnd(how) {
        held.delete(key);
        run.kept.delete(kept);
        if (how === 'gone') endRun(run);
      },
      onUnwanted: run.record(),
    });
    held.set(key, { run, piece: kept });
    run.kept.add(kept);
    run.tail.next = kept;
    if (run.tail.ending) kept.draw();
    run.tail = tail;
  };

  /** What a piece's bytes go through; it has room for them where nobody reads. */
  const watch = (run: Run, tail: Tail): Transform => {
    const length = Math.min(tail.last, run.total - 1) - tail.first + 1;
    let started: number | undefined;
    let before = 0;
    let bytes = 0;
    return new Transform({
      // A stream that is full does not say that it has ended.
      readableHighWaterMark: Math.min(length, maxHeldBytes) + 1,
      transform(chunk: Buffer, _encoding, done) {
        bytes += chunk.length;
        if (started === undefined) {
          started = performance.now();
          before = bytes;
        }
        const rest = length - bytes;
        const elapsed = performance.now() - started;
        const isWithin = (ms: number): boolean => rest * elapsed < ms * (bytes - before);
        // What waited in the connection comes at once, and says nothing of the link's speed.
        tail.near ||= rest <= length / 2 && isWithin(aheadMs);
        if (rest <= length / 8 && isWithin(drawMs)) beginNext(tail);
        // Having all of it nginx asks by itself.
        if (run.tail === tail && rest > 0) advance(run);
        done(null, chunk);
      },
      flush(done) {
        tail.near = true;
        beginNext(tail);
        // It lies here: nginx is behind.
        if (run.kept.size > 0) advance(run);
        done();
      },
    });
  };

  const beginRun = (source: PieceSource, wish: PieceWish, part: Span & { readonly total: number }): Run => {
    const run: Run = {
      source,
      piece: wish.piece,
      total: part.total,
      kept: new Set(),
      tail: { ...part, near: false, ending: false },
      last: lastWanted(wish.wanted, part.total),
      passing: 0,
      record: wish.record,
      asking: false,
      over: false,
    };
    runs.add(run);
    return run;
  };

  /** Undefined: nobody asked for it ahead by this source. */
  const takeKept = (
    source: PieceSource,
    wish: PieceWish,
  ): { readonly run: Run; readonly answer: Promise<BlobAnswer> } | undefined => {
    const found = held.get(keyOf(wish.piece));
    if (found === undefined || found.run.source !== source) return undefined;
    const { run, piece } = found;
    if (!wish.prewarm) {
      run.record = wish.record;
      run.last = Math.max(run.last, lastWanted(wish.wanted, run.total));
    }
    clearTimeout(run.timer);
    const answer = piece.take();
    advance(run);
    return { run, answer };
  };

  return {
    async fetch(source, wish) {
      const { digest, range } = wish.piece;
      const key = keyOf(wish.piece);
      const span = parseSpan(range);
      const keepsUp = span !== undefined && ended.has(`${digest}|${span.first}`);
      const taken = takeKept(source, wish);
      let run = taken?.run;
      underWay.add(key);
      if (run !== undefined) run.passing += 1;
      const passed = (whole: boolean): void => {
        underWay.delete(key);
        if (whole && span !== undefined) ended.set(endOf(digest, span), true);
        if (run === undefined) return;
        run.passing -= 1;
        if (!whole) endRun(run);
        else if (run.passing === 0 && !run.over) run.timer = setTimeout(endRun, keepMs, run);
      };
      let answer: BlobAnswer;
      try {
        answer = await (taken?.answer ?? deps.fetch(source, wish.piece));
      } catch (error) {
        passed(false);
        throw error;
      }
      const part = answer.status === 206 ? parsePart(answer.headers['content-range']) : undefined;
      if (span === undefined || part?.first !== span.first) {
        passed(false);
        return answer;
      }
      let { body } = answer;
      if (run === undefined && keepsUp && !wish.prewarm && !closed) {
        run = beginRun(source, wish, { ...part, last: span.last });
        run.passing = 1;
        body = pipeline(body, watch(run, run.tail), () => {});
      }
      body.once('close', () => passed(body.readableEnded));
      return { ...answer, body };
    },
    letGo: endAll,
    close() {
      closed = true;
      endAll();
    },
  };
}

function beginNext(tail: Tail): void {
  tail.ending = true;
  tail.next?.draw();
}

function keyOf({ digest, range = '' }: BlobPiece): string {
  return `${digest}|${range}`;
}

/** Where the next one begins. */
function endOf(digest: string, { last }: Span): string {
  return `${digest}|${last + 1}`;
}
