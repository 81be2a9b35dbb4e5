import type { Descriptor } from '../../oci/descriptor.ts';
import { type Digest, digestAlgorithm, digestOf, isDigest } from '../../oci/digest.ts';
import { OciError } from '../../oci/errors.ts';
import { childrenOf, type Manifest, parseManifest, referrerDescriptor } from '../../oci/manifest.ts';
import type { PutManifestOptions, PutManifestResult } from '../../oci/registry.ts';
import { leaveBlobHints } from '../collect/hints.ts';
import { addRepository, hasManifests, removeRepository } from './catalog.ts';
import type { StoreContext } from './context.ts';
import { finishTags } from './delete-manifest.ts';
import { inParallel } from './in-parallel.ts';
import { type Link, opens, readLink } from './link.ts';
import {
  keepCommitted,
  type ManifestHeader,
  type ManifestRecord,
  type ReadableManifest,
  readManifestRecord,
} from './manifest-record.ts';
import { blobReferenceKey, manifestKey, manifestReferenceKey, referrerKey } from './paths.ts';
import { isUsable, keepAlive, readPointer } from './pointer.ts';
import { buryRecord, replaceRecord } from './record.ts';
import { putReferences } from './references.ts';
import { checkCondition, readTag, type TagCondition, writeTag } from './tags.ts';

/** A claim this young belongs to a push that is still running; an older one is taken over. Liveness only. */
const claimMilliseconds = 10_000;

/** Pushing one manifest twenty times at once ends well within this. */
const pushMilliseconds = 60_000;

interface Push {
  readonly repository: string;
  readonly bytes: Buffer;
  readonly manifest: Manifest;
  readonly descriptor: Descriptor;
  readonly tags: readonly string[];
  /** What must hold of tags for them to be set; the others are set whatever they point at. */
  readonly conditions: ReadonlyMap<string, TagCondition>;
  readonly deadline: number;
}

/** The blob children that get a reference, each with its link where that was live in step 1. */
type Links = ReadonlyMap<Digest, Link | undefined>;

/**
 * The steps of design "PUT manifest M in repository R", numbered as there.
 * With `allowMissingBlobs`, what is not there is referenced all the same: once pushed, a collector sees that it is needed.
 * Errors: MANIFEST_INVALID, MANIFEST_BLOB_UNKNOWN, DIGEST_INVALID, SIZE_TOO_LARGE, DENIED (an immutable tag, a tag that does not point where
 * `replaces` says).
 */
export async function putManifest(
  context: StoreContext,
  repository: string,
  reference: string,
  bytes: Buffer,
  mediaType: string,
  options: PutManifestOptions = {},
): Promise<PutManifestResult> {
  const manifest = parseManifest(bytes, mediaType);
  const digest = digestOf(bytes, isDigest(reference) ? digestAlgorithm(reference) : 'sha256');
  if (isDigest(reference) && reference !== digest) {
    throw new OciError('DIGEST_INVALID', { detail: { given: reference, actual: digest } });
  }
  const descriptor = { mediaType: manifest.mediaType, digest, size: bytes.length };
  const tags = [...new Set([...(isDigest(reference) ? [] : [reference]), ...(options.tags ?? [])])];
  const push: Push = {
    repository,
    bytes,
    manifest,
    descriptor,
    tags,
    conditions: conditionsOf(options, digest),
    deadline: context.clock() + pushMilliseconds,
  };
  // Decided when the tag is written; looked at beforehand so that a refused push leaves nothing.
  for (const [tag, condition] of push.conditions) {
    checkCondition(await readTag(context, repository, tag), condition);
  }
  for (let round = 1; ; round++) {
    let committed: ReadableManifest;
    try {
      committed = await commitManifest(context, push);
    } catch (error) {
      if (round > 1) await undoStep7(context, push);
      throw error;
    }
    // 7
    await Promise.all([
      writeReferrer(context, push, committed.header.attempt),
      addRepository(context, repository),
      inParallel(tags, (tag) => writeTag(context, repository, tag, descriptor, push.conditions.get(tag))),
    ]);
    // 8: a DELETE in between may have missed the tag that was written after it looked; and whoever committed the record again
    // since may have died before the referrer entry of that attempt.
    const kept = await keepCommitted(context, repository, digest);
    if (kept?.header.attempt === committed.header.attempt) break;
    checkDeadline(context, push);
  }
  const subject = manifest.subject?.digest;
  return { descriptor, ...(subject === undefined ? {} : { subject }), tags };
}

function conditionsOf(options: PutManifestOptions, digest: Digest): Map<string, TagCondition> {
  const { immutableTags = [], replaces = {} } = options;
  const conditions = new Map<string, TagCondition>();
  for (const [tag, expected] of Object.entries(replaces)) {
    conditions.set(tag, { accepts: [expected, digest], message: `the tag ${tag} was moved meanwhile` });
  }
  // An immutable tag is never moved, whatever it is to replace.
  for (const tag of immutableTags) {
    const message = `the tag ${tag} is immutable and points at another manifest`;
    conditions.set(tag, { accepts: [undefined, digest], message });
  }
  return conditions;
}

/** The manifest was deleted while it was pushed, with what it needs: no tag may stay that leads nowhere, and no empty repository. */
async function undoStep7(context: StoreContext, { repository, descriptor }: Push): Promise<void> {
  try {
    await finishTags(context, repository, descriptor.digest);
    if (!(await hasManifests(context, repository))) await removeRepository(context, repository);
  } catch (error) {
    context.log.warn({ err: error, repository }, 'a push that failed could not be cleaned up after');
  }
}

/** Steps 1 to 6: returns once the record is committed, by this push or another one of the same bytes. */
async function commitManifest(context: StoreContext, push: Push): Promise<ReadableManifest> {
  const { repository, descriptor } = push;
  const { digest } = descriptor;
  for (;;) {
    // 1 and 2
    const [links, seen] = await Promise.all([
      readLinks(context, push),
      readManifestRecord(context, repository, digest, { headerOnly: true }),
    ]);
    const known = await keepCommitted(context, repository, digest, seen);
    if (known !== undefined) return known;
    const record = await waitForClaim(context, push, seen);
    if (record === undefined) continue;
    // 3
    const { mediaType, size } = descriptor;
    const attempt = context.random();
    const header = { state: 'pending', attempt, mediaType, size } as const;
    const claim = await replaceRecord<ManifestHeader>(
      context,
      manifestKey(repository, digest),
      record,
      header,
      // Its loss with the machine's power leaves references of an attempt that no record knows: garbage.
      { durability: 'process' },
    );
    if (claim === undefined) continue;
    // 4
    const references = referenceKeys(push, links, attempt);
    await putReferences(context, references);
    await inParallel(childrenOf(push.manifest).manifests, (child) =>
      keepCommitted(context, repository, child),
    );
    // 5
    const fault = await findFault(context, push, links);
    if (fault !== undefined) {
      // After an unknown outcome this throws, and the references stay for the scrub.
      await buryRecord(context, manifestKey(repository, digest), claim);
      await context.store.deleteMany(references);
      await leaveBlobHints(context, [...links.keys()]);
      throw fault;
    }
    // 6
    const committed = await replaceRecord<ManifestHeader>(
      context,
      manifestKey(repository, digest),
      claim,
      { ...header, state: 'committed' },
      { payload: push.bytes },
    );
    if (committed !== undefined) return committed as ReadableManifest;
    await context.store.deleteMany(references);
    checkDeadline(context, push);
  }
}

/** Step 1. Errors: MANIFEST_BLOB_UNKNOWN. */
async function readLinks(context: StoreContext, push: Push): Promise<Links> {
  const { blobs, optionalBlobs } = childrenOf(push.manifest);
  const digests = [...blobs, ...optionalBlobs];
  const links = await inParallel(digests, (digest) => readLink(context, push.repository, digest));
  const live = new Map<Digest, Link | undefined>();
  for (const [index, digest] of digests.entries()) {
    const link = links[index];
    if (link?.header !== undefined) live.set(digest, link);
    else if (index >= blobs.length) continue;
    else if (context.allowMissingBlobs) live.set(digest, undefined);
    else throw unknownBlob(digest);
  }
  // A foreign layer that is here is kept alive like any other; one whose blob is gone must not stop the push.
  for (const digest of optionalBlobs) {
    const link = live.get(digest);
    if (link === undefined) continue;
    const pointer = await readPointer(context, digest, { headerOnly: true });
    if (!isUsable(pointer) || !opens(link, pointer)) live.delete(digest);
  }
  return live;
}

/** Step 2: the record to claim; undefined: look again from the start. */
async function waitForClaim(
  context: StoreContext,
  push: Push,
  seen: ManifestRecord,
): Promise<ManifestRecord | undefined> {
  if (seen.header === undefined) return seen;
  const age = Math.max(0, context.clock() - (seen.modified?.getTime() ?? 0));
  if (age >= claimMilliseconds) return seen;
  checkDeadline(context, push);
  await context.wait(5 + (Number.parseInt(context.random().slice(0, 4), 16) % 20));
  return undefined;
}

/** Step 4. */
function referenceKeys(push: Push, links: Links, attempt: string): string[] {
  const { repository, descriptor } = push;
  return [
    ...[...links.keys()].map((blob) => blobReferenceKey(blob, descriptor.digest, attempt, repository)),
    ...childrenOf(push.manifest).manifests.map((child) =>
      manifestReferenceKey(repository, child, descriptor.digest, attempt),
    ),
  ];
}

/**
 * Step 5: the claim and the references are written, so from now on a collector sees them; what it did before has to be seen here.
 * The links are read once more: whoever deletes the repository ends them before it looks for claims.
 */
async function findFault(context: StoreContext, push: Push, links: Links): Promise<OciError | undefined> {
  const { config, layers, manifests } = push.manifest;
  const descriptors = [...(config === undefined ? [] : [config]), ...layers, ...manifests];
  const faults = await inParallel([...links], async ([digest, link]) => {
    const [pointer, linkNow] = await Promise.all([
      link === undefined ? undefined : keepAlive(context, digest),
      link === undefined ? undefined : readLink(context, push.repository, digest),
    ]);
    if (linkNow === undefined || pointer === undefined || !opens(linkNow, pointer)) {
      return context.allowMissingBlobs ? undefined : unknownBlob(digest);
    }
    // A client that trusts the descriptor would read too little, or refuse the whole image.
    const { size } = pointer.header;
    const wrong = descriptors.find((descriptor) => descriptor.digest === digest && descriptor.size !== size);
    return wrong === undefined ? undefined : wrongSize(wrong, size);
  });
  return faults.find((fault) => fault !== undefined);
}

/** Written even when an earlier push committed the record: that push may have died before it came here. */
async function writeReferrer(context: StoreContext, push: Push, attempt: string): Promise<void> {
  const { repository, manifest, descriptor } = push;
  if (manifest.subject === undefined) return;
  const { digest, size } = descriptor;
  const key = referrerKey(repository, manifest.subject.digest, digest, attempt);
  await context.store.put(key, Buffer.from(JSON.stringify(referrerDescriptor(manifest, digest, size))));
}

function checkDeadline(context: StoreContext, push: Push): void {
  if (context.clock() < push.deadline) return;
  throw new OciError('UNAVAILABLE', { message: 'other requests keep changing this manifest; try again' });
}

function unknownBlob(digest: Digest): OciError {
  return new OciError('MANIFEST_BLOB_UNKNOWN', { detail: { digest } });
}

function wrongSize({ digest, size }: Descriptor, actual: number): OciError {
  return new OciError('MANIFEST_INVALID', {
    message: `manifest invalid: ${digest} has ${actual} bytes, not ${size}`,
    detail: { digest, size, actual },
  });
}
