import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import { LRUCache } from 'lru-cache';
import { readBytes } from '../../oci/client/answers.ts';
import type { Descriptor, Platform } from '../../oci/descriptor.ts';
import { type Digest, digestAlgorithm, digestOf, isDigest } from '../../oci/digest.ts';
import { maxManifestBytes, parseManifest } from '../../oci/manifest.ts';
import { isForeignLayer, isManifestType, mediaTypes } from '../../oci/media-types.ts';
import { type ImageKey, imageKey } from '../popularity/popularity.ts';
import type { ImageContent } from './candidates.ts';
import type { EngineClient } from './engine-client.ts';
import type { Content } from './plan.ts';

/** Reads manifests through the engine, which keeps them by that: a node that asks for the tag or the digest then finds it there. */
export interface ImageReader {
  /**
   * `reference`: a tag or a digest. Errors: ImageUnreadable (there is no such image, or it is none), EngineUnreachable and OriginAway ("could not look").
   */
  read(image: ImageName, reference: string, signal?: AbortSignal): Promise<ReadImage>;
  /** What was read before; undefined: not, or so long ago that it was forgotten. */
  known(image: ImageKey): ImageContent | undefined;
}

export interface ImageName {
  readonly ns?: string;
  readonly repository: string;
}

export interface ReadImage extends ImageKey {
  readonly content: ImageContent;
}

/** The registry says no, or what it says is no image. Asking again soon is of no use. */
export class ImageUnreadable extends Error {
  override readonly name = 'ImageUnreadable';
}

/** The pool has it not, and its origin cannot be asked. */
export class OriginAway extends Error {
  override readonly name = 'OriginAway';
  /** Seconds. */
  readonly retryAfter: number;
  constructor(retryAfter: number) {
    super('the origin cannot be asked');
    this.retryAfter = retryAfter;
  }
}

export interface ImageReaderOptions {
  readonly engine: EngineClient;
  /** Which images of an index nodes here pull. Default: those for this machine's own platform, as a proxy stands among nodes of its kind. */
  readonly wants?: (platform: Platform) => boolean;
}

/** As containerd, Docker and podman ask, so that the answer is kept for them: a tag's answer depends on it. */
export const acceptManifests = [
  mediaTypes.dockerManifest,
  mediaTypes.dockerManifestList,
  mediaTypes.ociManifest,
  mediaTypes.ociIndex,
  '*/*',
].join(', ');

/** Of one image. More than any real image has, and little enough to remember thousands. */
const maxBlobs = 2000;

export function createImageReader({ engine, wants = ownPlatform }: ImageReaderOptions): ImageReader {
  // Counted in blobs: each is a digest and a size, 200 bytes or so.
  const known = new LRUCache<string, ImageContent>({
    maxSize: 100_000,
    sizeCalculation: ({ manifests, blobs }) => 1 + manifests.length + blobs.length,
  });

  async function fetchManifest(image: ImageName, reference: string, signal?: AbortSignal) {
    const answer = await engine.get({
      ...image,
      kind: 'manifests',
      reference,
      accept: acceptManifests,
      ...(signal === undefined ? {} : { signal }),
    });
    await refuseFailure(answer, `${image.repository}:${reference}`);
    const bytes = await readBytes(answer, maxManifestBytes);
    const named = isDigest(reference) ? reference : headerDigest(answer);
    const digest = digestOf(bytes, named === undefined ? 'sha256' : digestAlgorithm(named));
    if (isDigest(reference) && digest !== reference) {
      throw new ImageUnreadable(`${image.repository}: bytes that do not match ${reference}`);
    }
    try {
      return { digest, size: bytes.length, manifest: parseManifest(bytes, '') };
    } catch (cause) {
      throw new ImageUnreadable(`${image.repository}:${reference}: ${(cause as Error).message}`, { cause });
    }
  }

  async function readContent(image: ImageName, reference: string, signal?: AbortSignal): Promise<ReadImage> {
    const { digest, size, manifest } = await fetchManifest(image, reference, signal);
    const key = { ...nameOf(image), digest };
    const manifests: Content[] = [{ digest, size }];
    const blobs: Descriptor[] = [];
    const take = ({ config, layers }: typeof manifest): void => {
      if (config !== undefined) blobs.push(config);
      blobs.push(...layers.filter(({ mediaType }) => !isForeignLayer(mediaType)));
    };
    take(manifest);
    for (const child of wanted(manifest.manifests, wants)) {
      const read = await fetchManifest(image, child.digest, signal);
      manifests.push({ digest: read.digest, size: read.size });
      // An index in an index is nothing that clients pull.
      take(read.manifest);
    }
    if (blobs.length > maxBlobs)
      throw new ImageUnreadable(`${image.repository}: more than ${maxBlobs} layers`);
    const unique = new Map<string, Content>(
      blobs.map(({ digest: of, size: bytes }) => [of, { digest: of, size: bytes }]),
    );
    const content = { manifests, blobs: [...unique.values()] };
    known.set(imageKey(key), content);
    return { ...key, content };
  }

  return {
    async read(image, reference, signal) {
      const name = nameOf(image);
      const found = isDigest(reference) ? known.get(imageKey({ ...name, digest: reference })) : undefined;
      if (found !== undefined) return { ...name, digest: reference, content: found };
      const read = await readContent(name, reference, signal);
      // Clients ask for the tag, and then for the digest that they were told.
      if (!isDigest(reference)) await fetchManifest(name, read.digest, signal);
      return read;
    },
    known: (image) => known.get(imageKey(image)),
  };
}

/** Images of an index; signatures and attestations carry the platform `unknown`. */
function wanted(children: readonly Descriptor[], wants: (platform: Platform) => boolean): Descriptor[] {
  const images = children.filter(
    ({ mediaType, platform }) => isManifestType(mediaType) && platform?.os !== 'unknown',
  );
  const fitting = images.filter(({ platform }) => platform !== undefined && wants(platform));
  // Nodes of another kind than the proxy: whatever there is may be meant.
  return fitting.length > 0 ? fitting : images;
}

function ownPlatform({ os, architecture }: Platform): boolean {
  const own: Readonly<Record<string, string>> = { x64: 'amd64', ia32: '386' };
  return os === 'linux' && architecture === (own[process.arch] ?? process.arch);
}

/** Errors: ImageUnreadable, OriginAway. The answer is used up then. */
export async function refuseFailure(answer: IncomingMessage, what: string): Promise<void> {
  const { statusCode = 0 } = answer;
  if (statusCode === 200 || statusCode === 206) return;
  answer.resume();
  answer.on('error', () => {});
  if (!answer.complete) await once(answer, 'close').catch(() => {});
  if (statusCode === 429 || statusCode >= 500) {
    const seconds = Number(answer.headers['retry-after']);
    throw new OriginAway(Number.isFinite(seconds) && seconds > 0 ? Math.min(seconds, 60) : 5);
  }
  throw new ImageUnreadable(`${what}: the pool answered ${statusCode}`);
}

function headerDigest(answer: IncomingMessage): Digest | undefined {
  const header = answer.headers['docker-content-digest'];
  return typeof header === 'string' && isDigest(header) ? header : undefined;
}

function nameOf({ ns, repository }: ImageName): ImageName {
  return { ...(ns === undefined ? {} : { ns }), repository };
}
