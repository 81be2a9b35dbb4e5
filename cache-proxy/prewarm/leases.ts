import { setTimeout as sleep } from 'node:timers/promises';
import type { EngineLog } from '../pool-engine.ts';
import type { PoolApi } from './pool-api.ts';

/** This pool's part of the origin's own link, held while something is fetched. */
export interface EgressLease {
  /** Bits in a second that may be used now; infinite where the origin shares nothing out. */
  readonly granted: number;
  /** Asks for a lease, does the work, and renews the lease meanwhile; then gives it back. */
  during<T>(work: () => Promise<T>): Promise<T>;
}

export interface EgressLeaseDeps {
  readonly api: PoolApi;
  /** Bits in a second that the pool could use. */
  readonly wanted: () => number;
  readonly log: EngineLog;
  readonly now?: () => number;
}

/** After a failure it is asked again. Milliseconds. */
const againMs = 5_000;

export function createEgressLease({ api, wanted, log, now = Date.now }: EgressLeaseDeps): EgressLease {
  let granted = 0;
  let until = 0;
  let users = 0;
  const waiting: (() => void)[] = [];
  let holding: Promise<void> | undefined;
  let pause = new AbortController();

  async function hold(): Promise<void> {
    do {
      while (users > 0) {
        pause = new AbortController();
        const ms = await ask();
        for (const told of waiting.splice(0)) told();
        if (users > 0) await sleep(ms, undefined, { signal: pause.signal }).catch(() => {});
      }
      until = 0;
      // Others get it sooner; else it ends by itself.
      await api.lease(0).catch(() => {});
    } while (users > 0);
    holding = undefined;
  }

  /** Milliseconds until it is asked for again. */
  async function ask(): Promise<number> {
    try {
      const answer = await api.lease(Math.floor(wanted()));
      // No other server shares its link out: then the pool's own budget is all there is.
      granted = answer?.bitsPerSecond ?? Number.POSITIVE_INFINITY;
      const ms = (answer?.seconds ?? 60) * 1000;
      until = now() + ms;
      // Somebody else's lease ends soon, and then there is something to share.
      return granted === 0 ? againMs : (ms * 2) / 3;
    } catch (error) {
      log.warn({ err: error }, 'the origin could not be asked for a part of its link');
      return againMs;
    }
  }

  return {
    get granted() {
      return now() < until ? granted : 0;
    },
    async during(work) {
      users += 1;
      const asked = now() < until ? undefined : new Promise<void>((resolve) => waiting.push(resolve));
      holding ??= hold();
      try {
        await asked;
        return await work();
      } finally {
        users -= 1;
        if (users === 0) pause.abort();
      }
    },
  };
}
