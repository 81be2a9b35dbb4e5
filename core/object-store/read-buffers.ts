/** Buffers that whole objects are sent through, one for each response under way: they go round instead of being made anew for each piece. */
export interface ReadBuffers {
  take(): ReadBuffer;
}

export interface ReadBuffer {
  readonly bytes: Buffer;
  /** `reusable`: nothing reads from it any more. A write that did not end may still do so; its buffer is left to the garbage collector. */
  release(reusable: boolean): void;
}

/** Large enough that the calls into the system count for nothing, small enough to stay in the processor's cache between read and write. */
const LARGE = 256 * 1024;
/** When many clients are slow at once, each of them holds a buffer: beyond so many they get small ones. Together 32 MiB. */
const MOST_LARGE = 128;
const SMALL = 32 * 1024;
/** Kept while nobody needs them; 4 MiB. */
const MOST_IDLE = 16;

export function createReadBuffers(): ReadBuffers {
  const idle: Buffer[] = [];
  let large = 0;
  return {
    take() {
      if (large >= MOST_LARGE) return { bytes: Buffer.allocUnsafeSlow(SMALL), release: () => {} };
      large += 1;
      const bytes = idle.pop() ?? Buffer.allocUnsafeSlow(LARGE);
      let released = false;
      return {
        bytes,
        release(reusable) {
          if (released) return;
          released = true;
          large -= 1;
          if (reusable && idle.length < MOST_IDLE) idle.push(bytes);
        },
      };
    },
  };
}
