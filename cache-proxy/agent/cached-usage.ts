import type { Freed, PoolCache } from '../pool-engine.ts';

/** A look at every file of a large cache takes seconds; nobody needs it more often than this. */
const freshMs = 10_000;

/** `usage` of the cache, at most ten seconds old; whoever asks meanwhile gets the same answer. Errors: those of the cache. */
export function rememberUsage(cache: () => PoolCache, now: () => number = Date.now): () => Promise<Freed> {
  let asked = 0;
  let latest: Promise<Freed> | undefined;
  return () => {
    if (latest === undefined || now() - asked > freshMs) {
      asked = now();
      latest = cache().usage();
      latest.catch(() => {
        latest = undefined;
      });
    }
    return latest;
  };
}
