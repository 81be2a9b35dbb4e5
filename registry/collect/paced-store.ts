import { setTimeout as sleep } from 'node:timers/promises';
import type { ObjectStore } from '../../core/object-store/object-store.ts';

export interface PacedStoreOptions {
  /** Requests per second on average, in short bursts of up to a tenth of it; 0 = no limit. */
  readonly rate: number;
  /** Requests under way at the same time. */
  readonly concurrency: number;
  /** Ends the work at its next request. Whatever was done up to there is taken up by the next run. */
  readonly signal?: AbortSignal;
  /** Called once for each request. */
  readonly onRequest?: () => void;
}

/** The store as a background job may use it. Errors: what `signal` was aborted with. */
export function pacedStore(store: ObjectStore, options: PacedStoreOptions): ObjectStore {
  const { rate, concurrency, signal, onRequest } = options;
  const burstMs = 100;
  /** When the next request may leave; in the past while there is something left of the burst. */
  let next = 0;
  let running = 0;
  const waiting: (() => void)[] = [];
  const paced = async <T>(request: () => Promise<T>): Promise<T> => {
    while (running >= concurrency) await new Promise<void>((go) => waiting.push(go));
    running++;
    try {
      signal?.throwIfAborted();
      onRequest?.();
      if (rate > 0) {
        next = Math.max(next, performance.now() - burstMs) + 1000 / rate;
        const mine = next;
        // A timer may come early: it counts whole milliseconds, from when its turn of the event loop began.
        for (let wait = mine - performance.now(); wait > 0; wait = mine - performance.now()) {
          await sleep(Math.ceil(wait), undefined, signal === undefined ? {} : { signal });
        }
      }
      return await request();
    } finally {
      running--;
      waiting.shift()?.();
    }
  };
  const { multipart } = store;
  return {
    getStream: (...given) => paced(() => store.getStream(...given)),
    get: (...given) => paced(() => store.get(...given)),
    head: (...given) => paced(() => store.head(...given)),
    put: (...given) => paced(() => store.put(...given)),
    delete: (...given) => paced(() => store.delete(...given)),
    async deleteMany(keys) {
      for (let start = 0; start < keys.length; start += 1000) {
        await paced(() => store.deleteMany(keys.slice(start, start + 1000)));
      }
    },
    list: (...given) => paced(() => store.list(...given)),
    syncPrefixes: (...given) => store.syncPrefixes(...given),
    presign: (...given) => store.presign(...given),
    multipart: {
      ...multipart,
      abort: (...given) => paced(() => multipart.abort(...given)),
      async *incomplete() {
        for await (const upload of multipart.incomplete()) {
          signal?.throwIfAborted();
          yield { ...upload, abort: () => paced(() => upload.abort()) };
        }
      },
    },
  };
}
