import { createRandom, type Random } from '../../helpers/fault-random.ts';

export const minute = 60_000;
export const hour = 60 * minute;
export const day = 24 * hour;
const megabyte = 1e6;

export interface Layer {
  readonly digest: string;
  /** Bytes. */
  readonly size: number;
}

/** One push of one repository's tag. */
export interface Release {
  readonly repository: string;
  readonly tag: string;
  readonly digest: string;
  readonly layers: readonly Layer[];
}

/** Times are milliseconds since the pool started; the other pools are older. */
export type WorldEvent =
  | { readonly time: number; readonly kind: 'push'; readonly release: Release }
  | {
      readonly time: number;
      readonly kind: 'pull';
      /** 0 is the pool that is looked at. */
      readonly pool: number;
      readonly release: Release;
      /** Layers that the node does not have from an image before. */
      readonly needs: readonly Layer[];
    };

export interface World {
  /** What lay at the origin when it began, the oldest first. */
  readonly before: readonly Release[];
  /** In the order of time. */
  readonly events: readonly WorldEvent[];
}

export interface WorldOptions {
  readonly seed: string;
  readonly images: number;
  readonly days: number;
  /** Pulls of an average day in one pool, roll-outs apart. */
  readonly pullsPerDay: number;
  readonly nodes: number;
  /** All pools, the one that is looked at included. */
  readonly pools: number;
}

interface App {
  readonly repository: string;
  readonly base: number;
  /** Days between two releases. */
  readonly pace: number;
  dependencies: Layer;
  releases: Release[];
}

/** For so many days the other pools have pulled before this one starts. */
const history = 2;

/** Zipf's exponent; measured ones of registries lie around it (Anwar et al., "Improving Docker Registry Design based on Production Workload Analysis", 2018). */
const exponent = 1;

/** Of all images, what is deployed in one pool; the others are never pulled there. */
const deployed = 0.5;

/**
 * A company's images and what its pools pull of them in some days: popularity by Zipf's law, a rhythm of days and weeks, base images that are
 * shared and now and then rebuilt, releases that are rolled out minutes after their push, builds of branches that nobody pulls. The same for a seed.
 */
export function createWorld(options: WorldOptions): World {
  const { seed, images, days, pools } = options;
  const random = createRandom(seed);
  let made = 0;
  const layer = (low: number, high: number): Layer => {
    made += 1;
    const digest = `sha256:${made.toString(16).padStart(64, '0')}`;
    // Sizes between the two, most of them near the lower one.
    return { digest, size: Math.round(low * (high / low) ** fraction(random)) };
  };
  const bases = Array.from({ length: Math.max(6, Math.round(Math.sqrt(images) / 2)) }, () => [
    layer(28 * megabyte, 90 * megabyte),
    layer(20 * megabyte, 180 * megabyte),
  ]);
  const baseChoice = zipf(bases.length, 1);
  const apps: App[] = Array.from({ length: images }, (_, index) => ({
    repository: `team-${index % 40}/app-${index}`,
    base: pick(baseChoice, random),
    pace: 1 + 13 * fraction(random),
    dependencies: layer(4 * megabyte, 150 * megabyte),
    releases: [],
  }));
  const release = (app: App, tag = 'v'): Release => {
    if (app.releases.length > 0 && random.chance(0.25))
      app.dependencies = layer(4 * megabyte, 150 * megabyte);
    const layers = [...(bases[app.base] ?? []), app.dependencies, layer(0.3 * megabyte, 20 * megabyte)];
    made += 1;
    const digest = `sha256:f${made.toString(16).padStart(63, '0')}`;
    const pushed = { repository: app.repository, tag: `${tag}${app.releases.length + 1}`, digest, layers };
    app.releases.push(pushed);
    return pushed;
  };
  const before = apps.map((app) => release(app));

  const events: WorldEvent[] = [];
  const trace = createPulls(options, apps, events, random);
  for (let start = -history * day; start < days * day; start += 10 * minute) {
    const working = workingHours(start);
    // Base images are rebuilt in the night; apps get them with their next release.
    if (start % day === 3 * hour && random.chance(0.5)) {
      const base = bases[random.below(bases.length)];
      if (base !== undefined)
        base.splice(0, 2, layer(28 * megabyte, 90 * megabyte), layer(20 * megabyte, 180 * megabyte));
    }
    for (const app of working ? apps : []) {
      // 10 working hours on 5 days of 7.
      if (!random.chance(((10 / 60 / 10) * (7 / 5)) / app.pace)) continue;
      const time = start + random.below(10 * minute);
      for (let branch = random.below(4); branch > 0; branch--) {
        const built = release(app, 'branch-');
        app.releases.pop();
        events.push({ time: time - random.below(3 * hour), kind: 'push', release: built });
      }
      const pushed = release(app);
      events.push({ time, kind: 'push', release: pushed });
      for (let pool = 0; pool < pools; pool++) trace.rollOut(app, pushed, pool, time);
    }
    for (let pool = 0; pool < pools; pool++) trace.pulls(pool, start, 10 * minute);
  }
  events.sort((a, b) => a.time - b.time);
  return {
    before,
    events: events.filter((event) => event.kind === 'push' || event.pool > 0 || event.time >= 0),
  };
}

function createPulls(options: WorldOptions, apps: readonly App[], events: WorldEvent[], random: Random) {
  const { images, pullsPerDay, nodes, pools } = options;
  const choice = zipf(Math.ceil(images * deployed), exponent);
  // What is popular is not the same everywhere: each pool has its own order of ranks, most of it shared.
  const ranks = Array.from({ length: pools }, (_, pool) => shuffleSome(images, random.fork(`ranks ${pool}`)));
  const shares = Array.from(choice, (sum, rank) => sum - (choice[rank - 1] ?? 0));
  const stocks = Array.from({ length: pools }, () =>
    Array.from({ length: nodes }, () => createStock(images * 10e6)),
  );
  const pull = (pool: number, time: number, release: Release): void => {
    const stock = stocks[pool]?.[random.below(nodes)];
    const needs = stock?.take(release.layers) ?? [];
    // A node that has all of it asks for nothing but the tag.
    if (needs.length > 0) events.push({ time, kind: 'pull', pool, release, needs });
  };
  return {
    pulls(pool: number, start: number, length: number) {
      const expected = (pullsPerDay * length * rhythm(start)) / day;
      let count = Math.floor(expected) + (random.chance(expected % 1) ? 1 : 0);
      for (; count > 0; count--) {
        const app = apps[ranks[pool]?.[pick(choice, random)] ?? 0];
        const older = random.chance(0.08) ? 2 : 1;
        const release = app?.releases.at(-older) ?? app?.releases.at(-1);
        if (release !== undefined) pull(pool, start + random.below(length), release);
      }
    },
    /** As many nodes as the app's pulls of a day let expect get the new release, a few minutes after its push. */
    rollOut(app: App, release: Release, pool: number, time: number) {
      const rank = ranks[pool]?.findIndex((index) => apps[index] === app) ?? 0;
      const copies = Math.min(nodes / 2, Math.round((shares[rank] ?? 0) * pullsPerDay));
      const begins = time + 3 * minute + random.below(25 * minute);
      for (let copy = 0; copy < copies; copy++) pull(pool, begins + random.below(5 * minute), release);
    },
  };
}

/** A node's own images, at most so many bytes: it asks for layers that it has not, and removes those it used least recently. */
function createStock(most: number): { take(layers: readonly Layer[]): Layer[] } {
  const layers = new Map<string, number>();
  let bytes = 0;
  return {
    take(wanted) {
      const missing = wanted.filter(({ digest }) => !layers.has(digest));
      for (const { digest, size } of wanted) {
        if (!layers.delete(digest)) bytes += size;
        layers.set(digest, size);
      }
      for (const [digest, size] of layers) {
        if (bytes <= most) break;
        layers.delete(digest);
        bytes -= size;
      }
      return missing;
    },
  };
}

/** Around 1 on average: quiet nights, half as much at weekends. */
function rhythm(time: number): number {
  const hourOfDay = (((time % day) + day) % day) / hour;
  const byHour = 1 + 0.85 * Math.sin(((hourOfDay - 8.5) / 24) * 2 * Math.PI);
  return byHour * (isWeekend(time) ? 0.5 : 1.2);
}

function workingHours(time: number): boolean {
  const hourOfDay = (((time % day) + day) % day) / hour;
  return !isWeekend(time) && hourOfDay >= 9 && hourOfDay < 19;
}

/** Time 0 is a Monday, midnight. */
function isWeekend(time: number): boolean {
  return ((Math.floor(time / day) % 7) + 7) % 7 >= 5;
}

/** Sums of shares by rank; the last is 1. */
function zipf(size: number, power: number): Float64Array {
  const sums = new Float64Array(size);
  let sum = 0;
  for (let rank = 0; rank < size; rank++) {
    sum += 1 / (rank + 1) ** power;
    sums[rank] = sum;
  }
  return sums.map((value) => value / sum);
}

function pick(sums: Float64Array, random: Random): number {
  const wanted = fraction(random);
  let low = 0;
  let high = sums.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((sums[middle] ?? 1) > wanted) high = middle;
    else low = middle + 1;
  }
  return low;
}

/** Ranks 0 … size − 1, some of them exchanged with others. */
function shuffleSome(size: number, random: Random): number[] {
  const ranks = Array.from({ length: size }, (_, rank) => rank);
  for (let count = Math.floor(size / 4); count > 0; count--) {
    const a = random.below(size);
    const b = random.below(size);
    const kept = ranks[a] ?? a;
    ranks[a] = ranks[b] ?? b;
    ranks[b] = kept;
  }
  return ranks;
}

function fraction(random: Random): number {
  return random.below(2 ** 32) / 2 ** 32;
}
