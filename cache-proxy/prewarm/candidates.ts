import { type ImageKey, type Popularity, rateOf } from '../popularity/popularity.ts';
import { learnAdoption } from './adoption.ts';
import type { Candidate, Content } from './plan.ts';

/** What a manifest or index stands for in this pool. */
export interface ImageContent {
  /** Itself, and the images of an index that nodes here would pull. */
  readonly manifests: readonly Content[];
  /** Their configs and layers. */
  readonly blobs: readonly Content[];
}

/** A tag was set at the origin. */
export interface PushedImage extends ImageKey {
  readonly tag: string;
  /** Milliseconds since 1970. */
  readonly time: number;
  /** Matches `prewarm.follow`. */
  readonly followed: boolean;
}

export interface PinnedImage extends ImageKey {
  readonly tag: string;
}

export interface CandidateInput {
  readonly now: number;
  /** Milliseconds. */
  readonly halfLife: number;
  /** Milliseconds that are looked ahead. */
  readonly horizon: number;
  /** Pulls in this pool. */
  readonly local: Popularity;
  /** Pulls in the other pools; `pools`: how many they are. */
  readonly global?: { readonly popularity: Popularity; readonly pools: number };
  /** The newest last; of each tag the last one alone counts. */
  readonly pushes: readonly PushedImage[];
  readonly pins: readonly PinnedImage[];
  /** Undefined: not known (yet), so it cannot be planned. */
  readonly contentOf: (image: ImageKey) => ImageContent | undefined;
  /** Images taken from each of both popularities. Default 5,000. */
  readonly limit?: number;
}

/**
 * How much a pull in the average other pool counts: enough to choose by where this one knows nothing, little against what it saw itself. The average and
 * not the sum, as a hundred other pools must not drown out the nodes that are here.
 */
const globalShare = 0.2;

/** How much of its former pulls an image keeps once a later release of its repository is pulled: some nodes go back, and some tags live side by side. */
const supersededShare = 0.25;

/** Everything that may be worth fetching, and how often each is expected to be pulled. */
export function gatherCandidates(input: CandidateInput): Candidate[] {
  const { now, halfLife, horizon, local, global, pins, contentOf, limit = 5000 } = input;
  const share = global === undefined ? 0 : globalShare / Math.max(1, global.pools);
  const scoreOf = (image: ImageKey): number =>
    local.countOf(image, now) + share * (global?.popularity.countOf(image, now) ?? 0);
  const repositoryScore = (image: ImageKey): number =>
    local.countOfRepository(image, now) + share * (global?.popularity.countOfRepository(image, now) ?? 0);
  const candidates: Candidate[] = [];
  const add = (
    image: ImageKey,
    more: Pick<Candidate, 'reason' | 'rate'> & { readonly tags?: readonly string[] },
  ): void => {
    const content = contentOf(image);
    if (content === undefined) return;
    const { ns, repository, digest } = image;
    const key = { ...(ns === undefined ? {} : { ns }), repository, digest };
    candidates.push({ ...key, tags: [], ...more, ...content });
  };

  const adoption = learnAdoption(input);
  for (const image of newestPushes(input)) {
    // A new release takes over from the one before, if it is one.
    const inherited = -Math.expm1(-rateOf(repositoryScore(image), halfLife) * horizon);
    const rate = -Math.log1p(-adoption(image) * inherited * 0.999) / horizon;
    add(image, {
      reason: image.followed ? 'pushed' : 'popular',
      rate: Math.max(rateOf(scoreOf(image), halfLife), rate),
      tags: [image.tag],
    });
  }
  for (const pin of pins) {
    add(pin, { reason: 'pinned', rate: rateOf(scoreOf(pin), halfLife), tags: [pin.tag] });
  }
  const adopted = adoptedReleases(input);
  for (const image of local.counts(now, limit)) {
    const successor = adopted.get(repositoryName(image));
    const share = successor === undefined || successor.has(image.digest) ? 1 : supersededShare;
    const rate = rateOf(scoreOf(image) * share, halfLife);
    if (!childrenSpeak(image, input)) add(image, { reason: 'popular', rate });
  }
  for (const image of global?.popularity.counts(now, limit) ?? []) {
    if (local.countOf(image, now) > 0) continue;
    add(image, { reason: 'bootstrap', rate: rateOf(scoreOf(image), halfLife) });
  }
  return candidates;
}

/**
 * Of each repository with a release that was pushed lately and is pulled here: that release and what was pushed after it. The other ones' pulls are
 * most likely over.
 */
function adoptedReleases({ pushes, local, now }: CandidateInput): ReadonlyMap<string, ReadonlySet<string>> {
  const current = new Map<string, Set<string>>();
  const found = new Set<string>();
  for (const image of pushes.toReversed()) {
    const name = repositoryName(image);
    if (found.has(name)) continue;
    current.set(name, (current.get(name) ?? new Set()).add(image.digest));
    if (local.countOf(image, now) > 0) found.add(name);
  }
  for (const name of current.keys()) if (!found.has(name)) current.delete(name);
  return current;
}

/**
 * Whether nodes here will pull it rather than not, going by what they pull of its repository: then a push is fetched at once. `pushes`: what was pushed
 * lately.
 */
export function isLikelyPulled(
  push: PushedImage,
  known: Pick<CandidateInput, 'now' | 'halfLife' | 'horizon' | 'local' | 'pushes'>,
): boolean {
  const { now, halfLife, horizon, local } = known;
  const rate = rateOf(local.countOfRepository(push, now), halfLife);
  return learnAdoption(known)(push) * -Math.expm1(-rate * horizon) >= 0.5;
}

/** A pull of an index is one of an image in it, too: counted twice, layers of such images would be worth twice as much as others. */
function childrenSpeak(image: ImageKey, { local, contentOf, now }: CandidateInput): boolean {
  const [, ...children] = contentOf(image)?.manifests ?? [];
  return children.some(({ digest }) => local.countOf({ ...image, digest }, now) > 0);
}

/** The last push of each tag. */
function newestPushes({ pushes }: CandidateInput): PushedImage[] {
  const tags = new Map<string, PushedImage>();
  for (const image of pushes) tags.set(`${repositoryName(image)}:${image.tag}`, image);
  return [...tags.values()];
}

function repositoryName({ ns = '', repository }: Pick<ImageKey, 'ns' | 'repository'>): string {
  return `${ns} ${repository}`;
}
