import type { Digest } from '../../oci/digest.ts';
import { parseManifest } from '../../oci/manifest.ts';
import { promotedDigestPrefix } from '../promote/promotion-records.ts';
import type { StoreContext } from '../store/context.ts';
import { dropManifest } from '../store/delete-manifest.ts';
import {
  isReadable,
  keepCommitted,
  type ManifestHeader,
  type ReadableManifest,
  readManifestRecord,
} from '../store/manifest-record.ts';
import { manifestKey, manifestReferencesPrefix, tagsOfPrefix } from '../store/paths.ts';
import { buryRecord, replaceRecord } from '../store/record.ts';
import { timeLeft, type WaitOptions } from './store-time.ts';
import { hasKeys } from './walk.ts';

export interface ReviewManifestOptions extends WaitOptions {
  /** A record written (pushed, turned back) less than so many milliseconds ago is left alone. */
  readonly graceMs: number;
  /** Milliseconds it stays condemned, in which readers see it and whoever needs it turns it back; at least `graceMs` are taken. */
  readonly olderThanMs: number;
  /** Says what would be done. */
  readonly dryRun?: boolean;
}

export type ManifestOutcome =
  | { readonly outcome: 'absent' }
  /** It has a tag, a parent, a promotion, or a subject that is there. `revived`: it was condemned before. */
  | { readonly outcome: 'needed'; readonly revived: boolean }
  /** Not condemned yet; call again after `waitMs`. */
  | { readonly outcome: 'young'; readonly waitMs: number }
  /** `fresh`: condemned by this call. */
  | { readonly outcome: 'condemned'; readonly fresh: boolean; readonly waitMs: number }
  | { readonly outcome: 'deleted' }
  /** Somebody else changed the record. */
  | { readonly outcome: 'changed' };

/**
 * Design "Collection", untagged-manifest policy: removes one manifest that has no tag, was never promoted, is in no index, and
 * signs nothing that is there. Whoever gives it a tag or a parent writes that first and reads the record afterwards; this writes the record first and
 * lists afterwards, so one of them sees the other. Errors: ObjectStoreUnavailable.
 */
export async function reviewManifest(
  context: StoreContext,
  repository: string,
  digest: Digest,
  options: ReviewManifestOptions,
): Promise<ManifestOutcome> {
  const { graceMs, olderThanMs, dryRun = false } = options;
  const patienceMs = Math.max(graceMs, olderThanMs);
  const seen = await readManifestRecord(context, repository, digest);
  if (!isReadable(seen)) return { outcome: 'absent' };
  let record: ReadableManifest = seen;
  const fresh = record.header.state === 'committed';

  if (fresh) {
    if (await isNeeded(context, repository, digest, record)) return { outcome: 'needed', revived: false };
    const waitMs = await timeLeft(context, record.modified, graceMs, options);
    if (waitMs > 0) return { outcome: 'young', waitMs };
    if (dryRun)
      return patienceMs > 0 ? { outcome: 'condemned', fresh, waitMs: patienceMs } : { outcome: 'deleted' };
    const { nonce: _, ...header } = record.header;
    const condemned = await replaceRecord<ManifestHeader>(
      context,
      manifestKey(repository, digest),
      record,
      { ...header, state: 'condemned' },
      { payload: record.payload },
    );
    if (condemned === undefined) return { outcome: 'changed' };
    record = condemned as ReadableManifest;
  }

  if (await isNeeded(context, repository, digest, record)) {
    if (!dryRun) await keepCommitted(context, repository, digest, record);
    return { outcome: 'needed', revived: true };
  }
  const waitMs = await timeLeft(context, record.modified, patienceMs, options);
  if (waitMs > 0) return { outcome: 'condemned', fresh, waitMs };
  if (dryRun) return { outcome: 'deleted' };
  if (!(await buryRecord(context, manifestKey(repository, digest), record))) return { outcome: 'changed' };
  await dropManifest(context, repository, digest, record);
  return { outcome: 'deleted' };
}

async function isNeeded(
  context: StoreContext,
  repository: string,
  digest: Digest,
  record: ReadableManifest,
): Promise<boolean> {
  const { subject } = parseManifest(record.payload, record.header.mediaType);
  const isThere = async (manifest: Digest): Promise<boolean> =>
    isReadable(await readManifestRecord(context, repository, manifest, { headerOnly: true }));
  const reasons = await Promise.all([
    hasKeys(context.store, tagsOfPrefix(repository, digest)),
    hasKeys(context.store, manifestReferencesPrefix(repository, digest)),
    // Written before the tag is; whoever goes back to what ran before finds it.
    hasKeys(context.store, promotedDigestPrefix(repository, digest)),
    ...(subject === undefined ? [] : [isThere(subject.digest)]),
  ]);
  return reasons.includes(true);
}
