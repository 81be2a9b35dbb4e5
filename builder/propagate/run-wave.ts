import { setTimeout as delay } from 'node:timers/promises';
import type { Logger } from '../../core/log.ts';
import type { ObjectStore } from '../../core/object-store/object-store.ts';
import { type JobContext, JobFailed, type JobHandler, type JobQueue } from '../../core/queue/job-queue.ts';
import { createLimit } from '../../oci/copy/limit.ts';
import type { Registry } from '../../oci/registry.ts';
import type { TagProtection } from '../farm/tag-protection.ts';
import type { TagRecords } from '../farm/tag-records.ts';
import type { Rebaser } from '../rebase/rebase-image.ts';
import type { ChannelStates } from './channel-state.ts';
import { findDescendants } from './descendants.ts';
import { planImages } from './plan-images.ts';
import { createImageWorker } from './run-image.ts';
import { runUndo } from './run-undo.ts';
import type { PropagationSettings } from './settings.ts';
import {
  countOutcomes,
  parseWaveRequest,
  type WaveCounts,
  type WaveDocument,
  type WaveImage,
  type WaveRequest,
} from './wave.ts';
import { type OpenWave, openWave } from './wave-store.ts';

export interface WaveRunnerDeps {
  readonly store: ObjectStore;
  readonly registry: Registry;
  readonly rebaser: Rebaser;
  readonly records: TagRecords;
  readonly protection: TagProtection;
  readonly states: ChannelStates;
  /** Of waves, and of builds. */
  readonly waves: JobQueue;
  readonly builds: JobQueue;
  readonly settings: PropagationSettings;
  readonly log: Logger;
  /** Milliseconds since 1970. */
  readonly now: () => number;
}

/**
 * Runs a wave: what is to be done is written down first, with the digests from before, then image after image is done. Every step can be
 * repeated, so a wave whose worker died goes on where it was.
 */
export function createWaveRunner(deps: WaveRunnerDeps): JobHandler {
  return async (job, context) => {
    const request = parseWaveRequest(job.payload);
    const counts =
      request.kind === 'undo'
        ? await runUndo(deps, job.id, request, context)
        : await runRebase(deps, job.id, request, context);
    return { ...counts };
  };
}

async function runRebase(
  deps: WaveRunnerDeps,
  id: string,
  request: WaveRequest,
  context: JobContext,
): Promise<WaveCounts> {
  const { log, settings } = deps;
  const wave = await openWave(deps.store, id, () => planWave(deps, request));
  log.info(
    {
      wave: id,
      base: `${request.repository}:${request.channel}`,
      to: request.to,
      images: wave.document.images.length,
    },
    'wave of rebases begins',
  );
  const run = createImageWorker(deps, id, request, wave, context);
  const phase = async (chosen: (image: WaveImage) => boolean): Promise<void> => {
    const indexes = [...wave.document.images.keys()].filter((index) => {
      const image = wave.document.images[index];
      return image !== undefined && image.outcome === undefined && chosen(image);
    });
    const rebases = createLimit(settings.concurrency);
    const rebuilds = createLimit(settings.rebuilds);
    const results = await Promise.allSettled(
      indexes.map((index) =>
        wave.document.images[index]?.action === 'rebuild'
          ? rebuilds(() => run.rebuild(index))
          : rebases(async () => {
              if ((await run.rebase(index)) === 'rebuild') await rebuilds(() => run.rebuild(index));
            }),
      ),
    );
    await wave.save();
    const failed = results.find((result) => result.status === 'rejected');
    if (failed !== undefined) throw failed.reason;
  };

  await phase((image) => image.canary === true);
  await pauseAfterCanary(deps, request, wave, context.signal);
  await phase(() => true);
  return countOutcomes(wave.document.images);
}

/** Before anything is changed: the images, what is to be done with each, and who goes first. */
async function planWave(deps: WaveRunnerDeps, request: WaveRequest): Promise<WaveDocument> {
  const { repository, channel, to, apps, automatic } = request;
  const descendants = await findDescendants(
    deps,
    (base) => base.repository === repository && base.channel === channel,
  );
  const behind = descendants.filter(({ base }) => base.digest !== to);
  const planned = await planImages(deps, behind, {
    repository,
    to,
    apps,
    now: automatic ? deps.now() : undefined,
  });
  const opens = planned.flatMap((each) => each.opens ?? []);
  if (opens.length > 0) {
    const retryAt = Math.min(...opens);
    await deps.states.update(repository, channel, (state) => state && { ...state, retryAt });
  }
  const asked = planned.filter(({ descendant }) => apps?.includes(descendant.repository) ?? true);
  const active = new Set(
    asked
      .filter(({ action }) => action === 'rebase' || action === 'rebuild')
      .map((each) => each.descendant.repository),
  );
  const first = new Set([...active].sort().slice(0, request.canary));
  return {
    images: asked.map(({ descendant, action, reason }): WaveImage => {
      const outcome = unchanged[action];
      return {
        repository: descendant.repository,
        digest: descendant.digest,
        ...(descendant.revision === undefined ? {} : { revision: descendant.revision }),
        tags: descendant.tags,
        action,
        ...(reason === undefined ? {} : { reason }),
        ...(first.has(descendant.repository) ? { canary: true } : {}),
        ...(outcome === undefined ? {} : { outcome }),
      };
    }),
  };
}

/** What ends before it begins. */
const unchanged: { readonly [action in WaveImage['action']]?: keyof WaveCounts } = {
  refuse: 'refused',
  exclude: 'excluded',
  defer: 'deferred',
};

/** Errors: JobFailed when one of the first failed: the others stay as they are. */
async function pauseAfterCanary(
  { now, log }: WaveRunnerDeps,
  request: WaveRequest,
  wave: OpenWave,
  signal: AbortSignal,
): Promise<void> {
  const canaries = wave.document.images.filter((image) => image.canary === true);
  if (canaries.length === 0) return;
  const bad = canaries.find(({ outcome }) => outcome === 'failed' || outcome === 'refused');
  if (bad !== undefined) {
    throw new JobFailed(
      `${bad.repository}, one of the first ${request.canary}, failed, so the others stay as they are: ${bad.reason ?? ''}`,
    );
  }
  if (canaries.length === wave.document.images.length) return;
  if (wave.document.canaryDone === undefined) await wave.save({ canaryDone: now() });
  const left = (wave.document.canaryDone ?? 0) + request.canaryWait * 1000 - now();
  if (left <= 0) return;
  log.info({ seconds: left / 1000 }, 'wave of rebases waits after its first apps');
  await delay(left, undefined, { signal });
}
