import type { ImageKey } from '../popularity/popularity.ts';
import { imageKey } from '../popularity/popularity.ts';

/**
 * Why an image should be warm, in the order in which they are fetched: a followed tag was pushed; it is pinned; it is pulled here; it is pulled in other
 * pools, and this one has not seen it yet.
 */
export type WarmReason = 'pushed' | 'pinned' | 'popular' | 'bootstrap';

export interface Content {
  readonly digest: string;
  /** Bytes. */
  readonly size: number;
}

/** An image, with what a node would fetch of it. */
export interface Candidate extends ImageKey {
  readonly reason: WarmReason;
  /** Pulls in a millisecond that are expected of it. */
  readonly rate: number;
  /** Tags that point at it and that nodes pull by. */
  readonly tags: readonly string[];
  /** Itself, and for an index the images in it that nodes here would pull. */
  readonly manifests: readonly Content[];
  /** Config and layers of those images. */
  readonly blobs: readonly Content[];
}

export interface PlanInput {
  readonly candidates: readonly Candidate[];
  /** Bytes of a blob or manifest that are in the cache already. */
  readonly cached: (content: Content) => number;
  /**
   * Requests for a blob in a millisecond, as counted here. Undefined: nobody asked for it yet, and its images' rates must do. They say too much about layers
   * that nodes have from other images already, as they do of most base layers.
   */
  readonly measured?: (digest: string) => number | undefined;
  /** Milliseconds: what is not pulled within is not worth having fetched now. */
  readonly horizon: number;
  /** Bytes that popularity may keep warm: what has to be fetched, and what is there without anybody having asked for it. */
  readonly topBytes: number;
  /** Bytes of everything planned: more would throw out what was fetched first. */
  readonly maxBytes: number;
  /** Layers above are left out. */
  readonly maxLayer: number;
  /** Bytes that fit into the cache without throwing anything out. Default: all that is planned. */
  readonly free?: number;
}

/** Something to fetch. A tag costs a request each time, so candidates name only those that are not known to be fresh. */
export interface FetchItem {
  readonly kind: 'tag' | 'manifest' | 'blob';
  readonly ns?: string;
  readonly repository: string;
  /** A digest, or the tag. */
  readonly reference: string;
  /** Bytes; 0 for tags. */
  readonly size: number;
  /** Bytes of it that are not in the cache; what is there whole is only in a plan to be kept from being evicted. */
  readonly missing: number;
  readonly reason: WarmReason;
  /** That somebody pulls it within the horizon. */
  readonly probability: number;
}

export interface WarmPlan {
  /** In the order to fetch them in. Nothing that is in the cache whole. */
  readonly fetch: readonly FetchItem[];
  /** Blobs of pinned images that are there: an LRU must be told now and then that they are wanted. */
  readonly keep: readonly FetchItem[];
  /** Bytes to fetch. */
  readonly missing: number;
  /** Layers that were left out. */
  readonly left: { readonly tooLarge: number; readonly overBudget: number; readonly improbable: number };
}

/** Blobs below come with their manifest: as a request of their own they would cost more than their bytes. */
const smallBlob = 64 * 1024;

/** What is less probable is not worth its bytes on the link. */
const leastProbability = 0.02;

/** In a full cache something goes for it that somebody did pull once. */
const leastInFullCache = 0.5;

const order: Readonly<Record<WarmReason, number>> = { pushed: 0, pinned: 1, popular: 2, bootstrap: 3 };

/** What is fetched and taken into account as one: a layer, or what is small of an image. */
interface Unit {
  readonly reason: WarmReason;
  readonly probability: number;
  readonly head: boolean;
  readonly bytes: number;
  readonly items: readonly FetchItem[];
}

/**
 * What to fetch, and in which order. A cache needs prewarming for the first pull only, so the worth of a layer is the probability that it is pulled
 * at all in the horizon, 1 − e^(−rate × horizon), times its size; its cost is its size too. So what counts is the probability alone, where a layer
 * of many images has the sum of their rates: base layers come first by themselves.
 */
export function planPrewarm(input: PlanInput): WarmPlan {
  const { cached, horizon, topBytes, maxBytes, maxLayer, free = Number.POSITIVE_INFINITY } = input;
  const { measured = () => undefined } = input;
  const probabilityOf = (rate: number): number => -Math.expm1(-rate * horizon);
  const candidates = withoutDoubles(input.candidates);
  const rates = new Map<string, number>();
  for (const { blobs, rate } of candidates) {
    for (const digest of new Set(blobs.map((blob) => blob.digest))) {
      rates.set(digest, (rates.get(digest) ?? 0) + rate);
    }
  }

  const units: Unit[] = [];
  const seen = new Set<string>();
  let tooLarge = 0;
  for (const candidate of candidates) {
    const { ns, repository, reason, rate } = candidate;
    const place = { ...(ns === undefined ? {} : { ns }), repository };
    const blobItem = (blob: Content, probability: number): FetchItem => ({
      kind: 'blob',
      ...place,
      reference: blob.digest,
      size: blob.size,
      missing: Math.max(0, blob.size - cached(blob)),
      reason,
      probability,
    });
    const own = probabilityOf(rate);
    const head = headItems(candidate, place, own, cached);
    for (const blob of candidate.blobs) {
      if (seen.has(blob.digest)) continue;
      seen.add(blob.digest);
      if (blob.size > maxLayer) tooLarge += 1;
      else if (blob.size < smallBlob) head.push(blobItem(blob, own));
      else {
        const probability = probabilityOf(measured(blob.digest) ?? rates.get(blob.digest) ?? rate);
        const item = blobItem(blob, probability);
        units.push({ reason, probability, head: false, bytes: blob.size, items: [item] });
      }
    }
    const bytes = head.reduce((sum, { size }) => sum + size, 0);
    units.push({ reason, probability: own, head: true, bytes, items: head });
  }
  units.sort(byWorth);

  const fetch: FetchItem[] = [];
  const keep: FetchItem[] = [];
  let top = 0;
  let total = 0;
  let added = 0;
  let overBudget = 0;
  let improbable = 0;
  for (const { reason, probability, bytes, items, head } of units) {
    const counted = reason === 'popular' || reason === 'bootstrap';
    const speculative = items.reduce((sum, item) => sum + (isSpeculative(item, measured) ? item.size : 0), 0);
    const fits = total + bytes <= maxBytes && (!counted || top + speculative <= topBytes);
    const missing = items.reduce((sum, item) => sum + item.missing, 0);
    const least = added + missing > free ? leastInFullCache : leastProbability;
    if (counted && probability < least && (missing > 0 || head)) improbable += head ? 0 : 1;
    else if (!fits) overBudget += head ? 0 : 1;
    else {
      total += bytes;
      added += missing;
      if (counted) top += speculative;
      for (const item of items) {
        if (item.kind === 'tag' || item.missing > 0) fetch.push(item);
        else if (reason === 'pinned' && item.kind === 'blob') keep.push(item);
      }
    }
  }
  const missing = fetch.reduce((sum, item) => sum + item.missing, 0);
  return { fetch, keep, missing, left: { tooLarge, overBudget, improbable } };
}

/** What nodes themselves made the cache fetch is there for that reason already. */
function isSpeculative(item: FetchItem, measured: (digest: string) => number | undefined): boolean {
  return item.missing > 0 || measured(item.reference) === undefined;
}

/** An image may be wanted for several reasons: the strongest counts, with the highest rate of them. */
function withoutDoubles(candidates: readonly Candidate[]): Candidate[] {
  const images = new Map<string, Candidate>();
  for (const candidate of candidates) {
    const key = imageKey(candidate);
    const known = images.get(key);
    if (known === undefined) images.set(key, candidate);
    else {
      const first = order[candidate.reason] < order[known.reason] ? candidate : known;
      const rate = Math.max(candidate.rate, known.rate);
      images.set(key, { ...first, rate, tags: [...new Set([...known.tags, ...candidate.tags])] });
    }
  }
  // A blob of several images is fetched for the strongest reason among them.
  return [...images.values()].sort((a, b) => order[a.reason] - order[b.reason] || b.rate - a.rate);
}

function headItems(
  candidate: Candidate,
  place: { readonly ns?: string; readonly repository: string },
  probability: number,
  cached: PlanInput['cached'],
): FetchItem[] {
  const { reason } = candidate;
  const common = { ...place, reason, probability };
  return [
    ...candidate.manifests.map((manifest) => ({
      kind: 'manifest' as const,
      ...common,
      reference: manifest.digest,
      size: manifest.size,
      missing: Math.max(0, manifest.size - cached(manifest)),
    })),
    ...candidate.tags.map((tag) => ({
      kind: 'tag' as const,
      ...common,
      reference: tag,
      size: 0,
      missing: 0,
    })),
  ];
}

/** Reasons in their order; then the more probable, and what is small first where it is as probable. */
function byWorth(a: Unit, b: Unit): number {
  return order[a.reason] - order[b.reason] || b.probability - a.probability || a.bytes - b.bytes;
}
