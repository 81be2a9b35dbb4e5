import { createHash } from 'node:crypto';
import type { StoreContext } from './context.ts';
import { inParallel } from './in-parallel.ts';
import { uploadKey } from './paths.ts';
import { readRecord } from './record.ts';
import type { SessionHeader } from './upload-session.ts';

/** Sessions that nobody has touched for so long hold nobody up; the reaper takes them. */
const forgottenMilliseconds = 24 * 60 * 60 * 1000;

/** Listed sessions that one count looks at, for each that it may find: most of a busy owner's are finished and kept for an hour. */
const readsPerSession = 10;

/**
 * Ids of one owner's sessions begin alike, so that one LIST finds them without an object that all of them share. Nothing hangs
 * on it: a session's owner is in its record.
 */
export function uploadIdPrefix(owner: string | undefined): string {
  return createHash('sha256')
    .update(owner === undefined ? 'anonymous' : `owner ${owner}`)
    .digest('hex')
    .slice(0, 8);
}

/**
 * Open upload sessions of an owner, up to `limit`; more is not counted. Those whose bytes are complete are only told from them by reading,
 * so where fewer than `limit` sessions of any kind are listed, that is the answer.
 */
export async function countUploads(
  context: StoreContext,
  owner: string | undefined,
  limit: number,
): Promise<number> {
  const prefix = uploadKey(uploadIdPrefix(owner));
  const since = context.clock() - forgottenMilliseconds;
  const keys: string[] = [];
  let startAfter: string | undefined;
  do {
    const page = await context.store.list({ prefix, ...(startAfter === undefined ? {} : { startAfter }) });
    for (const { key, modified } of page.objects) if (modified.getTime() >= since) keys.push(key);
    startAfter = page.next;
  } while (startAfter !== undefined && keys.length < limit * readsPerSession);
  if (keys.length < limit) return keys.length;
  let unfinished = 0;
  await inParallel(keys, async (key) => {
    if (unfinished >= limit) return;
    const { header } = await readRecord<SessionHeader>(context, key, { headerOnly: true });
    if (header === undefined || header.owner !== owner) return;
    if (header.state === 'open') unfinished++;
  });
  return Math.min(unfinished, limit);
}
