import { ObjectStoreUnavailable } from '../../core/object-store/object-store.ts';
import type { JobQueue, JobRecord } from '../../core/queue/job-queue.ts';
import { createLimit } from '../../oci/copy/limit.ts';
import type { Digest } from '../../oci/digest.ts';
import { isOciError } from '../../oci/errors.ts';
import type { Rebaser } from '../rebase/rebase-image.ts';
import type { Descendant } from './descendants.ts';
import { isOpen, nextOpening } from './maintenance-window.ts';
import { matches, type PropagationSettings } from './settings.ts';
import type { WaveAction } from './wave.ts';

export interface PlannedImage {
  readonly descendant: Descendant;
  /** It stands on the base already; `action` is then what a change of the base would mean. */
  readonly current: boolean;
  readonly action: WaveAction;
  /** Why it is not simply rebased. */
  readonly reason?: string;
  /** Seconds, of building it again. */
  readonly estimate: number;
  /** `defer`: milliseconds since 1970. */
  readonly opens?: number;
}

export interface PlanImagesOptions {
  readonly repository: string;
  readonly to: Digest;
  /** Only these repositories; also where they are excluded, if a person asks. */
  readonly apps?: readonly string[] | undefined;
  /** Milliseconds since 1970; undefined = maintenance windows do not count, because a person asks. */
  readonly now?: number | undefined;
}

const checkedAtOnce = 16;
/** Seconds; what a rebase takes on a slow disk. */
export const rebaseEstimate = 0.1;

/** What becomes of each image when its base becomes `to`. Changes nothing. */
export async function planImages(
  deps: {
    readonly rebaser: Rebaser;
    readonly builds: Pick<JobQueue, 'get'>;
    readonly settings: PropagationSettings;
  },
  descendants: readonly Descendant[],
  options: PlanImagesOptions,
): Promise<readonly PlannedImage[]> {
  const limit = createLimit(checkedAtOnce);
  return Promise.all(descendants.map((descendant) => limit(() => planImage(descendant))));

  async function planImage(descendant: Descendant): Promise<PlannedImage> {
    const { repository } = descendant;
    const current = descendant.base.digest === options.to;
    const plain = { descendant, current, estimate: rebaseEstimate };
    const named = options.apps?.includes(repository) === true;
    if (options.apps !== undefined && !named) return { ...plain, action: 'exclude', reason: 'not asked for' };
    const automatic = options.now !== undefined;
    if ((!named || automatic) && matches(deps.settings.exclude, repository)) {
      return { ...plain, action: 'exclude', reason: 'builder.propagation.exclude' };
    }
    const windows = deps.settings.windows.filter((window) => matches(window.repositories, repository));
    if (options.now !== undefined && windows.length > 0 && !isOpen(windows, options.now)) {
      const opens = nextOpening(windows, options.now);
      const reason = 'outside of its maintenance window';
      return { ...plain, action: 'defer', reason, ...(opens === undefined ? {} : { opens }) };
    }
    const refusal = await deps.rebaser.check({
      repository,
      digest: descendant.digest,
      base: { repository: options.repository, digest: options.to },
    });
    if (refusal === undefined) return { ...plain, action: 'rebase' };
    const { reason } = refusal;
    const build = refusal.code === 'platform' ? undefined : await lastBuild(deps.builds, descendant);
    if (build === undefined) return { ...plain, action: 'refuse', reason };
    return { ...plain, action: 'rebuild', reason, estimate: secondsOf(build) };
  }
}

/** The build that made the image; undefined: its record is gone, and with it what to build again. */
export async function lastBuild(
  builds: Pick<JobQueue, 'get'>,
  { tags }: Pick<Descendant, 'tags'>,
): Promise<JobRecord | undefined> {
  for (const { build } of tags) {
    const job = await builds.get(build);
    if (job !== undefined) return job;
  }
  return undefined;
}

function secondsOf({ startedAt, finishedAt }: JobRecord): number {
  const milliseconds = Date.parse(finishedAt ?? '') - Date.parse(startedAt ?? '');
  return Number.isFinite(milliseconds) ? Math.max(milliseconds / 1000, 0) : 60;
}

/** "Could not look": tried again later rather than taken for the image's own fault. */
export function isUnavailable(error: unknown): boolean {
  return error instanceof ObjectStoreUnavailable || isOciError(error, 'UNAVAILABLE');
}
