import { setTimeout as delay } from 'node:timers/promises';
import type { JobContext } from '../../core/queue/job-queue.ts';
import { createLimit } from '../../oci/copy/limit.ts';
import { found } from '../rebase/read-image.ts';
import { moveTags } from './move-tags.ts';
import { isUnavailable } from './plan-images.ts';
import type { WaveRunnerDeps } from './run-wave.ts';
import {
  countOutcomes,
  type WaveCounts,
  type WaveDocument,
  type WaveImage,
  type WaveRequest,
} from './wave.ts';
import { type OpenWave, openWave, readWaveDocument } from './wave-store.ts';

const pollMs = 200;

/**
 * Gives tags back the digests from before a wave, where they still have what the wave set. The wave's own record says what they had,
 * the tags' records who set them, so this works also for a wave that was stopped in the middle.
 */
export async function runUndo(
  deps: WaveRunnerDeps,
  id: string,
  request: WaveRequest,
  { signal }: JobContext,
): Promise<WaveCounts> {
  const { undoes = '' } = request;
  await stopWave(deps, undoes, signal);
  const wave = await openWave(deps.store, id, () => planUndo(deps, undoes));
  const limit = createLimit(deps.settings.concurrency);
  const results = await Promise.allSettled(
    [...wave.document.images.keys()].map((index) =>
      limit(() => restore(deps, id, request, wave, index, signal)),
    ),
  );
  await wave.save();
  const failed = results.find((result) => result.status === 'rejected');
  if (failed !== undefined) throw failed.reason;
  return countOutcomes(wave.document.images);
}

/** Returns when the wave has ended, and every build that it had begun. */
async function stopWave(deps: WaveRunnerDeps, id: string, signal: AbortSignal): Promise<void> {
  await deps.waves.cancel(id, 'it is undone');
  const untilEnded = async (get: () => Promise<{ finishedAt?: string } | undefined>): Promise<void> => {
    for (;;) {
      const job = await get();
      if (job === undefined || job.finishedAt !== undefined) return;
      await delay(pollMs, undefined, { signal });
    }
  };
  await untilEnded(() => deps.waves.get(id));
  const document = await readWaveDocument(deps.store, id);
  for (const { build } of document?.images ?? []) {
    if (build === undefined) continue;
    await deps.builds.cancel(build, 'the wave that asked for it is undone');
    await untilEnded(() => deps.builds.get(build));
  }
}

/** The tags that have what the wave set, image by image. */
async function planUndo(deps: WaveRunnerDeps, undoes: string): Promise<WaveDocument> {
  const document = await readWaveDocument(deps.store, undoes);
  const limit = createLimit(16);
  const images = await Promise.all(
    (document?.images ?? [])
      .filter(({ action }) => action === 'rebase' || action === 'rebuild')
      .map((image) =>
        limit(async (): Promise<WaveImage[]> => {
          const { repository, digest, tags } = image;
          const now = await Promise.all(tags.map(({ tag }) => deps.records.read(repository, tag)));
          const mine = tags.filter((_, at) => now[at]?.wave === undoes);
          const current = now.find((record) => record?.wave === undoes)?.digest;
          if (current === undefined) return [];
          // `digest` is what it has before this wave, `newDigest` what it is to have.
          return [{ repository, digest: current, newDigest: digest, tags: mine, action: 'restore' }];
        }),
      ),
  );
  return { images: images.flat() };
}

async function restore(
  { registry, records, protection, log }: WaveRunnerDeps,
  id: string,
  request: WaveRequest,
  wave: OpenWave,
  index: number,
  signal: AbortSignal,
): Promise<void> {
  const image = wave.document.images[index];
  if (image?.newDigest === undefined || image.outcome !== undefined) return;
  signal.throwIfAborted();
  const { repository, digest, newDigest, tags } = image;
  try {
    if ((await found(() => registry.resolveManifest(repository, newDigest))) === undefined) {
      wave.update(index, { outcome: 'failed', reason: `${newDigest} was deleted` });
    } else {
      const { moved, left } = await moveTags(
        { registry, records, protection },
        { repository, from: digest, to: newDigest, tags, wave: id },
      );
      wave.update(index, { outcome: moved.length === 0 ? 'left' : 'restored', moved, left });
    }
  } catch (error) {
    if (isUnavailable(error)) throw error;
    wave.update(index, { outcome: 'failed', reason: error instanceof Error ? error.message : String(error) });
  }
  const { outcome, moved, reason } = wave.document.images[index] ?? image;
  log.info(
    {
      audit: 'undo',
      wave: id,
      undoes: request.undoes,
      by: request.by,
      repository,
      from: digest,
      to: newDigest,
      outcome,
      tags: moved,
      reason,
    },
    'image of a wave is restored',
  );
}
