import type { ByteBudget } from '../byte-budget.ts';

/** Memory for parts that are being filled or sent, bounded for the whole process. */
export interface PartBuffers {
  /** More than the whole budget counts as the whole budget. Undefined: granted; otherwise wait. */
  reserve(bytes: number): Promise<void> | undefined;
  give(bytes: number): void;
  /** More than the budget. */
  isLarge(bytes: number): boolean;
  /** Somebody waits: who fills a part slowly should put it away. */
  readonly crowded: boolean;
  take(size: number): Buffer;
  /** Nobody looks at it any more. (A request that was given up may still send from it: its signature covers the bytes it began with.) */
  recycle(buffer: Buffer): void;
}

/** So many buffers are kept for the next part: a new one costs a page fault for every 4 KiB. */
const kept = 4;

/** `total`: bytes of the budget. `usualBytes`: the size of buffer that is worth keeping. */
export function createPartBuffers(budget: ByteBudget, total: number, usualBytes: number): PartBuffers {
  const free: Buffer[] = [];
  let waiting = 0;
  return {
    reserve(bytes) {
      const turn = budget.take(Math.min(bytes, total));
      if (turn === undefined) return undefined;
      waiting++;
      return turn.finally(() => {
        waiting--;
      });
    },
    give: (bytes) => budget.give(Math.min(bytes, total)),
    isLarge: (bytes) => bytes > total,
    get crowded() {
      return waiting > 0;
    },
    take: (size) => (size === usualBytes ? free.pop() : undefined) ?? Buffer.allocUnsafeSlow(size),
    recycle(buffer) {
      if (buffer.length === usualBytes && free.length < kept) free.push(buffer);
    },
  };
}
