import type { PieceWriter } from './cache-store.ts';
import { type Changes, createChanges } from './changes.ts';

/** One piece of a blob while it comes from the origin; whoever wants it reads from its file as far as it goes. */
export interface PieceFill {
  readonly piece: number;
  /** Whose right the fetch is made with. */
  readonly source: string;
  /** Bytes that can be read. */
  readonly written: number;
  readonly state: 'coming' | 'whole' | 'failed';
  /** Of a failed one. */
  readonly error: unknown;
  readonly changes: Changes;
  /** The file: undefined before the first byte. */
  readonly fd: number | undefined;
  begin(writer: PieceWriter): void;
  /** Errors: NoRoom. */
  write(chunk: Buffer): Promise<void>;
  finish(): void;
  fail(error: unknown): void;
  /** While somebody reads from `fd`, it stays open. */
  follow(): () => void;
}

/** `keep`: whether the finished piece goes into the cache; what was purged meanwhile does not. */
export function createPieceFill(piece: number, source: string, keep: () => boolean): PieceFill {
  const changes = createChanges();
  let writer: PieceWriter | undefined;
  let written = 0;
  let state: PieceFill['state'] = 'coming';
  let error: unknown;
  let followers = 0;
  const closeUnused = (): void => {
    if (state === 'coming' || followers > 0) return;
    writer?.close();
    writer = undefined;
  };
  const fill: PieceFill = {
    piece,
    source,
    get written() {
      return written;
    },
    get state() {
      return state;
    },
    get error() {
      return error;
    },
    changes,
    get fd() {
      return writer?.fd;
    },
    begin(made) {
      writer = made;
    },
    async write(chunk) {
      await writer?.write(chunk, written);
      written += chunk.length;
      changes.changed();
    },
    finish() {
      if (state !== 'coming') return;
      if (keep()) writer?.commit();
      else writer?.discard();
      state = 'whole';
      changes.changed();
      closeUnused();
    },
    fail(reason) {
      if (state !== 'coming') return;
      state = 'failed';
      error = reason;
      writer?.discard();
      changes.changed();
      closeUnused();
    },
    follow() {
      followers += 1;
      let following = true;
      return () => {
        if (!following) return;
        following = false;
        followers -= 1;
        closeUnused();
      };
    },
  };
  return fill;
}
