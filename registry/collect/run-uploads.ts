import { uploadKey, uploadsPrefix } from '../store/paths.ts';
import { readRecord } from '../store/record.ts';
import { doneSessionLifetime, type SessionHeader } from '../store/upload-session.ts';
import { reapIncomplete, reapSession } from './reap.ts';
import { attempt, type Run } from './run.ts';
import { walkKeys } from './walk.ts';

/** A client that was gone for so long will not come back. */
const idleMs = 24 * 60 * 60 * 1000;
/** So many aborts of incomplete uploads per run; memory is bounded by it. */
const mostIncomplete = 10_000;

/** Upload sessions that nobody goes on with, and bytes of uploads that no session knows. */
export async function runUploads(run: Run): Promise<void> {
  const { context, dryRun, storeTime, tally } = run;
  let done = 0;
  for await (const { key, modified } of walkKeys(context.store, { prefix: uploadsPrefix })) {
    run.onProgress('uploads', ++done);
    if (modified.getTime() + Math.min(idleMs, doneSessionLifetime) > storeTime.getTime()) continue;
    await attempt(run, async () => {
      const id = key.slice(uploadsPrefix.length);
      const times = { idleMs, doneMs: doneSessionLifetime };
      const outcome = await reapSession(context, id, { ...times, dryRun, storeTime });
      if (outcome.outcome !== 'reaped') return;
      tally.uploads.reaped++;
      tally.uploads.bytes += outcome.bytes;
    });
  }
  await run.pool.drain();
  await abortIncomplete(run);
}

async function abortIncomplete(run: Run): Promise<void> {
  const { context, dryRun, storeTime, tally } = run;
  const found = new Set<string>();
  const times = { olderThanMs: idleMs, storeTime };
  const look = { ...times, isOwned: () => found.size >= mostIncomplete, dryRun: true };
  await reapIncomplete(context, { ...look, onAbort: (key) => found.add(key) });
  if (found.size === 0) return;
  // Only those that somebody still goes on with after a day.
  for await (const { key } of walkKeys(context.store, { prefix: uploadsPrefix })) {
    const id = key.slice(uploadsPrefix.length);
    const { header } = await readRecord<SessionHeader>(context, uploadKey(id), { headerOnly: true });
    if (header !== undefined) found.delete(header.dataKey);
  }
  const isOwned = (key: string): boolean => !found.has(key);
  tally.uploads.aborted += await reapIncomplete(context, { ...times, isOwned, dryRun });
}
