import type { CheckpointOptions, MultipartWriter } from '../object-store.ts';
import { reopen } from './assemble.ts';
import { isFailure } from './failure.ts';
import { encodeState, type Piece, pieceBytes, type UploadState } from './multipart-state.ts';
import type { PartBuffers } from './part-buffers.ts';
import { createPartMemory, type PartMemory } from './part-memory.ts';
import type { UploadCalls } from './upload-calls.ts';

/** Parts of one upload that are on the way at the same time. */
const partsAtOnce = 4;
/** So many pieces become one, so that a client of tiny chunks makes neither long states nor thousands of reads. */
const mostPieces = 64;

export interface PartWriterDeps {
  readonly calls: UploadCalls;
  readonly buffers: PartBuffers;
  readonly key: string;
  readonly state: UploadState;
  /** Milliseconds: a part that takes longer than this to fill is put away as a piece when others wait for memory. */
  readonly slowMs: number;
  /** Lets another writer in. */
  readonly released: () => void;
}

/**
 * Sends what is written as parts, some at a time. Nothing is asked of the store before a part is full or a checkpoint wants it.
 *
 * Two writers of one upload at two servers need no lock. Whose checkpoint the caller records has won; the other's parts have the same
 * numbers, so they either are the same bytes (a client that sent them twice) or have other ETags than those that were
 * recorded, and then completing is refused.
 */
export function createPartWriter({
  calls,
  buffers,
  key,
  state,
  slowMs,
  released,
}: PartWriterDeps): MultipartWriter {
  const { plan } = state;
  /** The upload that parts go to: `state`'s, or one that was begun here. */
  let upload = state.upload;
  let opening: Promise<string> | undefined;
  /** A state that nothing can follow before it is reopened. */
  let shut = state.short === undefined ? undefined : state;
  /** Of the parts that have arrived, by their number less one. */
  const etags: (string | undefined)[] = [...state.etags];
  const sending = new Map<number, Promise<void>>();
  /** Whoever sends first into an upload of earlier requests finds out whether it is still there. */
  let scouting: Promise<void> | undefined;

  /** The part that is being filled: what lies in the store alone, then `memory`, whose first bytes lie in `copies` as well. */
  let number = etags.length + 1;
  let front: readonly Piece[] = state.pieces;
  let memory: PartMemory | undefined;
  let copies: readonly Piece[] = [];
  /** Where this writer began. */
  let start = { number, front };

  /** What the last checkpoint said. */
  let handed = state;
  let litter = state.offset > 0;
  let handedOut = false;
  let failure: Error | undefined;
  let closing: Promise<void> | undefined;
  /** Work on pieces, one after the other. */
  let working: Promise<unknown> = Promise.resolve();

  const fail = (error: unknown): void => {
    failure ??= error as Error;
  };
  const check = (): void => {
    if (failure !== undefined) throw failure;
    if (closing !== undefined) throw new Error('this writer is closed');
  };
  const inTurn = <T>(work: () => Promise<T>): Promise<T> => {
    const result = working.then(work);
    working = result.catch(() => {});
    return result;
  };
  const settled = async (): Promise<void> => {
    for (let seen: unknown; seen !== working; ) {
      seen = working;
      await working;
    }
  };
  const timer = setInterval(() => {
    if (buffers.crowded && memory !== undefined && Date.now() - memory.begun >= slowMs) putAway().catch(fail);
  }, slowMs / 2);
  timer.unref();

  const openUpload = (): Promise<string> => {
    opening ??= (async () => {
      upload ??= await calls.begin(key);
      return upload;
    })();
    return opening;
  };

  /** From here on parts go to a new upload that begins with what `from` holds. */
  const reopenFrom = async (from: UploadState): Promise<{ upload: string; pieces: readonly Piece[] }> => {
    const opened = await reopen(calls, key, from);
    upload = opened.upload;
    opening = Promise.resolve(opened.upload);
    handedOut = false;
    litter = true;
    for (const [index, etag] of opened.etags.entries()) etags[index] = etag;
    return opened;
  };

  const sendPart = async (partNumber: number, body: Buffer): Promise<void> => {
    const target = await openUpload();
    const scouts = scouting === undefined && target === state.upload;
    const attempt = (async () => {
      await scouting?.catch(() => {});
      try {
        etags[partNumber - 1] = await calls.sendPart(key, await openUpload(), partNumber, body);
      } catch (error) {
        if (!scouts || !isFailure(error, 'noUpload')) throw error;
        // Completed to be read back, so what it had is there to go on from.
        const opened = await reopenFrom(state);
        etags[partNumber - 1] = await calls.sendPart(key, opened.upload, partNumber, body);
      }
    })();
    if (scouts) scouting = attempt;
    await attempt;
  };

  /** Sends off the part that is being filled and begins the next. */
  const flush = async (): Promise<void> => {
    await settled();
    const [partNumber, stored, held] = [number, front, memory];
    // They repeat what goes into the part.
    if (front.length + copies.length > 0) litter = true;
    number++;
    front = [];
    copies = [];
    memory = undefined;
    const sent = (async () => {
      try {
        await sendPart(partNumber, await bodyOf(stored, held));
      } catch (error) {
        fail(error);
      } finally {
        held?.release();
        sending.delete(partNumber);
      }
    })();
    sending.set(partNumber, sent);
    while (sending.size >= partsAtOnce) await Promise.race(sending.values());
    check();
  };

  const bodyOf = async (stored: readonly Piece[], held: PartMemory | undefined): Promise<Buffer> => {
    if (stored.length === 0) return held?.bytes(0) ?? Buffer.alloc(0);
    const before = await piecesOf(stored);
    return held === undefined ? before : Buffer.concat([before, held.bytes(0)]);
  };

  const piecesOf = async (stored: readonly Piece[]): Promise<Buffer> => {
    const bytes = await calls.readPieces(key, stored);
    if (bytes === undefined) throw new Error('a piece of the upload is gone');
    return bytes;
  };

  /** Stores what is in memory only, and says where that leads to. What is written after the call is not in it. */
  const save = (): Promise<UploadState> => {
    const held = memory;
    const goal = held?.filled ?? 0;
    return inTurn(async () => {
      const from = pieceBytes(copies);
      if (held !== undefined && held === memory && goal > from) {
        copies = [...copies, await calls.putPiece(key, held.bytes(from, goal))];
      }
      if (copies.length >= mostPieces && held !== undefined && held === memory) {
        copies = [await calls.putPiece(key, held.bytes(0, pieceBytes(copies)))];
        litter = true;
      }
      if (front.length >= mostPieces) {
        front = [await calls.putPiece(key, await piecesOf(front))];
        litter = true;
      }
      return snapshot(number, [...front, ...copies]);
    });
  };

  /** Lets go of the memory of a part that is not full: what it held is read again once it is. */
  const putAway = async (): Promise<void> => {
    await save();
    await inTurn(async () => {
      if (memory === undefined || pieceBytes(copies) < memory.filled) return;
      memory.release();
      memory = undefined;
      front = [...front, ...copies];
      copies = [];
    });
  };

  /** Of the parts before `next`, which may not have arrived yet, and pieces of that one. */
  const snapshot = (next: number, pieces: readonly Piece[]): UploadState => ({
    ...state,
    offset: plan.start(next) + pieceBytes(pieces),
    etags: Array.from({ length: next - 1 }, () => ''),
    short: undefined,
    pieces,
    tidy: false,
  });

  /** The snapshot with what only those parts' arrival could tell. */
  const complete = async (seen: UploadState): Promise<UploadState> => {
    const count = seen.etags.length;
    while ([...sending.keys()].some((partNumber) => partNumber <= count)) {
      await Promise.race(sending.values());
      check();
    }
    check();
    return {
      ...seen,
      upload: count > 0 ? upload : undefined,
      etags: etags.slice(0, count).map((etag) => etag ?? ''),
    };
  };

  const arrivedSoFar = (): UploadState => {
    const hole = etags.findIndex((etag) => etag === undefined);
    const next = (hole === -1 ? etags.length : hole) + 1;
    if (next === start.number) return snapshot(next, start.front);
    return snapshot(next, next === number ? [...front, ...copies] : []);
  };

  /** Nothing follows, most likely: what is left becomes an object of its own, or the last part. */
  const finish = async (sha256: string | undefined): Promise<UploadState> => {
    await settled();
    if (shut !== undefined) return shut;
    const rest = pieceBytes(front) + (memory?.filled ?? 0);
    const small = front.length + copies.length === 0 && number === 1 && rest < plan.size(1);
    if (rest > 0 && (number > 1 || upload !== undefined || rest === plan.size(number))) {
      const full = rest === plan.size(number);
      const before = plan.start(number);
      await flush();
      const seen = await complete(snapshot(number, []));
      const ended = { ...seen, offset: before + rest, tidy: !litter };
      if (full) return ended;
      shut = { ...ended, short: rest };
      return shut;
    }
    if (memory !== undefined && small) {
      if (await calls.putWhole(key, memory.bytes(0), sha256)) {
        const seen = await complete(snapshot(number, [{ start: 0, bytes: rest }]));
        shut = { ...seen, tidy: !litter };
        return shut;
      }
      // Another writer's bytes are there. They do no harm: completing replaces them.
      litter = true;
    }
    const seen = await complete(await save());
    return { ...seen, tidy: !litter };
  };

  /** The upload goes on although its last writer, perhaps this one, took it to be at its end. */
  const goOn = async (from: UploadState): Promise<void> => {
    memory?.release();
    memory = undefined;
    copies = [];
    etags.length = 0;
    front = from.upload === undefined ? from.pieces : (await reopenFrom(from)).pieces;
    number = etags.length + 1;
    start = { number, front };
    shut = undefined;
  };

  return {
    async write(chunk) {
      check();
      if (shut !== undefined) await goOn(shut);
      for (let rest = chunk; rest.length > 0; ) {
        const room = plan.size(number) - pieceBytes(front);
        // A part goes only when more follows: what ends with it may be an object of one request.
        if ((memory?.filled ?? 0) >= room) {
          await flush();
          continue;
        }
        memory ??= createPartMemory(buffers);
        const turn = memory.ensure(room);
        if (turn === undefined) rest = rest.subarray(memory.append(rest));
        else await turn;
        // It may have been put away while it waited; then the next round begins another.
        check();
      }
    },
    async checkpoint({ last = false, whole = true, sha256 }: CheckpointOptions = {}) {
      check();
      let seen =
        shut ?? (last ? await finish(sha256) : await complete(whole ? await save() : arrivedSoFar()));
      // Parts arrive in any order; what was safe once stays so.
      if (seen.offset < handed.offset) seen = handed;
      handed = seen;
      handedOut ||= seen.upload !== undefined;
      return encodeState(seen);
    },
    close() {
      closing ??= (async () => {
        clearInterval(timer);
        await settled();
        await Promise.allSettled(sending.values());
        memory?.release();
        memory = undefined;
        // No state names it, so nobody else would ever drop it.
        if (upload !== undefined && upload !== state.upload && !handedOut) {
          await calls.drop(key, upload).catch(() => {});
        }
        released();
      })();
      return closing;
    },
  };
}
