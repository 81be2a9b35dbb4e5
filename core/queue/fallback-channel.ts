import { createBoundedCache } from '../bounded-cache.ts';
import type { DispatchChannel, Release } from './dispatch-channel.ts';

/** How long a hint is remembered, to see that it is given for the second time. Milliseconds. */
const rememberMs = 10 * 60 * 1000;
const remembered = 20_000;

/**
 * The fast channel, and the safe one where the fast one is away or seems to lead nowhere: a hint that must be given a second time goes both ways,
 * as its worker may be unable to hear the first one while the dispatcher can speak on it. Workers listen on both.
 * Errors: those of `safe` only; those of `fast` are for whoever made it.
 */
export function createFallbackChannel(fast: DispatchChannel, safe: DispatchChannel): DispatchChannel {
  const given = createBoundedCache<string, true>(remembered, { ttl: rememberMs });

  return {
    async release(worker, id) {
      const hint = `${worker}/${id}`;
      const again = given.has(hint);
      given.set(hint, true);
      const [heard] = await Promise.all([
        succeeds(fast.release(worker, id)),
        again ? safe.release(worker, id) : undefined,
      ]);
      if (!heard && !again) await safe.release(worker, id);
    },

    async withdraw(worker, id) {
      await Promise.all([succeeds(fast.withdraw(worker, id)), safe.withdraw(worker, id)]);
    },

    async released() {
      const [quick, sure] = await Promise.all([fast.released().catch((): Release[] => []), safe.released()]);
      const all = new Map([...quick, ...sure].map((hint) => [`${hint.worker}/${hint.id}`, hint]));
      return [...all.values()];
    },

    listen(worker, onJob) {
      const listeners = [fast.listen(worker, onJob), safe.listen(worker, onJob)];
      return {
        async close() {
          await Promise.all(listeners.map((listener) => listener.close()));
        },
      };
    },
  };
}

async function succeeds(attempt: Promise<void>): Promise<boolean> {
  try {
    await attempt;
    return true;
  } catch {
    return false;
  }
}
