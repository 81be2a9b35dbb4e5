import { LRUCache } from 'lru-cache';
import type { PoolCache } from '../pool-engine.ts';
import type { Pool } from '../pools/pool.ts';
import { type ImageKey, imageKey } from '../popularity/popularity.ts';
import {
  type CandidateInput,
  gatherCandidates,
  type ImageContent,
  type PinnedImage,
  type PushedImage,
} from './candidates.ts';
import type { FollowedTag } from './followed-tags.ts';
import { type ImageReader, ImageUnreadable } from './image-reader.ts';
import { type Candidate, type PlanInput, planPrewarm, type WarmPlan } from './plan.ts';
import type { WarmReference } from './warm-references.ts';

/** Looks at what the pool knows and has, and makes plans of it. */
export interface Planner {
  /**
   * Reads the manifests that it does not know yet, so it takes a while where there are many. Errors: those of the cache; an origin that is away leaves out
   * what is not known.
   */
  plan(known: Knowledge, signal: AbortSignal): Promise<WarmPlan>;
  /** Of these images alone, whatever they cost. `onUnreadable` is told of those that are none. Errors: OriginAway, EngineUnreachable. */
  planImages(
    images: readonly WarmReference[],
    signal: AbortSignal,
    onUnreadable: (image: WarmReference, error: ImageUnreadable) => void,
  ): Promise<WarmPlan>;
  /** Of pushes that have just happened; what cannot be read is left out. */
  planPushes(pushes: readonly PushedImage[], signal: AbortSignal): Promise<WarmPlan>;
  /** Which tags are pinned. */
  setPins(tags: readonly FollowedTag[]): void;
}

/** What a plan is made from, but for what the planner finds out itself. */
export interface Knowledge extends Omit<CandidateInput, 'contentOf' | 'pins'> {
  readonly measured: NonNullable<PlanInput['measured']>;
}

export interface PlannerDeps {
  readonly pool: () => Pool;
  readonly cache: PoolCache;
  readonly reader: ImageReader;
  readonly onUnreadable: (image: string, error: unknown) => void;
}

/** Manifests that one plan reads anew; those that are left have their turn in the next. */
const maxReads = 500;

/** What is planned may fill so much of the cache: the rest is for what nobody foresaw. */
const cacheShare = 0.8;

export function createPlanner({ pool, cache, reader, onUnreadable }: PlannerDeps): Planner {
  let pinnedTags: readonly FollowedTag[] = [];
  /** What could not be read is not asked for in every plan again. */
  const unreadable = new LRUCache<string, true>({ max: 5000, ttl: 3_600_000 });

  /** False: the origin cannot be asked, and asking for more is of no use. */
  async function readKnown(image: ImageKey, signal: AbortSignal): Promise<boolean> {
    const key = imageKey(image);
    if (unreadable.has(key)) return true;
    try {
      await reader.read(image, image.digest, signal);
      return true;
    } catch (error) {
      signal.throwIfAborted();
      if (!(error instanceof ImageUnreadable)) return false;
      unreadable.set(key, true);
      onUnreadable(`${image.repository}@${image.digest}`, error);
      return true;
    }
  }

  async function readPins(signal: AbortSignal): Promise<PinnedImage[]> {
    const pins: PinnedImage[] = [];
    for (const { ns, repository, tag } of pinnedTags) {
      try {
        const name = { ...(ns === undefined ? {} : { ns }), repository };
        const { digest } = await reader.read(name, tag, signal);
        pins.push({ ...name, digest, tag });
      } catch (error) {
        signal.throwIfAborted();
        if (!(error instanceof ImageUnreadable)) break;
        onUnreadable(`${repository}:${tag}`, error);
      }
    }
    return pins;
  }

  async function planOf(
    candidates: readonly Candidate[],
    limits: Pick<PlanInput, 'topBytes' | 'maxLayer' | 'measured'>,
    horizon: number,
  ): Promise<WarmPlan> {
    const { maxSize } = pool().cache;
    const covered = new Map<string, number>();
    for (const { blobs, manifests } of candidates) {
      // What the reader knows, it read through the engine, which keeps it.
      for (const { digest, size } of manifests) covered.set(digest, size);
      for (const { digest, size } of blobs) {
        if (covered.has(digest)) continue;
        const { whole, cached } = await cache.coverage(digest);
        covered.set(digest, whole ? size : Math.min(cached, size - 1));
      }
    }
    return planPrewarm({
      candidates,
      cached: ({ digest }) => covered.get(digest) ?? 0,
      horizon,
      free: maxSize - (await cache.usage()).bytes,
      maxBytes: maxSize * cacheShare,
      ...limits,
    });
  }

  return {
    async plan(known, signal) {
      const { maxLayer, topBytes } = pool().prewarm;
      const pins = await readPins(signal);
      let reads = 0;
      for (const image of imagesOf(known)) {
        if (reads >= maxReads) break;
        if (reader.known(image) !== undefined) continue;
        reads += 1;
        if (!(await readKnown(image, signal))) break;
      }
      const contentOf = (image: ImageKey): ImageContent | undefined => reader.known(image);
      const candidates = gatherCandidates({ ...known, pins, contentOf });
      return planOf(candidates, { topBytes, maxLayer, measured: known.measured }, known.horizon);
    },
    async planImages(images, signal, onUnreadableImage) {
      const candidates: Candidate[] = [];
      for (const image of images) {
        const { reference, ...name } = image;
        const read = await reader.read(name, reference, signal).catch((error: unknown) => {
          if (!(error instanceof ImageUnreadable)) throw error;
          onUnreadableImage(image, error);
        });
        if (read === undefined) continue;
        const { content, ...key } = read;
        // Somebody asks for it: that is as certain as a push, and without tags, as reading by tag has made that one warm.
        candidates.push({ ...key, ...content, reason: 'pushed', rate: Number.POSITIVE_INFINITY, tags: [] });
      }
      return planOf(candidates, { topBytes: 0, maxLayer: Number.POSITIVE_INFINITY }, 1);
    },
    async planPushes(pushes, signal) {
      const candidates: Candidate[] = [];
      for (const push of pushes) {
        if (!(await readKnown(push, signal))) break;
        const content = reader.known(push);
        if (content === undefined) continue;
        const { ns, repository, digest, tag } = push;
        const key = { ...(ns === undefined ? {} : { ns }), repository, digest };
        candidates.push({
          ...key,
          ...content,
          reason: 'pushed',
          rate: Number.POSITIVE_INFINITY,
          tags: [tag],
        });
      }
      return planOf(candidates, { topBytes: 0, maxLayer: pool().prewarm.maxLayer }, 1);
    },
    setPins(tags) {
      pinnedTags = tags;
    },
  };
}

/** Whose manifests a plan needs, the likeliest first. */
function* imagesOf(known: Knowledge): Generator<ImageKey> {
  const { pushes, local, global, now, limit } = known;
  const runsHere = (image: ImageKey): boolean =>
    local.countOfRepository(image, now) + (global?.popularity.countOfRepository(image, now) ?? 0) > 0.05;
  for (const push of pushes.toReversed()) if (push.followed || runsHere(push)) yield push;
  yield* local.counts(now, limit);
  if (global !== undefined) yield* global.popularity.counts(now, limit);
}
