import {
  createPopularity,
  type ImageKey,
  type Popularity,
  rateOf,
} from '../../../cache-proxy/popularity/popularity.ts';
import { addSnapshot, takeSnapshot } from '../../../cache-proxy/popularity/snapshot.ts';
import { gatherCandidates, type PushedImage } from '../../../cache-proxy/prewarm/candidates.ts';
import { type Candidate, type FetchItem, planPrewarm } from '../../../cache-proxy/prewarm/plan.ts';
import { day, hour, type Layer, type Release } from './world.ts';

/** Chooses what the pool fetches before anybody asks. */
export interface Policy {
  readonly name: string;
  pulled(release: Release, needs: readonly Layer[], time: number): void;
  pulledElsewhere(pool: number, release: Release, time: number): void;
  /** What lay at the origin from the start has the time −∞. */
  pushed(release: Release, time: number): void;
  /** In the order to fetch in. */
  readonly plan: (now: number, cache: CacheView) => readonly FetchItem[];
}

export interface CacheView {
  /** Bytes of a layer that are there. */
  readonly cached: (layer: Layer) => number;
  /** Bytes that fit in without throwing anything out. */
  readonly free: number;
}

export interface PolicyOptions {
  /** Bytes of the pool's disk. */
  readonly cache: number;
  /** Bytes that ours may fetch on suspicion. */
  readonly topBytes: number;
  /** Pools besides this one. */
  readonly others: number;
}

/** What a policy may fill of the cache. */
const planned = 0.8;

export const halfLife = 3 * day;
const horizon = day;

export function noPrewarm(): Policy {
  return { name: 'none', pulled() {}, pulledElsewhere() {}, pushed() {}, plan: () => [] };
}

/** What was pushed last is fetched first, whatever it is: what replication by events does. */
export function newestFirst({ cache }: PolicyOptions): Policy {
  const releases: Release[] = [];
  return {
    name: 'newest-first',
    pulled() {},
    pulledElsewhere() {},
    pushed: (release) => void releases.push(release),
    plan(_now, { cached }) {
      const layers = new Map<string, FetchItem>();
      let bytes = 0;
      for (let at = releases.length - 1; at >= 0 && bytes < cache * planned; at--) {
        const release = releases[at];
        for (const layer of release?.layers ?? []) {
          if (layers.has(layer.digest)) continue;
          bytes += layer.size;
          layers.set(layer.digest, toItem(release?.repository ?? '', layer, cached));
        }
      }
      return [...layers.values()].filter(({ missing }) => missing > 0);
    },
  };
}

/** The usual list of "top objects": pulls here and elsewhere, as counted, times bytes. */
export function sizePopularity(options: PolicyOptions): Policy {
  return byPullsTimesBytes('size-popularity', options, (known, now) => known.counted(now));
}

/** The same order, with all that ours knows of pushes and of what nodes have already: what the order alone is worth. */
export function sizeOfOurs(options: PolicyOptions): Policy {
  return byPullsTimesBytes('size-popularity of our estimates', options, (known, now) =>
    known.candidates(now),
  );
}

function byPullsTimesBytes(
  name: string,
  options: PolicyOptions,
  candidates: (known: Knowledge, now: number) => readonly Candidate[],
): Policy {
  const known = createKnowledge(options);
  return {
    name,
    ...known.observe,
    plan(now, { cached }) {
      const scores = new Map<string, { rate: number; item: FetchItem }>();
      for (const { repository, rate, blobs } of candidates(known, now)) {
        for (const layer of blobs) {
          const found = scores.get(layer.digest) ?? { rate: 0, item: toItem(repository, layer, cached) };
          found.rate += rate;
          scores.set(layer.digest, found);
        }
      }
      let bytes = 0;
      return [...scores.values()]
        .sort((a, b) => b.rate * b.item.size - a.rate * a.item.size)
        .filter(({ item }) => (bytes += item.size) <= options.cache * planned)
        .map(({ item }) => item)
        .filter(({ missing }) => missing > 0);
    },
  };
}

/** The pool's own code: the same counting, candidates and plan as in `brickyard serve pool`. */
export function ours(options: PolicyOptions): Policy {
  const known = createKnowledge(options);
  const { topBytes, cache } = options;
  return {
    name: 'ours',
    ...known.observe,
    plan: (now, { cached, free }) =>
      planPrewarm({
        candidates: known.candidates(now),
        cached,
        free,
        measured: known.measured(now),
        horizon,
        topBytes,
        maxBytes: cache * planned,
        maxLayer: Number.POSITIVE_INFINITY,
      }).fetch,
  };
}

type Knowledge = ReturnType<typeof createKnowledge>;

function createKnowledge({ others }: PolicyOptions) {
  const local = createPopularity({ halfLife });
  const requested = createPopularity({ halfLife });
  const elsewhere = Array.from({ length: others }, () => createPopularity({ halfLife }));
  const layers = new Map<string, readonly Layer[]>();
  let pushes: PushedImage[] = [];
  let global: Popularity = createPopularity({ halfLife });
  let merged = Number.NEGATIVE_INFINITY;
  const observe = {
    pulled(release: Release, needs: readonly Layer[], time: number) {
      local.add(release, time);
      for (const { digest } of needs) requested.add({ repository: 'layers', digest }, time);
    },
    pulledElsewhere: (pool: number, release: Release, time: number) =>
      elsewhere[pool - 1]?.add(release, time),
    pushed(release: Release, time: number) {
      layers.set(release.digest, release.layers);
      const { repository, tag, digest } = release;
      if (Number.isFinite(time)) pushes.push({ repository, tag, digest, time, followed: false });
    },
  };
  return {
    observe,
    measured(now: number) {
      return (digest: string): number | undefined => {
        const count = requested.countOf({ repository: 'layers', digest }, now);
        return count === 0 ? undefined : rateOf(count, halfLife);
      };
    },
    candidates(now: number): Candidate[] {
      pushes = pushes.filter(({ time }) => now - time < halfLife);
      return gather(now, pushes);
    },
    /** Without pushes: what somebody has pulled. */
    counted: (now: number): Candidate[] => gather(now, []),
  };

  function gather(now: number, known: readonly PushedImage[]): Candidate[] {
    // As often as pools send their snapshots.
    if (now - merged >= hour) {
      global = createPopularity({ halfLife });
      for (const pool of elsewhere) addSnapshot(global, takeSnapshot(pool, now, halfLife), halfLife);
      merged = now;
    }
    const contentOf = ({ digest }: ImageKey) => {
      const blobs = layers.get(digest);
      return blobs === undefined ? undefined : { manifests: [], blobs };
    };
    const prior = { popularity: global, pools: others };
    const base = { now, halfLife, horizon, local, global: prior, pins: [], contentOf };
    return gatherCandidates({ ...base, pushes: known });
  }
}

function toItem(repository: string, layer: Layer, cached: (layer: Layer) => number): FetchItem {
  const missing = layer.size - cached(layer);
  const { digest, size } = layer;
  return { kind: 'blob', repository, reference: digest, size, missing, reason: 'popular', probability: 1 };
}
