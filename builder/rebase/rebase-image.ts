import { LRUCache } from 'lru-cache';
import { type Digest, digestOf, isDigest } from '../../oci/digest.ts';
import { isOciError } from '../../oci/errors.ts';
import { parseManifest } from '../../oci/manifest.ts';
import { mediaTypes } from '../../oci/media-types.ts';
import type { Registry } from '../../oci/registry.ts';
import { mountLayers } from '../engines/assembler/mount-layers.ts';
import { baseDigestAnnotation, baseNameAnnotation } from '../image-annotations.ts';
import { checkRebase, type RebaseInput } from './check-rebase.ts';
import { type ImageDocuments, type ImageSet, platformOf } from './image-documents.ts';
import { readImageSet } from './read-image.ts';
import { rebaseDocuments } from './rebase-documents.ts';
import { RebaseRefused, type Refusal, type RefusalCode } from './refusal.ts';

export interface RebaseRequest {
  /** Of the app. */
  readonly repository: string;
  /** The app's manifest or index. */
  readonly digest: Digest;
  readonly base: {
    readonly repository: string;
    /** Manifest or index that the app is to stand on. */
    readonly digest: Digest;
  };
  /** Names the result for ever; where it names something else already, it stays there. Default: the result has no tag. */
  readonly fixedTag?: string;
}

export interface RebasedImage {
  /** Equal to the digest that was asked for when there was nothing to do. */
  readonly digest: Digest;
  readonly mediaType: string;
  readonly changed: boolean;
  /** Bytes of base layers that were made readable in the app's repository without being moved. */
  readonly mountedBytes: number;
  /** Bytes that had to be copied because the registry could not mount. */
  readonly copiedBytes: number;
}

export interface Rebaser {
  /**
   * Says, without writing anything, why the image cannot be rebased; undefined = it can. Of an image that stands on that base already: why it
   * could not be rebased to another one that promises the same. Errors: those of the registry.
   */
  check(request: RebaseRequest): Promise<Refusal | undefined>;
  /**
   * Puts the app's layers on the new base and stores the result without moving any tag; repeating it gives the same digest.
   * Errors: RebaseRefused (nothing was written), BaseImageGone, those of the registry.
   */
  rebase(request: RebaseRequest): Promise<RebasedImage>;
}

/** Moves images from one base to another by their documents alone: no layer is read or written. */
export function createRebaser(registry: Registry): Rebaser {
  // A wave asks for the same few bases a thousand times; what a digest names never changes.
  const bases = new LRUCache<string, ImageSet>({ max: 64 });

  async function readBase(repository: string, digest: string, what: string): Promise<ImageSet> {
    const key = `${repository}@${digest}`;
    const known = bases.get(key);
    if (known !== undefined) return known;
    const set = await readImageSet(registry, repository, digest);
    if (set === undefined) throw refused('base', `${what} ${key} is not there any more`);
    bases.set(key, set);
    return set;
  }

  /** The app and, for each of its images, what a rebase of it takes. Undefined: it stands on that base already, and that is to end it. */
  async function load(
    request: RebaseRequest,
    options: { readonly current: 'end' | 'check' },
  ): Promise<{ app: ImageSet; inputs: readonly RebaseInput[] } | undefined> {
    const { repository, digest, base } = request;
    const app = await readImageSet(registry, repository, digest);
    if (app === undefined) throw refused('base', `${repository}@${digest} is not there any more`);
    const { digest: oldDigest } = baseOf(app);
    if (oldDigest === undefined) throw refused('base', 'the image does not say what it stands on');
    if (oldDigest === base.digest && options.current === 'end') return undefined;
    const oldBase = await readBase(base.repository, oldDigest, 'its base');
    const newBase = await readBase(base.repository, base.digest, 'the new base');
    const inputs = app.images.map((image) => ({
      app: image,
      oldBase: forPlatform(oldBase, image, 'its base'),
      newBase: forPlatform(newBase, image, 'the new base'),
    }));
    // All platforms or none: an index must not hold two generations.
    for (const input of inputs) {
      const refusal = checkRebase(input);
      if (refusal !== undefined) throw new RebaseRefused(refusal);
    }
    return { app, inputs };
  }

  return {
    async check(request) {
      try {
        await load(request, { current: 'check' });
        return undefined;
      } catch (error) {
        if (error instanceof RebaseRefused) return { code: error.code, reason: error.message };
        throw error;
      }
    },

    async rebase(request) {
      const { repository, digest, base } = request;
      const loaded = await load(request, { current: 'end' });
      const { descriptor, bytes } = await registry.getManifest(repository, digest);
      const { mediaType } = descriptor;
      if (loaded === undefined) return { digest, mediaType, changed: false, mountedBytes: 0, copiedBytes: 0 };
      let mountedBytes = 0;
      let copiedBytes = 0;
      const children = new Map<Digest, { digest: Digest; size: number }>();
      for (const input of loaded.inputs) {
        // What lies under the app already need not be mounted again: its manifest keeps it.
        const present = new Set(input.app.manifest.layers.map((layer) => layer.digest));
        const missing = input.newBase.manifest.layers.filter((layer) => !present.has(layer.digest));
        const name = `${base.repository}@${base.digest}`;
        const mounted = await mountLayers(registry, repository, missing, { ...base, name });
        mountedBytes += mounted.mountedBytes;
        copiedBytes += mounted.copiedBytes;
        const documents = rebaseDocuments(input, base.digest);
        await registry.putBlob(repository, digestOf(documents.config), documents.config);
        const tag = loaded.app.kind === 'image' ? request.fixedTag : undefined;
        const stored = await put(repository, documents.manifest, mediaTypes.ociManifest, tag);
        children.set(input.app.digest, { digest: stored, size: documents.manifest.length });
      }
      const [first] = children.values();
      if (first === undefined) throw refused('content', 'an index without images');
      const rebased =
        loaded.app.kind === 'image'
          ? { digest: first.digest, mediaType: mediaTypes.ociManifest }
          : {
              digest: await put(
                repository,
                rebasedIndex(bytes, mediaType, children, base.digest),
                mediaTypes.ociIndex,
                request.fixedTag,
              ),
              mediaType: mediaTypes.ociIndex,
            };
      return { ...rebased, changed: true, mountedBytes, copiedBytes };
    },
  };

  /** In one write with its tag: a tag of its own would check and sync everything once more. */
  async function put(repository: string, bytes: Buffer, mediaType: string, tag?: string): Promise<Digest> {
    const digest = digestOf(bytes);
    const tags = tag === undefined ? [] : [tag];
    try {
      await registry.putManifest(repository, digest, bytes, mediaType, { tags, immutableTags: tags });
    } catch (error) {
      if (tag === undefined || !isOciError(error, 'DENIED')) throw error;
      await registry.putManifest(repository, digest, bytes, mediaType);
    }
    return digest;
  }
}

/** What an image says that it stands on, the name as `repository:channel`. Both undefined: it does not say. */
export function baseOf(set: Pick<ImageSet, 'annotations' | 'images'>): {
  readonly name: string | undefined;
  readonly digest: Digest | undefined;
} {
  const own = set.images[0]?.manifest.annotations ?? {};
  const read = (name: string): string | undefined => set.annotations[name] ?? own[name];
  const digest = read(baseDigestAnnotation);
  // Whoever pushes an image writes its annotations: only what is a digest is looked up as one.
  return {
    name: read(baseNameAnnotation),
    digest: digest !== undefined && isDigest(digest) ? digest : undefined,
  };
}

function forPlatform(base: ImageSet, app: ImageDocuments, what: string): ImageDocuments {
  const wanted = platformOf(app);
  const image = base.images.find((candidate) => platformOf(candidate) === wanted);
  if (image !== undefined) return image;
  const has = base.images.map(platformOf).join(', ');
  throw refused('platform', `the image is for ${wanted}, and ${what} has ${has === '' ? 'no image' : has}`);
}

/**
 * The index with its images replaced. What is no image of a platform is left out: attestations speak of the images that were replaced.
 */
function rebasedIndex(
  bytes: Buffer,
  mediaType: string,
  children: ReadonlyMap<Digest, { digest: Digest; size: number }>,
  baseDigest: Digest,
): Buffer {
  const index = parseManifest(bytes, mediaType);
  const annotations = Object.entries({ ...index.annotations, [baseDigestAnnotation]: baseDigest });
  return Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: mediaTypes.ociIndex,
      manifests: index.manifests.flatMap((child) => {
        const replaced = children.get(child.digest);
        if (replaced === undefined) return [];
        const { platform } = child;
        return [
          { mediaType: mediaTypes.ociManifest, ...replaced, ...(platform === undefined ? {} : { platform }) },
        ];
      }),
      annotations: Object.fromEntries(annotations.sort(([a], [b]) => (a < b ? -1 : 1))),
    }),
  );
}

function refused(code: RefusalCode, reason: string): RebaseRefused {
  return new RebaseRefused({ code, reason });
}
