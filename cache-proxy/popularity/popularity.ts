import type { PullRecord } from '../pull-record.ts';

/** One manifest or index of one repository: what a pull names, and what is worth keeping warm or not. */
export interface ImageKey {
  /** Undefined: the pool's own origin. */
  readonly ns?: string;
  readonly repository: string;
  readonly digest: string;
}

export interface ImageCount extends ImageKey {
  /** Pulls, of which each counts less the older it is: half after a half-life. */
  readonly count: number;
}

/**
 * How often images are pulled, with the past fading away. Forward decay (Cormode, Shkapenyuk, Srivastava, Xu: "Forward Decay", 2009): a pull adds
 * 2^((time − epoch) / half-life), so that one addition per pull is all the work, and the order is right at any time.
 */
export interface Popularity {
  /** `pulls`: as many at once, e.g. from a snapshot. Times may come in any order. */
  add(image: ImageKey, time: number, pulls?: number): void;
  /** The most pulled first; at most `limit`. */
  counts(now: number, limit?: number): ImageCount[];
  /** 0 for what was never pulled. */
  countOf(image: ImageKey, now: number): number;
  /** Of all images of a repository together: a new release takes over from the one before. */
  countOfRepository(image: Pick<ImageKey, 'ns' | 'repository'>, now: number): number;
  readonly size: number;
}

export interface PopularityOptions {
  /** Milliseconds. */
  readonly halfLife: number;
  /**
   * Images that are remembered. What is pulled least is forgotten first, so whoever asks for very many different images makes the pool forget rare
   * ones, and costs no memory. Default 10,000: 2 MB.
   */
  readonly max?: number;
}

interface Entry extends ImageKey {
  weight: number;
}

/** Weights are moved to another epoch before they leave what a double holds exactly enough. */
const rebaseExponent = 40;

export function createPopularity({ halfLife, max = 10_000 }: PopularityOptions): Popularity {
  const entries = new Map<string, Entry>();
  /** Sums over entries, so that asking for a repository looks at none of them. */
  const repositories = new Map<string, number>();
  let epoch: number | undefined;

  const exponentOf = (time: number): number => (time - (epoch ?? time)) / halfLife;
  const current = (weight: number, now: number): number => weight * 2 ** -exponentOf(now);

  function rebase(time: number): void {
    const factor = 2 ** -exponentOf(time);
    for (const entry of entries.values()) entry.weight *= factor;
    for (const [name, weight] of repositories) repositories.set(name, weight * factor);
    epoch = time;
  }

  function forgetRarest(): void {
    const rarest = [...entries].sort(([, a], [, b]) => a.weight - b.weight);
    for (const [key, entry] of rarest.slice(0, rarest.length - max)) {
      entries.delete(key);
      const name = repositoryKey(entry);
      const left = (repositories.get(name) ?? 0) - entry.weight;
      repositories.set(name, left);
    }
    // Differences of sums leave crumbs; who has no image left has no count either.
    const alive = new Set([...entries.values()].map(repositoryKey));
    for (const name of repositories.keys()) if (!alive.has(name)) repositories.delete(name);
  }

  return {
    add(image, time, pulls = 1) {
      if (!(pulls > 0) || !Number.isFinite(pulls) || !Number.isFinite(time)) return;
      epoch ??= time;
      if (exponentOf(time) > rebaseExponent) rebase(time);
      const weight = pulls * 2 ** exponentOf(time);
      const key = imageKey(image);
      const known = entries.get(key);
      if (known === undefined) entries.set(key, { ...keyOf(image), weight });
      else known.weight += weight;
      const name = repositoryKey(image);
      repositories.set(name, (repositories.get(name) ?? 0) + weight);
      // A quarter more than allowed, so that sorting is a matter of every so many new images.
      if (entries.size > max * 1.25) forgetRarest();
    },
    counts(now, limit = max) {
      return [...entries.values()]
        .sort((a, b) => b.weight - a.weight)
        .slice(0, limit)
        .map((entry) => ({ ...keyOf(entry), count: current(entry.weight, now) }));
    },
    countOf: (image, now) => current(entries.get(imageKey(image))?.weight ?? 0, now),
    countOfRepository: (image, now) => current(repositories.get(repositoryKey(image)) ?? 0, now),
    get size() {
      return entries.size;
    },
  };
}

/**
 * Pulls in a millisecond that a decayed count stands for: under a steady rate r the count settles at r × half-life / ln 2.
 */
export function rateOf(count: number, halfLife: number): number {
  return (count * Math.LN2) / halfLife;
}

/**
 * What a record says was pulled. Undefined: nothing that counts. A GET of a manifest is a pull, once per image; HEAD is how nodes look whether a tag has
 * moved, and blobs follow from their manifests.
 */
export function pulledImage(record: PullRecord): ImageKey | undefined {
  const { side, kind, method, status, prewarm, repository, digest } = record;
  if (side !== 'client' || prewarm || method !== 'GET' || status !== 200) return undefined;
  if (kind !== 'manifest' && kind !== 'tag') return undefined;
  if (repository === undefined || digest === undefined) return undefined;
  return keyOf({ ...(record.ns === undefined ? {} : { ns: record.ns }), repository, digest });
}

/** As text, the same for the same image. */
export function imageKey({ ns = '', repository, digest }: ImageKey): string {
  return `${ns} ${repository} ${digest}`;
}

function repositoryKey({ ns = '', repository }: Pick<ImageKey, 'ns' | 'repository'>): string {
  return `${ns} ${repository}`;
}

function keyOf({ ns, repository, digest }: ImageKey): ImageKey {
  return { ...(ns === undefined ? {} : { ns }), repository, digest };
}
