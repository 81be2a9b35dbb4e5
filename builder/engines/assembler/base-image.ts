import { LRUCache } from 'lru-cache';
import { JobFailed } from '../../../core/queue/job-queue.ts';
import { choosePlatform, parsePlatformName } from '../../../oci/copy/choose-platform.ts';
import type { Descriptor, Platform } from '../../../oci/descriptor.ts';
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
  /** `linux/arm64`; default: that of this machine, or the only one. */
  platform?: string,
) => Promise<BaseImage>;

/** Reads bases and remembers the last 64 of them: a digest's content never changes. Errors: BaseImageGone when it is not there, JobFailed when it is no Linux image. */
export function createBaseImageReader(registry: Registry): BaseImageReader {
  const known = new LRUCache<string, BaseImage>({ max: 64 });
  return async (base, platform) => {
    const key = `${base.digest} ${platform ?? ''}`;
    const cached = known.get(key);
    if (cached !== undefined) return cached;
    const image = await readingBase(base, () => readBaseImage(registry, base, platform));
    known.set(key, image);
    return image;
  };
}

async function readBaseImage(
  registry: Registry,
  base: Pick<PlannedBase, 'name' | 'repository' | 'digest'>,
  platform?: string,
): Promise<BaseImage> {
  const wanted = platform ?? `linux/${process.arch === 'x64' ? 'amd64' : process.arch}`;
  let content = await registry.getManifest(base.repository, base.digest);
  let manifest = parseManifest(content.bytes, content.descriptor.mediaType);
  if (manifest.kind === 'index') {
    const child = choosePlatform(manifest.manifests, parsePlatform(wanted));
    if (child === undefined) throw new JobFailed(`the base image ${base.name} has no image for ${wanted}`);
    content = await registry.getManifest(base.repository, child.digest);
    manifest = parseManifest(content.bytes, content.descriptor.mediaType);
  }
  if (manifest.config === undefined) throw new JobFailed(`${base.name} is not an image`);
  const config = parseImageConfig(await readConfig(registry, base.repository, manifest.config));
  if (platform !== undefined && !fits(config, platform)) {
    throw new JobFailed(
      `the base image ${base.name} is for ${config.os}/${config.architecture}, not ${platform}`,
    );
  }
  if (config.diffIds.length !== manifest.layers.length) {
    throw new JobFailed(
      `the base image ${base.name} is damaged: its config lists other layers than its manifest`,
    );
  }
  return { layers: manifest.layers.map(toOciLayer), config };
}

function parsePlatform(name: string): Platform {
  const platform = parsePlatformName(name);
  if (platform === undefined) throw new JobFailed(`${JSON.stringify(name)} is no platform`);
  return platform;
}

/** `linux/arm64` is any variant of it. */
function fits(found: Platform, name: string): boolean {
  const wanted = parsePlatform(name);
  return (
    found.os === wanted.os &&
    found.architecture === wanted.architecture &&
    (wanted.variant === undefined || found.variant === wanted.variant)
  );
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
