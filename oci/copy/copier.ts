import type { Platform } from '../descriptor.ts';
import type { Digest } from '../digest.ts';
import { createBlobPlaces } from './blob-places.ts';
import { type Calls, createCalls } from './calls.ts';
import { choosePlatform, formatPlatformName } from './choose-platform.ts';
import {
  type CopyContext,
  type CopyProgress,
  type CopySource,
  type CopyTarget,
  readFrom,
  resolveAt,
} from './context.ts';
import { CopyFault } from './copy-fault.ts';
import { copyTree } from './copy-tree.ts';
import { type CopyCounts, createCounts } from './counts.ts';
import { createLimit } from './limit.ts';
import type { SourceManifest } from './read-manifest.ts';
import { createSettledManifests } from './settled-manifests.ts';

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
  /** Looks for each blob of images that the target has, too: heals one that has lost some. Default false: a manifest speaks for its blobs. */
  readonly checkBlobs?: boolean;
  /** Ends the copy with CopyAborted: no tag is set from then on, open upload sessions are cancelled. */
  readonly signal?: AbortSignal;
  readonly onProgress?: (event: CopyProgress) => void;
  /** Milliseconds before what failed is tried again, doubled each time. Default 1000. */
  readonly retryDelayMs?: number;
}

export interface CopyRequest {
  readonly from: { readonly repository: string; readonly reference: string };
  /** Without a tag the image is there by its digest only. */
  readonly to: { readonly repository: string; readonly tag?: string };
  /** Of an index only this manifest is copied, and the tag names it. */
  readonly platform?: Platform;
  /** Looks for cosign's tags too. Leave it out where all tags are copied anyway. */
  readonly companions?: boolean;
  /** A tag that the target has with another digest stays as it is. */
  readonly keepTags?: boolean;
}

export interface CopiedImage {
  readonly digest: Digest;
  readonly mediaType: string;
  readonly counts: CopyCounts;
  /** The tag was there with another digest, and `keepTags` was asked for: nothing was done. */
  readonly kept: boolean;
  /** Manifests that an index names and the source does not have: the index is copied without them. */
  readonly missing: readonly Digest[];
}

export interface Copier {
  /**
   * Copies one image with all that belongs to it, children before parents and the tag last: whatever ends it, the target holds no half
   * image. Errors: CopyFault, UnsupportedContent (schema 1), CopyAborted.
   */
  copyImage(request: CopyRequest): Promise<CopiedImage>;
  /** Any other question to one of the two, with the same patience. Errors: CopyFault, CopyAborted. */
  readonly ask: Calls['on'];
}

/** One for a run of any number of images: it remembers what the target has. */
export function createCopier(options: CopierOptions): Copier {
  const { source, target, signal, referrers = true } = options;
  const context: CopyContext = {
    source,
    target,
    calls: createCalls({ signal, firstDelayMs: options.retryDelayMs }),
    places: createBlobPlaces(),
    blobLimit: createLimit(options.parallel ?? 4),
    sameRegistry: options.sameRegistry === true,
    dryRun: options.dryRun === true,
    checkBlobs: options.checkBlobs === true,
    signal,
    progress: options.onProgress ?? (() => {}),
  };
  const settled = createSettledManifests();
  const referrerLimit = createLimit(1);

  return {
    ask: context.calls.on,
    async copyImage({ from, to, platform, companions = false, keepTags = false }) {
      const root = await chooseRoot(context, from.repository, from.reference, platform);
      const { digest, manifest } = root;
      const tagged = to.tag === undefined ? undefined : await resolveAt(context, to.repository, to.tag);
      const counts = createCounts();
      const missing = new Set<Digest>();
      const kept = keepTags && tagged !== undefined && tagged !== digest;
      if (!kept) {
        const tree = {
          from: from.repository,
          to: to.repository,
          counts,
          missing,
          seen: new Set<Digest>(),
          settled,
          referrers,
          companions,
          referrerLimit,
        };
        const there = to.tag !== undefined && tagged === digest;
        await copyTree(context, tree, root, { ...(to.tag === undefined ? {} : { tag: to.tag }), there });
      }
      return { digest, mediaType: manifest.mediaType, counts, kept, missing: [...missing] };
    },
  };
}

async function chooseRoot(
  context: CopyContext,
  repository: string,
  reference: string,
  platform: Platform | undefined,
): Promise<SourceManifest> {
  const root = await readFrom(context, repository, reference);
  if (platform === undefined || root.manifest.kind === 'image') return root;
  const chosen = choosePlatform(root.manifest.manifests, platform);
  if (chosen !== undefined) return chooseRoot(context, repository, chosen.digest, platform);
  const known = root.manifest.manifests.flatMap((child) =>
    child.platform === undefined ? [] : [formatPlatformName(child.platform)],
  );
  const has = known.length === 0 ? 'its manifests are of no platform' : `it has ${known.join(', ')}`;
  const fault = new Error(`no ${formatPlatformName(platform)}: ${has}`);
  throw new CopyFault('source', `manifest ${reference}`, fault);
}
