import type { FetchItem } from '../../../cache-proxy/prewarm/plan.ts';
import type { Policy } from './policies.ts';
import { day, hour, type Layer, type Release, type World } from './world.ts';

export interface PoolSize {
  /** Bytes of the pool's disk. */
  readonly cache: number;
  /** Bits in a second of its link to the origin. */
  readonly link: number;
  /** Of these, what prewarming may take from midnight to seven. */
  readonly prewarmNight: number;
  /** And in the rest of the day. */
  readonly prewarmDay: number;
}

/** What a policy came to. */
export interface Outcome {
  readonly policy: string;
  /** Of the requests for layers: those that were answered from the cache. */
  readonly hitRequests: number;
  /** Of their bytes. */
  readonly hitBytes: number;
  /** Seconds of the pulls that were the first of their image in the pool. */
  readonly firstP50: number;
  readonly firstP95: number;
  /** Seconds of all pulls. */
  readonly allP95: number;
  /** Bytes over the link for nodes that waited, and for nobody yet. */
  readonly demandBytes: number;
  readonly prewarmBytes: number;
  /** Of the bytes that were prewarmed: those that somebody pulled while they were there. */
  readonly usedRatio: number;
  readonly firsts: number;
  readonly pulls: number;
}

interface Cached {
  readonly size: number;
  /** When the last byte is there. */
  readonly ready: number;
  prewarmed: boolean;
}

const tick = 30_000;
const planEvery = 15 * 60_000;
/** After a push sooner; the real one plans for the pushed image alone at once. */
const planAfterPush = 5 * 60_000;

/** What the nodes' own network carries, in bytes a millisecond; and the round trips of a pull. */
const local = 125_000;
const roundTrips = 100;

/**
 * A pool over the world's time: a cache that evicts what was used least recently, a link that demand has first and that prewarming uses where it is idle. The
 * clock is the events' own. Left out: that nodes share the link's bandwidth (who comes first is served first), and bytes of manifests.
 */
export function simulate(world: World, pool: PoolSize, policy: Policy): Outcome {
  const cache = createLru(pool.cache);
  const partial = new Map<string, number>();
  const seen = new Set<string>();
  const firsts: number[] = [];
  const all: number[] = [];
  const counts = { requests: 0, hits: 0, bytes: 0, hitBytes: 0, demand: 0, prewarm: 0, used: 0 };
  let linkFree = 0;
  let queue: FetchItem[] = [];
  let planned = Number.NEGATIVE_INFINITY;
  let pushed = false;

  const bytesPerMs = pool.link / 8000;
  const cached = ({ digest, size }: Layer): number =>
    cache.has(digest) ? size : Math.min(size, partial.get(digest) ?? 0);

  function prewarm(now: number): void {
    if (now - planned >= (pushed ? planAfterPush : planEvery)) {
      queue = policy.plan(now, { cached, free: pool.cache - cache.bytes() }).toReversed();
      planned = now;
      pushed = false;
    }
    const busy = Math.min(tick, Math.max(0, linkFree - now));
    const rate = (now % day < 7 * hour ? pool.prewarmNight : pool.prewarmDay) / 8000;
    let budget = rate * (tick - busy) + (rate / 32) * busy;
    for (let item = queue.at(-1); item !== undefined && budget > 0; item = queue.at(-1)) {
      const { reference, size } = item;
      const missing = item.kind === 'blob' ? size - cached({ digest: reference, size }) : 0;
      const taken = Math.min(missing, budget);
      budget -= taken;
      counts.prewarm += taken;
      if (taken < missing) partial.set(reference, (partial.get(reference) ?? 0) + taken);
      else {
        queue.pop();
        partial.delete(reference);
        if (missing > 0) cache.set(reference, { size, ready: now, prewarmed: true });
      }
    }
  }

  function pull(time: number, release: Release, needs: readonly Layer[]): void {
    let done = time + roundTrips;
    for (const layer of needs) {
      const { digest, size } = layer;
      counts.requests += 1;
      counts.bytes += size;
      const found = cache.use(digest);
      if (found === undefined) {
        const missing = size - cached(layer);
        counts.demand += missing;
        counts.hitBytes += size - missing;
        linkFree = Math.max(linkFree, time) + missing / bytesPerMs;
        partial.delete(digest);
        cache.set(digest, { size, ready: linkFree, prewarmed: false });
        done = Math.max(done, linkFree);
      } else {
        counts.hits += 1;
        counts.hitBytes += size;
        if (found.prewarmed) counts.used += size;
        found.prewarmed = false;
        done = Math.max(done, found.ready);
      }
      done += size / local;
    }
    const seconds = (done - time) / 1000;
    all.push(seconds);
    if (!seen.has(release.digest)) firsts.push(seconds);
    seen.add(release.digest);
  }

  for (const release of world.before) policy.pushed(release, Number.NEGATIVE_INFINITY);
  let now = 0;
  for (const event of world.events) {
    for (; now + tick <= event.time; now += tick) prewarm(now);
    if (event.kind === 'push') {
      policy.pushed(event.release, event.time);
      pushed = true;
    } else if (event.pool === 0) {
      pull(event.time, event.release, event.needs);
      policy.pulled(event.release, event.needs, event.time);
    } else policy.pulledElsewhere(event.pool, event.release, event.time);
  }
  return {
    policy: policy.name,
    hitRequests: counts.hits / counts.requests,
    hitBytes: counts.hitBytes / counts.bytes,
    firstP50: percentile(firsts, 0.5),
    firstP95: percentile(firsts, 0.95),
    allP95: percentile(all, 0.95),
    demandBytes: counts.demand,
    prewarmBytes: counts.prewarm,
    usedRatio: counts.prewarm === 0 ? 0 : counts.used / counts.prewarm,
    firsts: firsts.length,
    pulls: all.length,
  };
}

function createLru(most: number) {
  const entries = new Map<string, Cached>();
  let bytes = 0;
  return {
    bytes: (): number => bytes,
    has: (digest: string): boolean => entries.has(digest),
    use(digest: string): Cached | undefined {
      const found = entries.get(digest);
      if (found === undefined) return undefined;
      entries.delete(digest);
      entries.set(digest, found);
      return found;
    },
    set(digest: string, entry: Cached): void {
      bytes += entry.size - (entries.get(digest)?.size ?? 0);
      entries.delete(digest);
      entries.set(digest, entry);
      for (const [oldest, { size }] of entries) {
        if (bytes <= most) break;
        entries.delete(oldest);
        bytes -= size;
      }
    },
  };
}

function percentile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0;
}
