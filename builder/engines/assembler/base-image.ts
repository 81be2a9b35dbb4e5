import { LRUCache } from 'lru-cache';
import { JobFailed } from '../../../core/queue/job-queue.ts';
import type { Descriptor } from '../../../oci/descriptor.ts';
import type { Digest } from '../../../oci/digest.ts';
import { type ImageConfig, parseImageConfig } from '../../../oci/image-config.ts';
import { maxManifestBytes, parseManifest } from '../../../oci/manifest.ts';
import { mediaTypes } from '../../../oci/media-types.ts';
import type { Registry } from '../../../oci/registry.ts';
import type { PlannedBase } from '../../plan/plan.ts';
import { readingBase } from '../base-image-gone.ts';

/** All that is read of a base: its layers stay where they are. */
export interface BaseImage {
  /** With OCI media types, whatever the base was pushed as. */
  readonly layers: readonly Descriptor[];
  readonly config: ImageConfig;
}

export type BaseImageReader = (
  base: Pick<PlannedBase, 'name' | 'repository' | 'digest'>,
) => Promise<BaseImage>;

/** Reads bases and remembers the last 64 of them: a digest's content never changes. Errors: BaseImageGone when it is not there, JobFailed when it is no Linux image. */
export function createBaseImageReader(registry: Registry): BaseImageReader {
  const known = new LRUCache<Digest, BaseImage>({ max: 64 });
  return async (base) => {
    const cached = known.get(base.digest);
    if (cached !== undefined) return cached;
    const image = await readingBase(base, () => readBaseImage(registry, base));
    known.set(base.digest, image);
    return image;
  };
}

async function readBaseImage(
  registry: Registry,
  base: Pick<PlannedBase, 'name' | 'repository' | 'digest'>,
): Promise<BaseImage> {
  let content = await registry.getManifest(base.repository, base.digest);
  let manifest = parseManifest(content.bytes, content.descriptor.mediaType);
  if (manifest.kind === 'index') {
    const wanted = process.arch === 'x64' ? 'amd64' : process.arch;
    const child = manifest.manifests.find(
      ({ platform }) => platform?.os === 'linux' && platform.architecture === wanted,
    );
    if (child === undefined)
      throw new JobFailed(`the base image ${base.name} has no image for linux/${wanted}`);
    content = await registry.getManifest(base.repository, child.digest);
    manifest = parseManifest(content.bytes, content.descriptor.mediaType);
  }
  if (manifest.config === undefined) throw new JobFailed(`${base.name} is not an image`);
  const config = parseImageConfig(await readConfig(registry, base.repository, manifest.config));
  if (config.diffIds.length !== manifest.layers.length) {
    throw new JobFailed(
      `the base image ${base.name} is damaged: its config lists other layers than its manifest`,
    );
  }
  return { layers: manifest.layers.map(toOciLayer), config };
}

async function readConfig(registry: Registry, repository: string, descriptor: Descriptor): Promise<Buffer> {
  if (descriptor.size > maxManifestBytes) throw new JobFailed('the base image has an oversized config');
  const { body } = await registry.getBlob(repository, descriptor.digest);
  const parts: Buffer[] = [];
  for await (const part of body) parts.push(part as Buffer);
  return Buffer.concat(parts);
}

/** An OCI manifest with Docker's layer types is refused by strict readers; the bytes are the same. */
function toOciLayer(layer: Descriptor): Descriptor {
  const { digest, size } = layer;
  const mediaType =
    layer.mediaType === mediaTypes.dockerLayerGzip ? mediaTypes.ociLayerGzip : layer.mediaType;
  return { mediaType, digest, size };
}
