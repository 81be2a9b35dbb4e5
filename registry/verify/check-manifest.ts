import { isDeepStrictEqual } from 'node:util';
import { type Digest, digestAlgorithm, digestOf } from '../../oci/digest.ts';
import { isOciError } from '../../oci/errors.ts';
import { childrenOf, type Manifest, parseManifest, referrerDescriptor } from '../../oci/manifest.ts';
import type { StoreContext } from '../store/context.ts';
import { inParallel } from '../store/in-parallel.ts';
import type { LinkHeader } from '../store/link.ts';
import { isReadable, type ManifestHeader, type ReadableManifest } from '../store/manifest-record.ts';
import { blobReferenceKey, linkKey, manifestKey, manifestReferenceKey, referrerKey } from '../store/paths.ts';
import { type Finding, finding } from './finding.ts';
import { type Lookups, lookUpManifest, lookUpPointer, readChecked } from './lookups.ts';

/** A push that takes longer between its claim and its commit has died. */
const pendingMilliseconds = 5 * 60_000;

/** A manifest, everything that it needs, and what protects that. */
export async function checkManifest(
  context: StoreContext,
  repository: string,
  digest: Digest,
  look: Lookups,
): Promise<Finding[]> {
  const key = manifestKey(repository, digest);
  const record = await readChecked<ManifestHeader>(context, key);
  if (!isReadable(record)) {
    const age = context.clock() - (record.modified?.getTime() ?? 0);
    return record.header !== undefined && age > pendingMilliseconds
      ? [finding('abandoned-push', key, '', record.header.attempt)]
      : [];
  }
  const { attempt, mediaType } = record.header;
  const actual = digestOf(record.payload, digestAlgorithm(digest));
  if (actual !== digest) return [finding('wrong-manifest', key, `its bytes are ${actual}`, attempt)];
  let manifest: Manifest;
  try {
    manifest = parseManifest(record.payload, mediaType);
  } catch (error) {
    if (!isOciError(error)) throw error;
    return [finding('wrong-manifest', key, error.message, attempt)];
  }
  const { blobs, manifests } = childrenOf(manifest);
  const found = await Promise.all([
    inParallel(blobs, (blob) => checkBlobChild(context, repository, digest, record, blob, look)),
    inParallel(manifests, (child) => checkManifestChild(context, repository, digest, record, child, look)),
    checkReferrer(context, repository, digest, record, manifest),
  ]);
  return found.flat(2);
}

async function checkBlobChild(
  context: StoreContext,
  repository: string,
  digest: Digest,
  { header: { attempt } }: ReadableManifest,
  blob: Digest,
  look: Lookups,
): Promise<Finding[]> {
  const key = manifestKey(repository, digest);
  const [link, pointer, reference] = await Promise.all([
    look.record<LinkHeader>(linkKey(repository, blob)),
    lookUpPointer(look, blob),
    context.store.head(blobReferenceKey(blob, digest, attempt, repository)),
  ]);
  const found: Finding[] = [];
  const fault = (kind: 'missing-child' | 'missing-reference', detail: string): void => {
    found.push(finding(context.allowMissingBlobs ? 'missing-blob' : kind, key, detail, attempt));
  };
  if (reference === undefined) fault('missing-reference', `nothing protects ${blob}`);
  if (link.header === undefined && link.etag !== undefined) {
    found.push(finding('deleted-child', key, blob, attempt));
  } else if (link.header === undefined) fault('missing-child', `${blob} is not linked in the repository`);
  else if (pointer.header === undefined) fault('missing-child', `${blob} is not in the registry`);
  else if (pointer.header.state === 'deleting') fault('missing-child', `${blob} is being deleted`);
  else if (pointer.header.gen !== link.header.gen)
    fault('missing-child', `${blob} is linked as it was before it was deleted`);
  return found;
}

async function checkManifestChild(
  context: StoreContext,
  repository: string,
  digest: Digest,
  { header: { attempt } }: ReadableManifest,
  child: Digest,
  look: Lookups,
): Promise<Finding[]> {
  const key = manifestKey(repository, digest);
  const [record, reference] = await Promise.all([
    lookUpManifest(look, repository, child),
    context.store.head(manifestReferenceKey(repository, child, digest, attempt)),
  ]);
  const found: Finding[] = [];
  if (reference === undefined)
    found.push(finding('missing-reference', key, `nothing protects ${child}`, attempt));
  if (record.header === undefined || record.header.state === 'pending')
    found.push(finding('missing-index-child', key, child, attempt));
  return found;
}

async function checkReferrer(
  context: StoreContext,
  repository: string,
  digest: Digest,
  record: ReadableManifest,
  manifest: Manifest,
): Promise<Finding[]> {
  if (manifest.subject === undefined) return [];
  const { attempt } = record.header;
  const key = referrerKey(repository, manifest.subject.digest, digest, attempt);
  const stored = await context.store.get(key);
  if (stored === undefined) {
    const detail = `referrer of ${manifest.subject.digest}`;
    return [finding('missing-referrer', manifestKey(repository, digest), detail, attempt)];
  }
  const expected = referrerDescriptor(manifest, digest, record.payload.length);
  const same = isDeepStrictEqual(parseJson(stored.body), JSON.parse(JSON.stringify(expected)));
  return same ? [] : [finding('wrong-referrer', key, '', attempt)];
}

function parseJson(body: Buffer): unknown {
  try {
    return JSON.parse(body.toString()) as unknown;
  } catch {
    return undefined;
  }
}
