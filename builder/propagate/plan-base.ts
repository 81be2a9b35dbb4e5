import type { JobQueue } from '../../core/queue/job-queue.ts';
import type { Registry } from '../../oci/registry.ts';
import type { TagRecords } from '../farm/tag-records.ts';
import type { Rebaser } from '../rebase/rebase-image.ts';
import { type BaseChannel, listBaseChannels, withDescendants } from './base-tree.ts';
import { findDescendants } from './descendants.ts';
import { type PlannedImage, planImages } from './plan-images.ts';
import type { PropagationSettings } from './settings.ts';

/** The blast radius of a base image. */
export interface BasePlan {
  /** Those that were asked for, then the base images that stand on them, which `base build` makes again. */
  readonly channels: readonly ChannelPlan[];
}

export interface ChannelPlan extends BaseChannel {
  /** It stands on what was asked for. */
  readonly derived: boolean;
  readonly images: readonly PlannedImage[];
  /** Seconds that a wave over the images that are behind would take; over all of them when none is. */
  readonly estimatedSeconds: number;
}

export async function planBase(
  deps: {
    readonly registry: Registry;
    readonly records: TagRecords;
    readonly rebaser: Rebaser;
    readonly builds: Pick<JobQueue, 'get'>;
    readonly settings: PropagationSettings;
  },
  repository: string,
  channel: string | undefined,
): Promise<BasePlan> {
  const channels = withDescendants(await listBaseChannels(deps.registry), repository, channel);
  const nameOf = (base: { repository: string; channel: string }): string =>
    `${base.repository}:${base.channel}`;
  const names = new Set(channels.map(nameOf));
  const descendants = await findDescendants(deps, (base) => names.has(nameOf(base)));
  const plans: ChannelPlan[] = [];
  for (const each of channels) {
    const mine = descendants.filter(({ base }) => nameOf(base) === nameOf(each));
    const images = await planImages(deps, mine, { repository: each.repository, to: each.digest });
    const derived = each.repository !== repository;
    plans.push({ ...each, derived, images, estimatedSeconds: estimate(images, deps.settings) });
  }
  return { channels: plans };
}

function estimate(images: readonly PlannedImage[], { concurrency, rebuilds }: PropagationSettings): number {
  const behind = images.filter(({ current }) => !current);
  const counted = behind.length > 0 ? behind : images;
  const sum = (action: PlannedImage['action']): number =>
    counted.reduce((total, image) => total + (image.action === action ? image.estimate : 0), 0);
  return sum('rebase') / concurrency + sum('rebuild') / rebuilds;
}
