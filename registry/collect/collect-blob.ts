import type { Digest } from '../../oci/digest.ts';
import type { StoreContext } from '../store/context.ts';
import { inParallel } from '../store/in-parallel.ts';
import { blobReferencesPrefix, pointerKey } from '../store/paths.ts';
import { keepAlive, type Pointer, type PointerHeader, readPointer } from '../store/pointer.ts';
import { buryRecord, replaceRecord } from '../store/record.ts';
import { timeLeft, type WaitOptions } from './store-time.ts';
import { hasKeys } from './walk.ts';

export interface CollectBlobOptions extends WaitOptions {
  /**
   * Milliseconds a blob stays condemned. Only so that HEAD, skip, PUT never meets an honest BLOB_UNKNOWN, and readers that hold an
   * address or a cached answer find the bytes; nothing acknowledged is lost at 0.
   */
  readonly graceMs: number;
  /** Says what would be done. */
  readonly dryRun?: boolean;
  /** The caller listed the blob's references a moment ago and there were none: spares doing it again before condemning. */
  readonly unreferenced?: boolean;
}

export type BlobOutcome =
  /** No pointer, or what is left of one. */
  | { readonly outcome: 'absent' }
  /** `revived`: it was condemned before. */
  | { readonly outcome: 'referenced'; readonly revived: boolean }
  /** Stays readable for `waitMs` more, then call again. `fresh`: condemned by this call. */
  | {
      readonly outcome: 'condemned';
      readonly fresh: boolean;
      readonly waitMs: number;
      readonly size: number;
    }
  /** `size`: bytes of the blob. */
  | { readonly outcome: 'deleted'; readonly size: number }
  /** Somebody else changed the pointer: needed after all, or another collector is at it. */
  | { readonly outcome: 'changed' };

/** A blob that is not there for anybody any more, but whose bytes are. */
export interface MarkedBlob {
  readonly outcome: 'deleting';
  readonly digest: Digest;
  readonly pointer: Pointer;
  readonly size: number;
}

/**
 * Design "Collection", blob d. Goes as far as it may and takes up what a dead collector left. May be called by any number of
 * collectors at once. Errors: ObjectStoreUnavailable; then the next call goes on from where this one came to.
 */
export async function collectBlob(
  context: StoreContext,
  digest: Digest,
  options: CollectBlobOptions,
): Promise<BlobOutcome> {
  const marked = await markBlob(context, digest, options);
  if (marked.outcome !== 'deleting') return marked;
  await finishDeletions(context, [marked]);
  return { outcome: 'deleted', size: marked.size };
}

/** All of `collectBlob` but the deletion of bytes, which is cheaper for many at once (`finishDeletions`). */
export async function markBlob(
  context: StoreContext,
  digest: Digest,
  options: CollectBlobOptions,
): Promise<BlobOutcome | MarkedBlob> {
  const { graceMs, dryRun = false } = options;
  const isReferenced = (): Promise<boolean> => hasKeys(context.store, blobReferencesPrefix(digest));
  let pointer = await readPointer(context, digest);
  if (pointer.header === undefined) return { outcome: 'absent' };
  const { size } = pointer.header;
  const fresh = pointer.header.state === 'live';

  if (pointer.header.state === 'live') {
    if (options.unreferenced !== true && (await isReferenced())) {
      return { outcome: 'referenced', revived: false };
    }
    if (dryRun) {
      return graceMs > 0
        ? { outcome: 'condemned', fresh, waitMs: graceMs, size }
        : { outcome: 'deleted', size };
    }
    const condemned = await setState(context, digest, pointer, 'condemned');
    if (condemned === undefined) return { outcome: 'changed' };
    pointer = condemned;
  }

  if (pointer.header?.state === 'condemned') {
    // Whoever wrote a reference before the pointer was condemned may not have seen that: his reference is seen here.
    // Whoever writes one from now on reads the pointer afterwards, and turns it back.
    if (await isReferenced()) {
      // Not by the etag read above: anybody may turn it back, and nobody else has to lose for it.
      if (!dryRun) await keepAlive(context, digest, pointer);
      return { outcome: 'referenced', revived: true };
    }
    const waitMs = await timeLeft(context, pointer.modified, graceMs, options);
    if (waitMs > 0) return { outcome: 'condemned', fresh, waitMs, size };
    if (dryRun) return { outcome: 'deleted', size };
    if (pointer.header.dataKey === undefined) {
      // The bytes are in the pointer, so one write ends both.
      const buried = await buryRecord(context, pointerKey(digest), pointer);
      return buried ? { outcome: 'deleted', size } : { outcome: 'changed' };
    }
    const deleting = await setState(context, digest, pointer, 'deleting');
    if (deleting === undefined) return { outcome: 'changed' };
    pointer = deleting;
  }
  return dryRun ? { outcome: 'deleted', size } : { outcome: 'deleting', digest, pointer, size };
}

/**
 * Deletes the bytes, then leaves tombstones, which listings tell from pointers without reading. The bytes' key was never used
 * before and never will be again, so this cannot hit a new push. Errors: ObjectStoreUnavailable.
 */
export async function finishDeletions(context: StoreContext, blobs: readonly MarkedBlob[]): Promise<void> {
  await context.store.deleteMany(blobs.flatMap(({ pointer }) => pointer.header?.dataKey ?? []));
  // Lost = the blob was pushed again, or another collector was faster.
  await inParallel(blobs, ({ digest, pointer }) => buryRecord(context, pointerKey(digest), pointer));
}

async function setState(
  context: StoreContext,
  digest: Digest,
  pointer: Pointer,
  state: PointerHeader['state'],
): Promise<Pointer | undefined> {
  if (pointer.header === undefined) return undefined;
  const { nonce: _, ...header } = pointer.header;
  const options = { payload: pointer.payload };
  return replaceRecord<PointerHeader>(context, pointerKey(digest), pointer, { ...header, state }, options);
}
