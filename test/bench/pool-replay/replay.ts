import {
  newestFirst,
  noPrewarm,
  ours,
  type Policy,
  type PolicyOptions,
  sizeOfOurs,
  sizePopularity,
} from './policies.ts';
import { type Outcome, simulate } from './simulate.ts';
import { createWorld } from './world.ts';

// `npm run bench -- --only pool-replay`: a week of pulls from one pool, replayed for each policy of prewarming at the same budget of its link.

export interface ReplayOptions {
  readonly seed: string;
  readonly images: number;
  readonly days: number;
  readonly pullsPerDay: number;
}

/** Every policy over the same world. Some minutes for a week of 2,000 images. */
export function replay(options: ReplayOptions): Outcome[] {
  const pools = 4;
  const world = createWorld({ ...options, nodes: 40, pools });
  const scale = options.images / 2000;
  const pool = {
    cache: 100e9 * scale,
    link: 100e6 * scale,
    prewarmNight: 10e6 * scale,
    prewarmDay: 2.5e6 * scale,
  };
  const policies: ((options: PolicyOptions) => Policy)[] = [
    noPrewarm,
    newestFirst,
    sizePopularity,
    sizeOfOurs,
    ours,
  ];
  const policyOptions = { cache: pool.cache, topBytes: pool.cache * 0.25, others: pools - 1 };
  return policies.map((create) => simulate(world, pool, create(policyOptions)));
}
