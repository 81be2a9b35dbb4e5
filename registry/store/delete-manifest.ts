import type { Digest } from '../../oci/digest.ts';
import { OciError } from '../../oci/errors.ts';
import { childrenOf, type Manifest, parseManifest } from '../../oci/manifest.ts';
import { leaveBlobHints, leaveUntaggedHints } from '../collect/hints.ts';
import type { StoreContext } from './context.ts';
import { inParallel } from './in-parallel.ts';
import { isReadable, type ReadableManifest, readManifestRecord } from './manifest-record.ts';
import {
  blobReferenceKey,
  manifestKey,
  manifestReferenceKey,
  referrerKey,
  splitVersion,
  tagsOfPrefix,
} from './paths.ts';
import { buryRecord } from './record.ts';
import { buryTag, readTag } from './tags.ts';

/** Design "DELETE". Errors: MANIFEST_UNKNOWN. */
export async function deleteManifest(
  context: StoreContext,
  repository: string,
  digest: Digest,
): Promise<void> {
  for (;;) {
    const record = await readManifestRecord(context, repository, digest);
    if (!isReadable(record)) throw new OciError('MANIFEST_UNKNOWN', { detail: { digest } });
    // Also before: whoever dies in between must not leave tags that are listed and lead nowhere.
    await buryTags(context, repository, digest, record);
    if (!(await buryRecord(context, manifestKey(repository, digest), record))) continue;
    await dropManifest(context, repository, digest, record);
    return;
  }
}

/** What is left to do once `record` is a tombstone. */
export async function dropManifest(
  context: StoreContext,
  repository: string,
  digest: Digest,
  record: ReadableManifest,
): Promise<void> {
  const manifest = parseManifest(record.payload, record.header.mediaType);
  await context.store.deleteMany(ownKeys(repository, digest, record, manifest));
  const { blobs, optionalBlobs, manifests } = childrenOf(manifest);
  await Promise.all([
    finishTags(context, repository, digest),
    leaveBlobHints(context, [...blobs, ...optionalBlobs]),
    leaveUntaggedHints(context, repository, manifests),
  ]);
}

/** Ends the tags of a manifest whose record is no more, as far as somebody who died has not. */
export function finishTags(context: StoreContext, repository: string, digest: Digest): Promise<void> {
  return buryTags(context, repository, digest, undefined);
}

/** References and referrer entry of exactly this record's attempt: another attempt's are another push's. */
function ownKeys(repository: string, digest: Digest, record: ReadableManifest, manifest: Manifest): string[] {
  const { attempt } = record.header;
  const { blobs, optionalBlobs, manifests } = childrenOf(manifest);
  const { subject } = manifest;
  return [
    ...[...blobs, ...optionalBlobs].map((blob) => blobReferenceKey(blob, digest, attempt, repository)),
    ...manifests.map((child) => manifestReferenceKey(repository, child, digest, attempt)),
    ...(subject === undefined ? [] : [referrerKey(repository, subject.digest, digest, attempt)]),
  ];
}

/**
 * Ends every tag that points at the manifest while its record is `going`, or is no more. Entries of other versions are left
 * alone: their tag may be on its way from a push that will find the record gone and start over.
 */
async function buryTags(
  context: StoreContext,
  repository: string,
  digest: Digest,
  going: ReadableManifest | undefined,
): Promise<void> {
  const prefix = tagsOfPrefix(repository, digest);
  let startAfter: string | undefined;
  do {
    const page = await context.store.list({ prefix, ...(startAfter === undefined ? {} : { startAfter }) });
    await inParallel(page.objects, async ({ key }) => {
      const entry = splitVersion(key.slice(prefix.length));
      if (entry === undefined) return;
      const tag = await readTag(context, repository, entry.name);
      if (tag.header?.nonce !== entry.version) return;
      const record = await readManifestRecord(context, repository, digest, { headerOnly: true });
      // Pushed again meanwhile: the tag is right.
      if (isReadable(record) && record.etag !== going?.etag) return;
      await buryTag(context, repository, entry.name, tag);
    });
    startAfter = page.next;
  } while (startAfter !== undefined);
}
