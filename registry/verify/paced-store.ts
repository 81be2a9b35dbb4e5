import type { ObjectStore } from '../../core/object-store/object-store.ts';

/** Counts the requests to a store and starts no more than so many in a second (0 = as many as it takes). Only what verification uses. */
export function pacedStore(
  store: ObjectStore,
  options: { readonly perSecond: number; readonly wait: (milliseconds: number) => Promise<void> },
): { readonly store: ObjectStore; readonly requests: () => number } {
  const { perSecond, wait } = options;
  let requests = 0;
  let next = 0;
  async function turn(): Promise<void> {
    requests++;
    if (perSecond <= 0) return;
    const now = performance.now();
    const start = Math.max(now, next);
    next = start + 1000 / perSecond;
    if (start > now) await wait(start - now);
  }
  const paced =
    <A extends unknown[], R>(method: (...args: A) => Promise<R>) =>
    async (...args: A): Promise<R> => {
      await turn();
      return method(...args);
    };
  return {
    store: {
      ...store,
      get: paced((...args) => store.get(...args)),
      getStream: paced((...args) => store.getStream(...args)),
      head: paced((...args) => store.head(...args)),
      list: paced((...args) => store.list(...args)),
    },
    requests: () => requests,
  };
}
