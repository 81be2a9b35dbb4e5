import { setTimeout as delay } from 'node:timers/promises';
import type { JobContext, JobRecord } from '../../core/queue/job-queue.ts';
import { type Digest, isDigest } from '../../oci/digest.ts';
import { buildJob } from '../farm/build-job.ts';
import { fixedTag } from '../farm/image-tags.ts';
import { timeOrderedId } from '../git/time-ordered-id.ts';
import { RebaseRefused } from '../rebase/refusal.ts';
import { moveTags } from './move-tags.ts';
import { isUnavailable, lastBuild } from './plan-images.ts';
import type { WaveRunnerDeps } from './run-wave.ts';
import type { WaveImage, WaveRequest } from './wave.ts';
import type { OpenWave } from './wave-store.ts';

/** Milliseconds between two looks at a build that a wave waits for. */
const pollMs = 200;

/** Does what a wave wants of one image. */
export interface ImageWorker {
  /** `rebuild`: it turned out that only a build helps. */
  rebase(index: number): Promise<'done' | 'rebuild'>;
  rebuild(index: number): Promise<void>;
}

/**
 * One fault is one image's: it is written down and the others go on. Errors: the store does not answer (the wave is tried again), the wave
 * was stopped.
 */
export function createImageWorker(
  deps: WaveRunnerDeps,
  id: string,
  request: WaveRequest,
  wave: OpenWave,
  { signal }: JobContext,
): ImageWorker {
  const { registry, records, protection, rebaser, builds, log } = deps;
  const imageAt = (index: number): WaveImage => {
    const image = wave.document.images[index];
    if (image === undefined) throw new RangeError(`the wave has no image ${index}`);
    return image;
  };

  /** The audit line of an image: who moved what, from where to where. */
  function end(index: number, change: Partial<WaveImage> & Pick<WaveImage, 'outcome'>): void {
    wave.update(index, change);
    const { repository, digest, newDigest, outcome, moved, reason, build } = imageAt(index);
    log.info(
      {
        audit: 'rebase',
        wave: id,
        by: request.by,
        repository,
        from: digest,
        to: newDigest,
        outcome,
        tags: moved,
        reason,
        build,
      },
      'image of a wave is done',
    );
  }

  async function guarded(index: number, work: () => Promise<void>): Promise<void> {
    signal.throwIfAborted();
    try {
      await work();
    } catch (error) {
      signal.throwIfAborted();
      if (isUnavailable(error)) throw error;
      log.warn({ err: error, wave: id, repository: imageAt(index).repository }, 'image of a wave failed');
      end(index, { outcome: 'failed', reason: error instanceof Error ? error.message : String(error) });
    }
  }

  async function rebase(index: number): Promise<void> {
    const image = imageAt(index);
    const { repository, digest } = image;
    const base = { repository: request.repository, digest: request.to };
    const tag = fixedTagOf(image);
    const rebased = await rebaser.rebase({
      repository,
      digest,
      base,
      ...(tag === undefined ? {} : { fixedTag: tag }),
    });
    await moveTo(index, rebased.digest, 'rebased');
  }

  async function moveTo(index: number, newDigest: Digest, outcome: 'rebased' | 'rebuilt'): Promise<void> {
    const { repository, digest, tags } = imageAt(index);
    const { moved, left } = await moveTags(
      { registry, records, protection },
      { repository, from: digest, to: newDigest, tags, wave: id },
    );
    end(index, { outcome: moved.length === 0 ? 'left' : outcome, newDigest, moved, left });
  }

  /** So that the image can be named for ever, as its moving tags go on; working trees have no such name. */
  function fixedTagOf({ revision, tags }: WaveImage): string | undefined {
    if (revision === undefined || tags.every(({ source }) => source.endsWith(' working tree')))
      return undefined;
    return fixedTag(revision, request.baseKey);
  }

  async function rebuild(index: number): Promise<void> {
    let build = imageAt(index).build;
    if (build === undefined) {
      build = timeOrderedId(deps.now());
      wave.update(index, { action: 'rebuild', build });
      // Before it is queued: whoever takes this wave up again must not queue another one.
      await wave.save();
    }
    const { repository } = imageAt(index);
    const last = await lastBuild(builds, imageAt(index));
    if (last === undefined) throw new Error('nobody knows any more what it was built of');
    const payload = { ...last.payload, wave: { id, repository, baseKey: request.baseKey } };
    await builds.add(buildJob(build, payload, 'rebuild'));
    const ended = await untilEnded(build);
    if (ended.state !== 'succeeded') {
      end(index, { outcome: 'failed', reason: `build ${build} ${ended.state}: ${ended.error ?? ''}` });
      return;
    }
    const newDigest = digestIn(ended, repository);
    if (newDigest === undefined) throw new Error(`build ${build} made no image ${repository}`);
    await moveTo(index, newDigest, 'rebuilt');
  }

  async function untilEnded(build: string): Promise<JobRecord> {
    for (;;) {
      const job = await builds.get(build);
      if (job?.finishedAt !== undefined) return job;
      await delay(pollMs, undefined, { signal });
    }
  }

  return {
    async rebase(index) {
      let outcome: 'done' | 'rebuild' = 'done';
      await guarded(index, async () => {
        try {
          await rebase(index);
        } catch (error) {
          if (!(error instanceof RebaseRefused)) throw error;
          const reason = error.message;
          if (error.code === 'platform' || (await lastBuild(builds, imageAt(index))) === undefined) {
            end(index, { outcome: 'refused', reason });
            return;
          }
          wave.update(index, { action: 'rebuild', reason });
          outcome = 'rebuild';
        }
      });
      return outcome;
    },
    rebuild: (index) => guarded(index, () => rebuild(index)),
  };
}

/** What a build made for one repository; undefined: nothing. */
function digestIn({ result = {} }: JobRecord, repository: string): Digest | undefined {
  const images = [result, ...(Array.isArray(result['images']) ? result['images'] : [])];
  for (const image of images as readonly { repository?: unknown; digest?: unknown }[]) {
    if (image.repository === repository && typeof image.digest === 'string' && isDigest(image.digest)) {
      return image.digest;
    }
  }
  return undefined;
}
