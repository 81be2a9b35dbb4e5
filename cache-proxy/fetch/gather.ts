import { Transform } from 'node:stream';

export interface GatherOptions {
  /** What is handed on at once. Default 64 KiB. */
  readonly bytes?: number;
  /** Milliseconds that a byte waits for others at most. Default 5. */
  readonly ms?: number;
}

/**
 * Joins chunks: a slow link brings one packet at a time, and whatever each of them costs here, in nginx and in a client is paid for every packet. What a broken
 * line left behind is lost with it, so that who counts what comes out knows where to go on.
 */
export function createGather({ bytes = 64 * 1024, ms = 5 }: GatherOptions = {}): Transform {
  let waiting: Buffer[] = [];
  let size = 0;
  let timer: NodeJS.Timeout | undefined;
  const handOn = (): void => {
    clearTimeout(timer);
    timer = undefined;
    if (size === 0) return;
    const [only] = waiting;
    const joined = waiting.length === 1 && only !== undefined ? only : Buffer.concat(waiting, size);
    waiting = [];
    size = 0;
    gather.push(joined);
  };
  const gather = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      waiting.push(chunk);
      size += chunk.length;
      if (size >= bytes) handOn();
      else timer ??= setTimeout(handOn, ms);
      done();
    },
    flush(done) {
      handOn();
      done();
    },
    destroy(error, done) {
      clearTimeout(timer);
      waiting = [];
      size = 0;
      done(error);
    },
  });
  return gather;
}
