import { type Digest, digestOf } from '../../oci/digest.ts';
import type { BuildPlan } from './plan.ts';

/**
 * Names the result of a build before it runs: equal plan and equal source give an equal image. `sourceKey` is `SourceTree.key`.
 * The base's digest is part of the plan, so a moved channel is another key. The order of variables counts: it is that of the config.
 */
export function buildKey(plan: BuildPlan, sourceKey: string): Digest {
  return digestOf(JSON.stringify(['brickyard build 1', sourceKey, plan]));
}

/** The plan alone: what `explain` shows of a project that is in no repository. */
export function planKey(plan: BuildPlan): Digest {
  return digestOf(JSON.stringify(['brickyard plan 1', plan]));
}
