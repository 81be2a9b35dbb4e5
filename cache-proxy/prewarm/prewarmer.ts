import { setTimeout as sleep } from 'node:timers/promises';
import type { EngineLog } from '../pool-engine.ts';
import type { Pool } from '../pools/pool.ts';
import { createPopularity, type Popularity, pulledImage, rateOf } from '../popularity/popularity.ts';
import { addSnapshot, type PopularitySnapshot, takeSnapshot } from '../popularity/snapshot.ts';
import type { PullRecord } from '../pull-record.ts';
import { isLikelyPulled, type PushedImage } from './candidates.ts';
import type { FollowedTag, TagFinder } from './followed-tags.ts';
import { compileImagePattern, type ImagePattern, matchesImage } from './image-pattern.ts';
import type { EgressLease } from './leases.ts';
import type { Pace } from './pace.ts';
import type { FetchItem } from './plan.ts';
import type { Planner } from './planner.ts';
import type { PoolApi } from './pool-api.ts';
import { createPushRecord } from './push-record.ts';
import { runWarm, touch, type WarmDeps, type WarmReport } from './warm.ts';

/** Keeps warm what nodes will ask for, by itself, until it is closed. */
export interface Prewarmer {
  /** Never throws. */
  onRecord(record: PullRecord): void;
  /** The origin says that a tag was set. */
  onPush(push: {
    readonly repository: string;
    readonly digest: string;
    readonly tags: readonly string[];
  }): void;
  /** Pushes may have been missed: what is followed is looked at soon. */
  onGap(): void;
  /** What the pool's configuration always wants to be warm: pinned and followed. */
  patterns(): readonly ImagePattern[];
  status(): PrewarmStatus;
  /** What was counted, to be kept. */
  snapshots(): Counted;
  close(): Promise<void>;
}

/** Pulls of images, and requests for layers: nodes ask only for those that they do not have. */
export interface Counted {
  readonly images: PopularitySnapshot;
  readonly layers: PopularitySnapshot;
}

export interface PrewarmStatus {
  readonly state: 'waiting' | 'planning' | 'fetching';
  /** Bits in a second that it may take just now. */
  readonly bitsPerSecond: number;
  /** Images that are counted. */
  readonly images: number;
  /** Other pools that were learned from. */
  readonly otherPools: number;
  /** Bytes that were left to fetch when the last plan was made. */
  readonly missing?: number;
  readonly lastRun?: Omit<WarmReport, 'items'> & { readonly ended: number };
}

export interface PrewarmerDeps {
  readonly pool: () => Pool;
  readonly planner: Planner;
  readonly tags: TagFinder;
  readonly api: PoolApi;
  readonly lease: EgressLease;
  readonly pace: Pace;
  readonly warm: Omit<WarmDeps, 'signal' | 'stop' | 'onEvent'>;
  /** Whether the origin tells of pushes by itself. */
  readonly told: () => boolean;
  readonly away: () => boolean;
  readonly log: EngineLog;
  /** What was counted before. */
  readonly remembered?: Partial<Counted>;
  readonly now?: () => number;
  /** Milliseconds; for tests. */
  readonly timing?: Partial<PrewarmTiming>;
}

export interface PrewarmTiming {
  /** Between two plans. Ten minutes. */
  readonly plan: number;
  /** Before the first: pools that start together do not ask together. 5 to 20 seconds. */
  readonly first: number;
  /** Between two looks at followed tags of an origin that does not tell. A minute. */
  readonly poll: number;
  /** Between two talks with the origin about what all pools pull. An hour. */
  readonly share: number;
  /** How long pushes are gathered: one release is often several tags. */
  readonly gather: number;
}

/** What is not pulled within a day is not worth having fetched today. Milliseconds. */
const horizon = 86_400_000;

/** Layers are counted whatever repository they are asked for in: the cache has them once. */
const layerKey = (digest: string) => ({ repository: 'layers', digest });

/** Tags that are looked at in one round. */
const maxPolled = 200;
const maxPins = 500;

export function createPrewarmer(deps: PrewarmerDeps): Prewarmer {
  const { pool, planner, tags, api, lease, pace, warm, told, away, log, remembered, now = Date.now } = deps;
  const timing: PrewarmTiming = {
    plan: 600_000,
    first: 5_000 + Math.random() * 15_000,
    poll: 60_000,
    share: 3_600_000 * (0.9 + 0.2 * Math.random()),
    gather: 1_000,
    ...deps.timing,
  };
  const { halfLife } = pool().prewarm;
  const local = createPopularity({ halfLife });
  const requested = createPopularity({ halfLife });
  if (remembered?.images !== undefined) addSnapshot(local, remembered.images, halfLife);
  if (remembered?.layers !== undefined) addSnapshot(requested, remembered.layers, halfLife);
  let global: { readonly popularity: Popularity; readonly pools: number } | undefined;
  const pushes = createPushRecord();
  let urgent: PushedImage[] = [];
  let rest: FetchItem[] = [];
  let state: PrewarmStatus['state'] = 'waiting';
  let missing: number | undefined;
  let lastRun: PrewarmStatus['lastRun'];
  let polled: { tags: readonly FollowedTag[]; at: number; next: number } | undefined;
  // A day after the start at the latest: processes may well be younger than what they keep.
  let touchedAt = now() - Math.max(0, pool().cache.inactive / 4 - 86_400_000);
  const ended = new AbortController();
  const { signal } = ended;
  let wake = new AbortController();
  let gap = true;

  const patterns = (texts: readonly string[]): ImagePattern[] => {
    const namespaces = pool().upstreams.map(({ ns }) => ns);
    return texts.map((text) => compileImagePattern(text, namespaces)).filter((each) => each !== undefined);
  };
  const pushed = (image: Omit<PushedImage, 'time' | 'followed'>): void => {
    const followed = patterns(pool().prewarm.follow).some((pattern) => matchesImage(pattern, image));
    const time = now();
    const push = { ...image, time, followed };
    if (!pushes.add(push)) return;
    const known = { now: time, halfLife, horizon, local, pushes: pushes.since(time - halfLife) };
    if (!followed && !isLikelyPulled(push, known)) return;
    urgent.push(push);
    wake.abort();
  };

  /** What is urgent goes first; between two slices it takes over. */
  async function fetch(items: readonly FetchItem[], stop: () => boolean): Promise<WarmReport> {
    state = 'fetching';
    const { items: done, ...report } = await lease.during(() => runWarm(items, { ...warm, signal, stop }));
    lastRun = { ...report, ended: now() };
    if (report.missed > 0 || report.failed > 0)
      log.info({ ...report }, 'prewarming fetched what it had planned');
    for (const { repository, reference, error } of done
      .filter((item) => item.error !== undefined)
      .slice(0, 20)) {
      if (!stop() && !signal.aborted)
        log.warn({ repository, reference, error }, 'something could not be prewarmed');
    }
    return { ...report, items: done };
  }

  async function work(): Promise<void> {
    if (urgent.length > 0) {
      const first = urgent.splice(0);
      state = 'planning';
      const { fetch: items } = await planner.planPushes(first, signal);
      if (items.length > 0) await fetch(items, () => false);
      return;
    }
    if (rest.length === 0) return;
    const before = rest;
    const { items, complete } = await fetch(before, () => urgent.length > 0);
    const done = new Set(items.filter(({ error }) => error === undefined).map(itemKey));
    // What failed has its turn in the next plan.
    rest = complete ? [] : before.filter((item) => !done.has(itemKey(item)));
  }

  async function makePlan(): Promise<void> {
    state = 'planning';
    planner.setPins(await tags.find(patterns(pool().prewarm.always), maxPins));
    const time = now();
    const plan = await planner.plan(
      {
        now: time,
        halfLife,
        horizon,
        local,
        measured(digest) {
          const count = requested.countOf(layerKey(digest), time);
          return count === 0 ? undefined : rateOf(count, halfLife);
        },
        pushes: pushes.since(time - halfLife),
        ...(global === undefined ? {} : { global }),
      },
      signal,
    );
    missing = plan.missing;
    rest = [...plan.fetch];
    const { inactive } = pool().cache;
    if (time - touchedAt < inactive / 4) return;
    touchedAt = time;
    await touch(plan.keep, { ...warm, signal });
  }

  async function pollTags(): Promise<void> {
    const { follow } = pool().prewarm;
    if (follow.length === 0 || (told() && !gap)) return;
    gap = false;
    if (polled === undefined || now() - polled.at >= timing.plan) {
      polled = { tags: await tags.find(patterns(follow), 5000), at: now(), next: polled?.next ?? 0 };
    }
    const { tags: all, next } = polled;
    for (let count = 0; count < Math.min(maxPolled, all.length); count++) {
      const tag = all[(next + count) % all.length];
      const digest = tag === undefined ? undefined : await tags.resolve(tag);
      if (tag !== undefined && digest !== undefined) pushed({ ...tag, digest });
    }
    polled.next = all.length === 0 ? 0 : (next + maxPolled) % all.length;
  }

  async function share(): Promise<void> {
    await api.sendPopularity(takeSnapshot(local, now(), halfLife));
    const others = await api.otherPools();
    if (others === undefined) return;
    const popularity = createPopularity({ halfLife });
    addSnapshot(popularity, others.snapshot, halfLife);
    global = { popularity, pools: others.pools };
  }

  /** Does it now and then, and says once when it cannot. */
  async function regularly(what: string, every: () => number, act: () => Promise<void>): Promise<void> {
    let failed = false;
    while (!signal.aborted) {
      try {
        if (!away()) await act();
        failed = false;
      } catch (error) {
        if (!failed && !signal.aborted)
          log.warn({ err: error, what }, 'prewarming could not do a part of its work');
        failed = true;
      }
      await sleep(every(), undefined, { signal }).catch(() => {});
    }
  }

  async function loop(): Promise<void> {
    let planned = Number.NEGATIVE_INFINITY;
    await pause(timing.first, signal);
    while (!signal.aborted) {
      wake = new AbortController();
      try {
        if (!away()) {
          if (urgent.length === 0 && now() - planned >= timing.plan) {
            planned = now();
            await makePlan();
          }
          await work();
        }
      } catch (error) {
        if (!signal.aborted) log.warn({ err: error }, 'prewarming stopped for now');
      }
      state = 'waiting';
      if (urgent.length > 0) await pause(timing.gather, signal);
      else if (rest.length === 0 || away()) {
        const ms = away() ? 5_000 : Math.max(1_000, planned + timing.plan - now());
        await pause(ms, AbortSignal.any([signal, wake.signal]));
        if (wake.signal.aborted) await pause(timing.gather, signal);
      }
    }
  }

  const running = Promise.all([
    loop(),
    (async () => {
      await pause(timing.first / 2, signal);
      await regularly('followed tags', () => timing.poll, pollTags);
    })(),
    (async () => {
      await pause(timing.first / 2, signal);
      await regularly('popularity', () => timing.share, share);
    })(),
  ]);

  return {
    onRecord(record) {
      const image = pulledImage(record);
      if (image !== undefined) local.add(image, record.time);
      const { side, kind, prewarm, digest, method, status, bytes } = record;
      if (prewarm || kind !== 'blob') return;
      const served = side === 'client' && method === 'GET' && (status === 200 || status === 206);
      if (served && digest !== undefined) requested.add(layerKey(digest), record.time);
      // A node waits for the link: its bytes are told of while they arrive, its own request only when it has ended.
      if ((side === 'origin' || record.cache === 'miss') && bytes > 0) pace.clientMissed();
    },
    onPush({ repository, digest, tags: set }) {
      for (const tag of set) pushed({ repository, digest, tag });
    },
    onGap() {
      gap = true;
    },
    patterns: () => patterns([...pool().prewarm.always, ...pool().prewarm.follow]),
    status: () => ({
      state,
      bitsPerSecond: pace.rate,
      images: local.size,
      otherPools: global?.pools ?? 0,
      ...(missing === undefined ? {} : { missing }),
      ...(lastRun === undefined ? {} : { lastRun }),
    }),
    snapshots: () => ({
      images: takeSnapshot(local, now(), halfLife),
      layers: takeSnapshot(requested, now(), halfLife),
    }),
    async close() {
      ended.abort(new Error('the pool stops'));
      await running;
    },
  };
}

function itemKey({
  kind,
  ns = '',
  repository,
  reference,
}: Pick<FetchItem, 'kind' | 'ns' | 'repository' | 'reference'>) {
  return `${kind} ${ns} ${repository} ${reference}`;
}

/** Ends early without a word when `signal` is raised. */
async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await sleep(ms, undefined, { signal }).catch(() => {});
}
