import type { Descriptor } from '../../oci/descriptor.ts';
import type { Digest } from '../../oci/digest.ts';
import { isOciError, type OciErrorCode } from '../../oci/errors.ts';
import { parseImageConfig } from '../../oci/image-config.ts';
import { type Manifest, maxManifestBytes, parseManifest } from '../../oci/manifest.ts';
import { isImageManifest } from '../../oci/media-types.ts';
import type { ManifestContent, Reader } from '../../oci/registry.ts';
import type { ImageDocuments, ImageSet, JsonObject } from './image-documents.ts';
import { RebaseRefused, type RefusalCode } from './refusal.ts';

/** More platforms than there are; each is read. */
const mostImages = 64;

/** Undefined = not there. Errors: RebaseRefused (`content`) for what is no image; those of the registry. */
export async function readImageSet(
  registry: Reader,
  repository: string,
  reference: string,
): Promise<ImageSet | undefined> {
  const content = await found(() => registry.getManifest(repository, reference));
  if (content === undefined) return undefined;
  const { digest } = content.descriptor;
  const manifest = parse(content);
  const common = { digest, annotations: manifest.annotations ?? {} };
  if (manifest.kind === 'image') {
    const image = await readImage(registry, repository, digest, manifest);
    return { ...common, kind: 'image', images: [image], others: 0 };
  }
  const children = manifest.manifests.filter(isPlatformImage);
  if (children.length > mostImages) throw refused('content', `an index of ${children.length} images`);
  const images: ImageDocuments[] = [];
  for (const child of children) {
    const childContent = await found(() => registry.getManifest(repository, child.digest));
    if (childContent === undefined) throw refused('content', `the index lacks its image ${child.digest}`);
    images.push(await readImage(registry, repository, child.digest, parse(childContent)));
  }
  return { ...common, kind: 'index', images, others: manifest.manifests.length - children.length };
}

/** BuildKit's attestations stand in the index as images for the platform unknown/unknown. */
function isPlatformImage({ mediaType, platform }: Descriptor): boolean {
  return isImageManifest(mediaType) && platform?.os !== 'unknown';
}

function parse({ bytes, descriptor }: ManifestContent): Manifest {
  try {
    return parseManifest(bytes, descriptor.mediaType);
  } catch (error) {
    if (!isOciError(error, 'MANIFEST_INVALID')) throw error;
    throw refused('content', error.message, error);
  }
}

async function readImage(
  registry: Reader,
  repository: string,
  digest: Digest,
  manifest: Manifest,
): Promise<ImageDocuments> {
  const descriptor = manifest.config;
  if (descriptor === undefined) throw refused('content', 'an index stands within an index');
  if (descriptor.size > maxManifestBytes) throw refused('content', 'its config is oversized');
  const content = await found(() => registry.getBlob(repository, descriptor.digest));
  if (content === undefined) throw refused('content', `its config ${descriptor.digest} is not there`);
  const parts: Buffer[] = [];
  for await (const part of content.body) parts.push(part as Buffer);
  const bytes = Buffer.concat(parts);
  try {
    return {
      digest,
      manifest,
      config: parseImageConfig(bytes),
      document: JSON.parse(bytes.toString('utf8')) as JsonObject,
    };
  } catch (error) {
    if (!isOciError(error, 'MANIFEST_INVALID')) throw error;
    throw refused('content', error.message, error);
  }
}

const absent: readonly OciErrorCode[] = ['MANIFEST_UNKNOWN', 'NAME_UNKNOWN', 'BLOB_UNKNOWN'];

/** Undefined = not there; "could not look" stays an error. */
export async function found<T>(read: () => Promise<T>): Promise<T | undefined> {
  try {
    return await read();
  } catch (error) {
    if (absent.some((code) => isOciError(error, code))) return undefined;
    throw error;
  }
}

function refused(code: RefusalCode, reason: string, cause?: unknown): RebaseRefused {
  return new RebaseRefused({ code, reason }, cause);
}
