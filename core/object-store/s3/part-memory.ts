import type { PartBuffers } from './part-buffers.ts';

/** The first memory of a part: most blobs need no more, and whoever waits for a whole part's memory holds only this. */
export const firstMemoryBytes = 512 * 1024;

/** Bytes of one part, gathered in one buffer within the process's budget. */
export interface PartMemory {
  readonly filled: number;
  /** Milliseconds since the epoch when it was begun. */
  readonly begun: number;
  /** A view, good until `release`. */
  bytes(from: number, to?: number): Buffer;
  /** Makes room when there is none; `most` = bytes it will ever hold. Undefined: there is room; otherwise wait, and look again. */
  ensure(most: number): Promise<void> | undefined;
  /** How many bytes of `chunk` found room. */
  append(chunk: Buffer): number;
  release(): void;
}

/** Held once, by its maker. */
export function createPartMemory(buffers: PartBuffers): PartMemory {
  let buffer: Buffer = Buffer.alloc(0);
  let filled = 0;
  let reserved = 0;
  let released = false;
  const begun = Date.now();
  const resize = (capacity: number): void => {
    const larger = buffers.take(capacity);
    buffer.copy(larger, 0, 0, filled);
    buffer = larger;
  };
  return {
    get filled() {
      return filled;
    },
    begun,
    bytes: (from, to = filled) => buffer.subarray(from, to),
    ensure(most) {
      if (filled < buffer.length) return undefined;
      // A part larger than the budget must not hold anything while it waits for all of it.
      const capacity =
        buffer.length === 0 && !buffers.isLarge(most) ? Math.min(most, firstMemoryBytes) : most;
      const missing = capacity - buffer.length;
      const turn = buffers.reserve(missing);
      if (turn === undefined) {
        reserved += missing;
        resize(capacity);
        return undefined;
      }
      return turn.then(() => {
        if (released) buffers.give(missing);
        else {
          reserved += missing;
          resize(capacity);
        }
      });
    },
    append(chunk) {
      const taken = Math.min(chunk.length, buffer.length - filled);
      chunk.copy(buffer, filled, 0, taken);
      filled += taken;
      return taken;
    },
    release() {
      released = true;
      buffers.give(reserved);
      buffers.recycle(buffer);
    },
  };
}
