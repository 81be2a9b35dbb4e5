import type { Descriptor, Platform } from '../descriptor.ts';
import type { Digest } from '../digest.ts';
import { digestAlgorithm } from '../digest.ts';
import { isOciError } from '../errors.ts';
import { childrenOf } from '../manifest.ts';
import type { Lister, Reader, Writer } from '../registry.ts';
import { createBlobPlaces } from './blob-places.ts';
import { createCalls } from './calls.ts';
import { choosePlatform, formatPlatformName } from './choose-platform.ts';
import { CopyFault, isAbsent } from './copy-fault.ts';
import { type CopyCounts, createCounts } from './counts.ts';
import { createLimit } from './limit.ts';
import { readSourceManifest, type SourceManifest } from './read-manifest.ts';
import { addToReferrersTag, companionTags } from './referrers-tag.ts';
import { transferBlob } from './transfer-blob.ts';

export type CopySource = Reader & Pick<Lister, 'listReferrers'>;
export type CopyTarget = Reader & Writer;

export interface CopierOptions {
  readonly source: CopySource;
  readonly target: CopyTarget;
  /** Both are one registry: blobs are mounted from the source's repository. */
  readonly sameRegistry?: boolean;
  /** Signatures and whatever else names a copied manifest as its subject comes along. Default true. */
  readonly referrers?: boolean;
  /** Blobs on their way at the same time. Default 4. */
  readonly parallel?: number;
  /** Looks at everything and changes nothing; counts tell what would have been. */
  readonly dryRun?: boolean;
  /** Ends the copy with CopyAborted: no tag is set from then on, open upload sessions are cancelled. */
  readonly signal?: AbortSignal;
  readonly onProgress?: (event: CopyProgress) => void;
  /** Milliseconds before what failed is tried again, doubled each time. Default 1000. */
  readonly retryDelayMs?: number;
}

/** `planned`: so many bytes are about to be moved; `moved`: they arrived (negative when a part must be sent again). */
export interface CopyProgress {
  readonly planned?: number;
  readonly moved?: number;
}

export interface CopyRequest {
  readonly from: { readonly repository: string; readonly reference: string };
  /** Without a tag the image is there by its digest only. */
  readonly to: { readonly repository: string; readonly tag?: string };
  /** Of an index only this manifest is copied, and the tag names it. */
  readonly platform?: Platform;
  /** Looks for cosign's tags too. Leave out where all tags are copied anyway. */
  readonly companions?: boolean;
  /** A tag that the target has with another digest stays as it is. */
  readonly keepTags?: boolean;
}

export interface CopiedImage {
  readonly digest: Digest;
  readonly mediaType: string;
  readonly counts: CopyCounts;
  /** The tag was there, with another digest, and `keepTags` was asked for. */
  readonly kept?: true;
  /** Manifests that an index names and the source does not have: the index is copied without them. */
  readonly missing: readonly Digest[];
}

export interface Copier {
  /**
   * Copies one image with all that belongs to it, children before parents and the tag last, so that whatever ends it the target holds
   * no half image. Errors: CopyFault, UnsupportedContent (schema 1), CopyAborted.
   */
  copyImage(request: CopyRequest): Promise<CopiedImage>;
}

interface Run {
  readonly from: string;
  readonly to: string;
  readonly counts: CopyCounts;
  readonly missing: Set<Digest>;
  /** Of cosign's tags. Undefined = not looked for. */
  readonly companions: boolean;
  /** Manifests this image has led to. */
  seen: Set<Digest>;
}

/** More than any image leads to, and an end for one that is made to never end. */
const maxManifests = 20_000;
const maxDepth = 16;

/** Remembers across images what the target has: one copier for one run. */
export function createCopier(options: CopierOptions): Copier {
  const { source, target, signal } = options;
  const calls = createCalls({
    ...(signal === undefined ? {} : { signal }),
    ...(options.retryDelayMs === undefined ? {} : { firstDelayMs: options.retryDelayMs }),
  });
  const limit = createLimit(options.parallel ?? 4);
  const referrerLimit = createLimit(1);
  const places = createBlobPlaces();
  const progress = options.onProgress ?? (() => {});
  const dryRun = options.dryRun === true;

  return {
    async copyImage({ from, to, platform, companions, keepTags }) {
      const run: Run = {
        from: from.repository,
        to: to.repository,
        counts: createCounts(),
        missing: new Set(),
        companions: companions === true && options.referrers !== false,
        seen: new Set(),
      };
      const root = await chooseRoot(from.repository, from.reference, platform);
      const { digest, manifest } = root;
      const tagged = to.tag === undefined ? undefined : await resolve(to.repository, to.tag);
      const result = { digest, mediaType: manifest.mediaType, counts: run.counts };
      if (keepTags === true && tagged !== undefined && tagged !== digest) {
        return { ...result, kept: true, missing: [] };
      }
      await copyTree(run, root, { ...to, there: tagged === digest }, 0);
      return { ...result, missing: [...run.missing] };
    },
  };

  async function chooseRoot(
    repository: string,
    reference: string,
    platform: Platform | undefined,
  ): Promise<SourceManifest> {
    const root = await read(repository, reference);
    if (platform === undefined || root.manifest.kind === 'image') return root;
    const chosen = choosePlatform(root.manifest.manifests, platform);
    if (chosen === undefined) {
      const known = root.manifest.manifests.flatMap((child) =>
        child.platform === undefined ? [] : [formatPlatformName(child.platform)],
      );
      throw new CopyFault(
        'source',
        `manifest ${reference}`,
        new Error(
          `has no ${formatPlatformName(platform)}, only ${known.join(', ') || 'manifests of no platform'}`,
        ),
      );
    }
    return chooseRoot(repository, chosen.digest, platform);
  }

  /** `place.there`: the target has it, under this tag where there is one. Then only what it names is looked at. */
  async function copyTree(
    run: Run,
    node: SourceManifest,
    place: { readonly tag?: string; readonly there: boolean },
    depth: number,
  ): Promise<void> {
    const { digest, manifest, bytes } = node;
    run.seen.add(digest);
    if (depth > maxDepth || run.seen.size > maxManifests) {
      throw new CopyFault(
        'source',
        `manifest ${digest}`,
        new Error('leads to more manifests than any image does'),
      );
    }
    const held = place.there || (await resolve(run.to, digest)) !== undefined;
    for (const child of childrenOf(manifest).manifests) await copyChild(run, child, depth);
    if (held) rememberBlobs(run, node);
    else await copyBlobs(run, node);
    if (options.referrers !== false) await copyReferrers(run, digest, depth);
    if (place.there || (held && place.tag === undefined)) {
      run.counts.manifests.present += 1;
      return;
    }
    calls.checkAborted();
    if (!dryRun) await put(run, node, place.tag);
    run.counts.manifests[held ? 'present' : 'copied'] += 1;
    if (!held) run.counts.bytes.copied += bytes.length;
  }

  async function copyChild(run: Run, digest: Digest, depth: number): Promise<void> {
    if (run.seen.has(digest)) return;
    let child: SourceManifest;
    try {
      child = await read(run.from, digest);
    } catch (error) {
      // image-spec: an index may name what is not there. Only when the source says so, not when it could not look.
      if (!(error instanceof CopyFault) || !isAbsent(error)) throw error;
      run.missing.add(digest);
      return;
    }
    await copyTree(run, child, { there: false }, depth + 1);
  }

  async function copyReferrers(run: Run, subject: Digest, depth: number): Promise<void> {
    for await (const { digest } of listReferrers(run.from, subject)) {
      if (run.seen.has(digest)) continue;
      const referrer = await read(run.from, digest);
      // The list may come from a tag that anybody may write.
      if (referrer.manifest.subject?.digest !== subject) continue;
      await copyTree(run, referrer, { there: false }, depth + 1);
      run.counts.referrers += 1;
    }
    if (!run.companions) return;
    for (const tag of companionTags(subject)) {
      let companion: SourceManifest;
      try {
        companion = await read(run.from, tag);
      } catch (error) {
        if (isAbsent(error)) continue;
        throw error;
      }
      const there = (await resolve(run.to, tag)) === companion.digest;
      await copyTree(run, companion, { tag, there }, depth + 1);
      run.counts.referrers += 1;
    }
  }

  async function* listReferrers(repository: string, subject: Digest): AsyncGenerator<Descriptor> {
    let last: string | undefined;
    do {
      const page = await calls.on('source', `referrers of ${subject}`, () =>
        source.listReferrers(repository, subject, { limit: 1000, ...(last === undefined ? {} : { last }) }),
      );
      yield* page.entries;
      last = page.next === last ? undefined : page.next;
    } while (last !== undefined);
  }

  async function put(run: Run, node: SourceManifest, tag: string | undefined): Promise<void> {
    const { digest, bytes, manifest } = node;
    // A tag alone would be given a sha256 digest by the target.
    const byDigest = tag === undefined || digestAlgorithm(digest) !== 'sha256';
    const subject = tag === undefined ? `manifest ${digest}` : `manifest ${run.to}:${tag}`;
    const attempt = (): ReturnType<Writer['putManifest']> =>
      target.putManifest(
        run.to,
        byDigest ? digest : tag,
        bytes,
        manifest.mediaType,
        byDigest && tag !== undefined ? { tags: [tag] } : {},
      );
    let done: Awaited<ReturnType<typeof attempt>>;
    try {
      done = await calls.on('target', subject, attempt);
    } catch (error) {
      if (!(error instanceof CopyFault) || !isOciError(error.cause, 'MANIFEST_BLOB_UNKNOWN')) throw error;
      // What was there when we looked has been deleted since.
      for (const blob of childrenOf(manifest).blobs) places.forget(blob);
      await copyBlobs(run, node);
      done = await calls.on('target', subject, attempt);
    }
    if (done.descriptor.digest !== digest) {
      throw new CopyFault('target', subject, new Error(`the target stored it as ${done.descriptor.digest}`));
    }
    const about = manifest.subject?.digest;
    if (about === undefined || done.subject !== undefined || tag !== undefined) return;
    await referrerLimit(() =>
      calls.on('target', `referrers of ${about}`, () =>
        addToReferrersTag(target, run.to, about, { manifest, digest, size: bytes.length }),
      ),
    );
  }

  async function copyBlobs(run: Run, { manifest }: SourceManifest): Promise<void> {
    const { blobs, optionalBlobs } = childrenOf(manifest);
    const outcomes = await Promise.allSettled([
      ...blobs.map((digest) => copyBlob(run, digest)),
      ...optionalBlobs.map(async (digest) => {
        try {
          await copyBlob(run, digest);
        } catch (error) {
          // Layers that stay at their own addresses are rarely in a registry.
          if (!isAbsent(error)) throw error;
        }
      }),
    ]);
    for (const outcome of outcomes) if (outcome.status === 'rejected') throw outcome.reason;
  }

  async function copyBlob(run: Run, digest: Digest): Promise<void> {
    await places.alone(digest, () =>
      limit(async () => {
        calls.checkAborted();
        const { outcome, size } = await bring(run, digest);
        places.add(run.to, digest);
        run.counts.blobs[outcome] += 1;
        run.counts.bytes[outcome] += size;
      }),
    );
  }

  async function bring(
    run: Run,
    digest: Digest,
  ): Promise<{ outcome: 'copied' | 'mounted' | 'present'; size: number }> {
    const subject = `blob ${digest}`;
    if (places.has(run.to, digest)) return { outcome: 'present', size: 0 };
    const known = places.any(digest);
    if (known === undefined) {
      const held = await lookUp(() => calls.on('target', subject, () => target.resolveBlob(run.to, digest)));
      if (held !== undefined) return { outcome: 'present', size: held.size };
    }
    const origin = known ?? (options.sameRegistry === true && run.from !== run.to ? run.from : undefined);
    if (dryRun) {
      const { size } = await calls.on('source', subject, () => source.resolveBlob(run.from, digest));
      return { outcome: origin === undefined ? 'copied' : 'mounted', size };
    }
    if (origin !== undefined) {
      if (await calls.on('target', subject, () => target.mountBlob(run.to, digest, origin))) {
        return { outcome: 'mounted', size: 0 };
      }
      places.forget(digest);
    }
    const { size } = await calls.on('source', subject, () => source.resolveBlob(run.from, digest));
    progress({ planned: size });
    await transferBlob({
      source,
      target,
      from: run.from,
      to: run.to,
      digest,
      calls,
      ...(signal === undefined ? {} : { signal }),
      onBytes: (moved) => progress({ moved }),
    });
    return { outcome: 'copied', size };
  }

  /** The target has this manifest, so it has its blobs: others can be mounted from here. */
  function rememberBlobs(run: Run, { manifest }: SourceManifest): void {
    const children = childrenOf(manifest);
    for (const digest of children.blobs) places.add(run.to, digest);
    run.counts.blobs.present += children.blobs.length;
    const sizes = new Map(
      [...manifest.layers, ...(manifest.config === undefined ? [] : [manifest.config])].map((blob) => [
        blob.digest,
        blob.size,
      ]),
    );
    for (const digest of children.blobs) run.counts.bytes.present += sizes.get(digest) ?? 0;
  }

  async function read(repository: string, reference: string): Promise<SourceManifest> {
    const subject = `manifest ${reference}`;
    const content = await calls.on('source', subject, () => source.getManifest(repository, reference));
    return readSourceManifest(content, subject);
  }

  async function resolve(repository: string, reference: string): Promise<Digest | undefined> {
    const held = await lookUp(() =>
      calls.on('target', `manifest ${reference}`, () => target.resolveManifest(repository, reference)),
    );
    return held?.digest;
  }
}

/** Undefined = not there. Errors: everything else, as "could not look" is no answer. */
async function lookUp<T>(call: () => Promise<T>): Promise<T | undefined> {
  try {
    return await call();
  } catch (error) {
    if (isAbsent(error)) return undefined;
    throw error;
  }
}
