import type { Popularity } from '../popularity/popularity.ts';
import type { PushedImage } from './candidates.ts';

/** Of pushes like this one, the part that somebody here pulled. */
export type Adoption = (push: PushedImage) => number;

/** Until a push is so old, nobody having pulled it says nothing. Milliseconds. */
const settled = 6 * 3_600_000;

/** So many pushes of a kind count as much as all kinds together. */
const priorWeight = 2;

/**
 * Learns what kinds of tags are pulled: releases are, builds of branches hardly. Tags are of a kind when nothing but their numbers differs (`v1.2` and `v1.10`,
 * commits). Only pushes of repositories that are pulled here count, as nobody needs to be told about the others.
 */
export function learnAdoption(known: {
  readonly pushes: readonly PushedImage[];
  readonly local: Popularity;
  readonly now: number;
}): Adoption {
  const { pushes, local, now } = known;
  const kinds = new Map<string, { seen: number; pulled: number }>();
  const all = { seen: 0, pulled: 0 };
  for (const push of pushes) {
    if (local.countOfRepository(push, now) === 0) continue;
    const pulled = local.countOf(push, now) > 0;
    if (!pulled && now - push.time < settled) continue;
    const name = kindOf(push.tag);
    const kind = kinds.get(name) ?? { seen: 0, pulled: 0 };
    kinds.set(name, kind);
    for (const counts of [kind, all]) {
      counts.seen += 1;
      counts.pulled += pulled ? 1 : 0;
    }
  }
  // One more that was pulled: before anything is known, a push is taken for a release.
  const usual = (all.pulled + 1) / (all.seen + 1);
  return ({ tag }) => {
    const { seen, pulled } = kinds.get(kindOf(tag)) ?? { seen: 0, pulled: 0 };
    return (pulled + priorWeight * usual) / (seen + priorWeight);
  };
}

function kindOf(tag: string): string {
  return tag
    .toLowerCase()
    .replaceAll(/(?<![a-z0-9])[0-9a-f]{7,40}(?![a-z0-9])/g, '#')
    .replaceAll(/\d+/g, '#');
}
