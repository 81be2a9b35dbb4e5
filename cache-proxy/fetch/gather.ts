import { finished, type Readable } from 'node:stream';

export interface GatherOptions {
  /** What is handed on at once. Default 64 KiB. */
  readonly bytes?: number;
  /** Milliseconds that a byte waits for others at most. Default 5. */
  readonly ms?: number;
}

/**
 * The same bytes in fewer chunks: a slow link brings one packet at a time, and whatever each of them costs here, in nginx and in a client is paid for every packet.
 * What came before a line broke is handed on before the error.
 */
export async function* gather(
  source: Readable,
  { bytes = 64 * 1024, ms = 5 }: GatherOptions = {},
): AsyncGenerator<Buffer> {
  let waiting: Buffer[] = [];
  let size = 0;
  let timer: NodeJS.Timeout | undefined;
  let due = false;
  let outcome: { readonly error?: Error } | undefined;
  let wake = (): void => {};
  const now = (): void => {
    due = true;
    wake();
  };

  source.on('data', (chunk: Buffer) => {
    waiting.push(chunk);
    size += chunk.length;
    if (size >= bytes) {
      source.pause();
      now();
    } else if (!due) timer ??= setTimeout(now, ms);
  });
  finished(source, { writable: false }, (error) => {
    outcome = error === null || error === undefined ? {} : { error };
    wake();
  });
  try {
    for (;;) {
      if (!due && outcome === undefined) {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
      clearTimeout(timer);
      timer = undefined;
      due = false;
      if (size > 0) {
        const [only] = waiting;
        const joined = waiting.length === 1 && only !== undefined ? only : Buffer.concat(waiting, size);
        waiting = [];
        size = 0;
        source.resume();
        yield joined;
      } else if (outcome !== undefined) {
        if (outcome.error !== undefined) throw outcome.error;
        return;
      }
    }
  } finally {
    clearTimeout(timer);
    source.destroy();
  }
}
