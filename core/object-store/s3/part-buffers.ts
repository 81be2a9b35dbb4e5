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

/** Buffers that nobody needed for so long go back to the system. Milliseconds. */
const idleMs = 10_000;

/**
 * `total`: bytes of the budget. `usualSizes`: of buffers that are worth keeping for the next part, since a new one costs a page fault for every 4 KiB
 * and counts as garbage for V8. Of each size there are never more than the budget has room for.
 */
export function createPartBuffers(
  budget: ByteBudget,
  total: number,
  usualSizes: readonly number[],
): PartBuffers {
  const pools = new Map(usualSizes.map((size) => [size, createPool()]));
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
    take: (size) => pools.get(size)?.take() ?? Buffer.allocUnsafeSlow(size),
    recycle: (buffer) => pools.get(buffer.length)?.put(buffer),
  };
}

interface Pool {
  take(): Buffer | undefined;
  put(buffer: Buffer): void;
}

/** The buffer that was used last comes first: it is most likely still in the processor's cache. */
function createPool(): Pool {
  const free: Buffer[] = [];
  /** The fewest that lay here since the last look: nobody needed those. */
  let spare = 0;
  let timer: NodeJS.Timeout | undefined;
  const look = (): void => {
    free.splice(0, spare);
    spare = free.length;
    timer = free.length === 0 ? undefined : setTimeout(look, idleMs).unref();
  };
  return {
    take() {
      const buffer = free.pop();
      spare = Math.min(spare, free.length);
      return buffer;
    },
    put(buffer) {
      free.push(buffer);
      if (timer !== undefined) return;
      spare = free.length;
      timer = setTimeout(look, idleMs).unref();
    },
  };
}
