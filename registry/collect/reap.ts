import type { StoreContext } from '../store/context.ts';
import { uploadKey } from '../store/paths.ts';
import { isUsable, readPointer } from '../store/pointer.ts';
import { readRecord } from '../store/record.ts';
import { replaceSession, type Session, type SessionHeader } from '../store/upload-session.ts';
import { dropUpload } from '../store/uploads.ts';
import { leaveBlobHints } from './hints.ts';
import { timeLeft, type WaitOptions } from './store-time.ts';

export interface ReapSessionOptions extends WaitOptions {
  /** An upload that got no byte for so many milliseconds is given up. */
  readonly idleMs: number;
  /** A finished one is remembered for so many milliseconds, in which a repeated final PUT succeeds. */
  readonly doneMs: number;
  /** Says what would be done. */
  readonly dryRun?: boolean;
}

export type ReapOutcome =
  | { readonly outcome: 'absent' }
  | { readonly outcome: 'kept'; readonly waitMs: number; readonly dataKey: string }
  /** `bytes`: what the session held that no blob needs. */
  | { readonly outcome: 'reaped'; readonly bytes: number }
  /** Somebody went on with it. */
  | { readonly outcome: 'changed' };

/**
 * Ends one upload session that nobody will go on with, or that was finished long enough ago, and takes up what a dead reaper left.
 * Safe at any age: a finisher who runs at this moment either finds the session taken before he writes the pointer, or his write of
 * it fails. Errors: ObjectStoreUnavailable.
 */
export async function reapSession(
  context: StoreContext,
  id: string,
  options: ReapSessionOptions,
): Promise<ReapOutcome> {
  const record = await readRecord<SessionHeader>(context, uploadKey(id));
  if (record.header === undefined) return { outcome: 'absent' };
  const session = record as Session;
  const { state, dataKey, digest, offset } = session.header;
  if (state !== 'reaping') {
    const ageMs = state === 'open' ? options.idleMs : options.doneMs;
    const waitMs = await timeLeft(context, session.modified, ageMs, options);
    if (waitMs > 0) return { outcome: 'kept', waitMs, dataKey };
  }
  const spare = await hasSpareBytes(context, session);
  if (state === 'committing' && spare) {
    // Its finisher died before the blob was committed: the client may come back and send the request again.
    const waitMs = await timeLeft(context, session.modified, options.idleMs, options);
    if (waitMs > 0) return { outcome: 'kept', waitMs, dataKey };
  }
  const reaped: ReapOutcome = { outcome: 'reaped', bytes: spare ? offset : 0 };
  if (options.dryRun === true) return reaped;
  if (state === 'done' || state === 'committing') {
    // The blob may never have got a manifest.
    if (digest !== undefined) await leaveBlobHints(context, [digest]);
    if (!spare) {
      await context.store.delete(uploadKey(id));
      return reaped;
    }
  }
  const reaping =
    state === 'reaping' ? session : await replaceSession(context, id, session, { state: 'reaping' });
  if (reaping === undefined) return { outcome: 'changed' };
  await dropUpload(context, id, reaping);
  return reaped;
}

/** A finisher may have died before he committed his bytes, or before he discarded them because the blob was there already. */
async function hasSpareBytes(context: StoreContext, session: Session): Promise<boolean> {
  const { digest, dataKey, state, multipart } = session.header;
  if (digest === undefined) return true;
  const pointer = await readPointer(context, digest, { headerOnly: true });
  if (pointer.header?.dataKey === dataKey) return false;
  // Its few bytes are in the session itself, and in a pointer too where the blob is.
  if (state === 'committing' && multipart === undefined) return !isUsable(pointer);
  return state !== 'done' || (await context.store.head(dataKey)) !== undefined;
}

export interface ReapIncompleteOptions extends WaitOptions {
  /** Younger ones are left alone. */
  readonly olderThanMs: number;
  /** Does a session own the key? An upload that lasts for days is kept. */
  readonly isOwned: (dataKey: string) => boolean;
  /** Called for each that is aborted. */
  readonly onAbort?: (dataKey: string) => void;
  /** Says what would be done. */
  readonly dryRun?: boolean;
}

/**
 * Aborts multipart uploads that nobody will complete; returns how many. None of them is acknowledged, so the worst that a mistake
 * can do is that a client starts an upload again. Errors: ObjectStoreUnavailable.
 */
export async function reapIncomplete(context: StoreContext, options: ReapIncompleteOptions): Promise<number> {
  let aborted = 0;
  for await (const upload of context.store.multipart.incomplete()) {
    if (options.isOwned(upload.key)) continue;
    if ((await timeLeft(context, upload.initiated, options.olderThanMs, options)) > 0) continue;
    if (options.dryRun !== true) await upload.abort();
    options.onAbort?.(upload.key);
    aborted++;
  }
  return aborted;
}
