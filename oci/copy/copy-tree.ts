import { type Digest, digestAlgorithm } from '../digest.ts';
import { isOciError } from '../errors.ts';
import { childrenOf } from '../manifest.ts';
import type { PutManifestResult } from '../registry.ts';
import { type CopyContext, type ImageCopy, readFrom, resolveAt, unlessAbsent } from './context.ts';
import { copyBlobs, forgetBlobs, rememberBlobs } from './copy-blobs.ts';
import { CopyFault } from './copy-fault.ts';
import type { Limit } from './limit.ts';
import type { SourceManifest } from './read-manifest.ts';
import { addToReferrersTag, companionTags } from './referrers-tag.ts';
import type { SettledManifests } from './settled-manifests.ts';

/** An image with all that belongs to it. */
export interface TreeCopy extends ImageCopy {
  readonly referrers: boolean;
  /** Looks for cosign's tags as well. */
  readonly companions: boolean;
  /** Named by an index or a list of referrers, and not there. */
  readonly missing: Set<Digest>;
  /** What this image has led to so far. */
  readonly seen: Set<Digest>;
  /** Complete on the target, by this run. */
  readonly settled: SettledManifests;
  /** Lists of referrers are read, changed and written. */
  readonly referrerLimit: Limit;
}

export interface TreePlace {
  /** Undefined = by its digest only. */
  readonly tag?: string;
  /** The target has it, and under the tag where there is one. */
  readonly there: boolean;
}

/** More than any image leads to, and an end for one that is made to never end. */
const maxManifests = 20_000;
const maxDepth = 16;

/** Blobs, children, referrers, and then the manifest itself. Errors: CopyFault, UnsupportedContent, CopyAborted. */
export async function copyTree(
  context: CopyContext,
  tree: TreeCopy,
  node: SourceManifest,
  place: TreePlace,
  depth = 0,
): Promise<void> {
  const { digest, manifest, bytes } = node;
  const { counts, to, settled } = tree;
  tree.seen.add(digest);
  if (depth > maxDepth || tree.seen.size > maxManifests) {
    throw new CopyFault('source', `manifest ${digest}`, new Error('leads to more manifests than any image'));
  }
  const complete = settled.has(to, digest);
  const held = place.there || complete || (await resolveAt(context, to, digest)) !== undefined;
  if (!complete) {
    for (const child of childrenOf(manifest).manifests) await copyNamed(context, tree, child, depth);
    if (held && !context.checkBlobs) rememberBlobs(context, tree, manifest);
    else await copyBlobs(context, tree, manifest);
    if (tree.referrers) await copyReferrers(context, tree, digest, depth);
  }
  context.calls.checkAborted();
  const write = !place.there && (!held || place.tag !== undefined);
  if (write && !context.dryRun) await put(context, tree, node, place.tag);
  settled.add(to, digest);
  counts.manifests[held ? 'present' : 'copied'] += 1;
  counts.bytes[held ? 'present' : 'copied'] += bytes.length;
}

/** False: the source has no such manifest, or it is already part of this image. */
async function copyNamed(
  context: CopyContext,
  tree: TreeCopy,
  digest: Digest,
  depth: number,
  subject?: Digest,
): Promise<boolean> {
  if (tree.seen.has(digest)) return false;
  // image-spec: an index may name what is not there, and a list of referrers may be old.
  const node = await unlessAbsent(() => readFrom(context, tree.from, digest));
  if (node === undefined) {
    tree.missing.add(digest);
    return false;
  }
  // The list may come from a tag that anybody may write.
  if (subject !== undefined && node.manifest.subject?.digest !== subject) return false;
  await copyTree(context, tree, node, { there: false }, depth + 1);
  return true;
}

async function copyReferrers(
  context: CopyContext,
  tree: TreeCopy,
  subject: Digest,
  depth: number,
): Promise<void> {
  for await (const digest of listReferrers(context, tree.from, subject)) {
    if (await copyNamed(context, tree, digest, depth, subject)) tree.counts.referrers += 1;
  }
  if (!tree.companions) return;
  for (const tag of companionTags(subject)) {
    const node = await unlessAbsent(() => readFrom(context, tree.from, tag));
    if (node === undefined) continue;
    const there = (await resolveAt(context, tree.to, tag)) === node.digest;
    await copyTree(context, tree, node, { tag, there }, depth + 1);
    tree.counts.referrers += 1;
  }
}

async function* listReferrers(
  { source, calls }: CopyContext,
  repository: string,
  subject: Digest,
): AsyncGenerator<Digest> {
  let last: string | undefined;
  do {
    const page = await calls.on('source', `referrers of ${subject}`, () =>
      source.listReferrers(repository, subject, { limit: 1000, ...(last === undefined ? {} : { last }) }),
    );
    for (const { digest } of page.entries) yield digest;
    last = page.next === last ? undefined : page.next;
  } while (last !== undefined);
}

async function put(
  context: CopyContext,
  tree: TreeCopy,
  node: SourceManifest,
  tag: string | undefined,
): Promise<void> {
  const { target, calls } = context;
  const { digest, bytes, manifest } = node;
  const subject = tag === undefined ? `manifest ${digest}` : `manifest ${tree.to}:${tag}`;
  // Pushed by a tag alone, it would be given a sha256 digest.
  const byDigest = tag === undefined || digestAlgorithm(digest) !== 'sha256';
  const reference = byDigest ? digest : tag;
  const options = byDigest && tag !== undefined ? { tags: [tag] } : {};
  const attempt = (): Promise<PutManifestResult> =>
    calls.on('target', subject, () =>
      target.putManifest(tree.to, reference, bytes, manifest.mediaType, options),
    );
  let stored: PutManifestResult;
  try {
    stored = await attempt();
  } catch (error) {
    if (!(error instanceof CopyFault) || !isOciError(error.cause, 'MANIFEST_BLOB_UNKNOWN')) throw error;
    // What was there when we looked has been deleted since.
    forgetBlobs(context, manifest);
    await copyBlobs(context, tree, manifest);
    stored = await attempt();
  }
  if (stored.descriptor.digest !== digest) {
    throw new CopyFault('target', subject, new Error(`it was stored as ${stored.descriptor.digest}`));
  }
  const about = manifest.subject?.digest;
  if (about === undefined || stored.subject !== undefined) return;
  const referrer = { manifest, digest, size: bytes.length };
  await tree.referrerLimit(() =>
    calls.on('target', `referrers of ${about}`, () => addToReferrersTag(target, tree.to, about, referrer)),
  );
}
