import type { Descriptor } from '../../oci/descriptor.ts';
import type { Digest } from '../../oci/digest.ts';
import { OciError } from '../../oci/errors.ts';
import { leaveUntaggedHints } from '../collect/hints.ts';
import type { StoreContext } from './context.ts';
import { keepCommitted } from './manifest-record.ts';
import { tagKey, tagOfKey } from './paths.ts';
import { buryRecord, type RecordHeader, readRecord, replaceRecord, type Versioned } from './record.ts';
import { putReferences } from './references.ts';

export interface TagHeader extends RecordHeader {
  readonly state: 'tag';
  readonly digest: Digest;
  readonly mediaType: string;
  /** Bytes of the manifest. */
  readonly size: number;
}

export type Tag = Versioned<TagHeader>;

export function readTag(context: StoreContext, repository: string, tag: string): Promise<Tag> {
  return readRecord<TagHeader>(context, tagKey(repository, tag));
}

/** What a tag must point at for being set; undefined = it is not there. */
export interface TagCondition {
  readonly accepts: readonly (Digest | undefined)[];
  /** For the client that is refused. */
  readonly message: string;
}

/**
 * Points the tag at a manifest, always as a new version: a DELETE of the manifest that is under way must not take the tag
 * that is acknowledged here for the one it saw. Errors: DENIED when the condition does not hold.
 */
export async function writeTag(
  context: StoreContext,
  repository: string,
  tag: string,
  manifest: Descriptor,
  condition?: TagCondition,
): Promise<void> {
  const { digest, mediaType, size } = manifest;
  for (;;) {
    const old = await readTag(context, repository, tag);
    if (condition !== undefined) checkCondition(old, condition);
    const nonce = context.random();
    // The reverse first: a tag without its reverse would dangle after its manifest is deleted.
    const reverse = tagOfKey(repository, digest, tag, nonce);
    await putReferences(context, [reverse]);
    const header = { state: 'tag', digest, mediaType, size } as const;
    const written = await replaceRecord<TagHeader>(context, tagKey(repository, tag), old, header, { nonce });
    if (written === undefined) {
      await context.store.delete(reverse);
      continue;
    }
    // Between the two reverse entries of one manifest, or a listing of the policy that began before the one and ended after the
    // other might see neither.
    if (old.header?.digest === digest) await keepCommitted(context, repository, digest);
    await dropReverse(context, repository, tag, old);
    const left = old.header?.digest;
    if (left !== undefined && left !== digest) await leaveUntaggedHints(context, repository, [left]);
    return;
  }
}

/**
 * Makes every write of the tag that was prepared before this moment fail; readers notice nothing. False: the tag is another
 * version than `version` by now.
 */
export async function fenceTag(
  context: StoreContext,
  repository: string,
  tag: string,
  version: Tag,
): Promise<boolean> {
  const key = tagKey(repository, tag);
  if (version.header === undefined) return buryRecord(context, key, version);
  const { digest } = version.header;
  const nonce = context.random();
  const reverse = tagOfKey(repository, digest, tag, nonce);
  await putReferences(context, [reverse]);
  // Between the two reverse entries, or a listing that began before the one and ended after the other might see neither.
  await keepCommitted(context, repository, digest);
  const written = await replaceRecord<TagHeader>(context, key, version, version.header, { nonce });
  if (written === undefined) {
    await context.store.delete(reverse);
    return false;
  }
  await dropReverse(context, repository, tag, version);
  // As after every tag: a DELETE that listed before the new entry and read the tag after its new version has left it alone.
  if ((await keepCommitted(context, repository, digest)) === undefined) {
    await buryTag(context, repository, tag, written);
  }
  return true;
}

/** Errors: DENIED. */
export function checkCondition(seen: Tag, { accepts, message }: TagCondition): void {
  if (!accepts.includes(seen.header?.digest)) throw new OciError('DENIED', { message });
}

/** Errors: MANIFEST_UNKNOWN. */
export async function deleteTag(context: StoreContext, repository: string, tag: string): Promise<void> {
  for (;;) {
    const old = await readTag(context, repository, tag);
    if (old.header === undefined) throw new OciError('MANIFEST_UNKNOWN', { detail: { tag } });
    if (!(await buryTag(context, repository, tag, old))) continue;
    await leaveUntaggedHints(context, repository, [old.header.digest]);
    return;
  }
}

/** Ends exactly this version of the tag. False: it is another version by now. */
export async function buryTag(
  context: StoreContext,
  repository: string,
  tag: string,
  version: Tag,
): Promise<boolean> {
  if (!(await buryRecord(context, tagKey(repository, tag), version))) return false;
  await dropReverse(context, repository, tag, version);
  return true;
}

/** Whoever ends a version of a tag removes that version's reverse entry. */
async function dropReverse(
  context: StoreContext,
  repository: string,
  tag: string,
  version: Tag,
): Promise<void> {
  const { header } = version;
  if (header === undefined) return;
  await context.store.delete(tagOfKey(repository, header.digest, tag, header.nonce));
}
