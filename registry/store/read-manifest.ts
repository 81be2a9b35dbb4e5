import type { LRUCache } from 'lru-cache';
import type { Descriptor } from '../../oci/descriptor.ts';
import { type Digest, digestAlgorithm, digestOf, isDigest } from '../../oci/digest.ts';
import { OciError } from '../../oci/errors.ts';
import type { ManifestContent } from '../../oci/registry.ts';
import { isKnownRepository } from './catalog.ts';
import type { StoreContext } from './context.ts';
import { isReadable, keepCommitted, type ManifestRecord, readManifestRecord } from './manifest-record.ts';
import { readTag } from './tags.ts';

/** Exact bytes by digest, in every repository alike: whether this repository has them is read each time. */
export type ManifestCache = LRUCache<Digest, Buffer>;

/** Errors: MANIFEST_UNKNOWN, NAME_UNKNOWN. */
export async function getManifest(
  context: StoreContext,
  cache: ManifestCache,
  repository: string,
  reference: string,
): Promise<ManifestContent> {
  const digest = await digestOfReference(context, repository, reference);
  const cached = digest === undefined ? undefined : cache.get(digest);
  const record =
    digest === undefined
      ? undefined
      : await readManifestRecord(context, repository, digest, { headerOnly: cached !== undefined });
  if (digest === undefined || record === undefined || !isReadable(record)) {
    throw await unknownManifest(context, repository, reference);
  }
  const bytes = cached ?? checkBytes(digest, record.payload);
  if (cached === undefined) cache.set(digest, bytes);
  return { descriptor: descriptorOf(digest, record), bytes };
}

/** Renews the life of a manifest that was condemned. Errors: MANIFEST_UNKNOWN, NAME_UNKNOWN. */
export async function resolveManifest(
  context: StoreContext,
  repository: string,
  reference: string,
): Promise<Descriptor> {
  const digest = await digestOfReference(context, repository, reference);
  const record =
    digest === undefined
      ? undefined
      : await readManifestRecord(context, repository, digest, { headerOnly: true });
  if (digest === undefined || record === undefined || !isReadable(record)) {
    throw await unknownManifest(context, repository, reference);
  }
  // Clients that are told "it is here" put it into an index without pushing it.
  if (record.header.state === 'condemned') {
    const kept = await keepCommitted(context, repository, digest, record);
    if (kept === undefined) throw await unknownManifest(context, repository, reference);
  }
  return descriptorOf(digest, record);
}

async function digestOfReference(
  context: StoreContext,
  repository: string,
  reference: string,
): Promise<Digest | undefined> {
  if (isDigest(reference)) return reference;
  return (await readTag(context, repository, reference)).header?.digest;
}

function descriptorOf(digest: Digest, record: ManifestRecord): Descriptor {
  return { mediaType: record.header?.mediaType ?? '', digest, size: record.header?.size ?? 0 };
}

/** A store that lost or changed bytes must not pass them on under this digest. */
function checkBytes(digest: Digest, payload: Buffer): Buffer {
  if (digestOf(payload, digestAlgorithm(digest)) !== digest) {
    throw new Error(`the stored bytes of the manifest ${digest} are damaged`);
  }
  return payload;
}

async function unknownManifest(
  context: StoreContext,
  repository: string,
  reference: string,
): Promise<OciError> {
  const code = (await isKnownRepository(context, repository)) ? 'MANIFEST_UNKNOWN' : 'NAME_UNKNOWN';
  return new OciError(code, { detail: { name: repository, reference } });
}
