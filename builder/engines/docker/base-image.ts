import { Readable } from 'node:stream';
import { type Digest, digestHex, parseDigest } from '../../../oci/digest.ts';
import { isImageManifest, isIndex } from '../../../oci/media-types.ts';
import type { Reader } from '../../../oci/registry.ts';
import { readingBase } from '../base-image-gone.ts';
import type { LevelImage } from '../level-sandbox.ts';
import { type ContainerApi, ContainerApiError } from './container-api.ts';
import type { ImageUses } from './image-uses.ts';
import { tarEnd, tarFile } from './tar-file.ts';

/** A config larger than this is none that a base image has (image-spec sets no limit; registries take 4 MiB). */
const largestConfig = 4 * 1024 * 1024;

export interface BaseImages {
  /** Brings the base image into the engine unless it is there. Errors: BaseImageGone when the registry has it no more. */
  ensure(base: LevelImage, signal: AbortSignal, log: (line: string) => void): Promise<LoadedImage>;
}

export interface LoadedImage {
  /** To run it, or to build on it. */
  readonly name: string;
  readonly diffIds: readonly string[];
  /** As in the registry, one for each of `diffIds`. */
  readonly layers: readonly BaseLayer[];
}

interface BaseLayer {
  readonly mediaType: string;
  readonly digest: Digest;
  readonly size: number;
}

/**
 * The engine never gets a credential for the registry: images go in as a docker-archive that is written from the
 * registry's blobs as they are read. They stay there under a name made of the config's digest, so a second build loads nothing.
 */
export function createBaseImages(
  api: ContainerApi,
  registry: Reader,
  uses?: Pick<ImageUses, 'note'>,
): BaseImages {
  const loading = new Map<string, Promise<void>>();

  return {
    async ensure(base, signal, log) {
      const image = await readingBase(base, () => readImage(registry, base));
      const name = `localhost/brickyard-base:${digestHex(image.configDigest).slice(0, 64)}`;
      // A note that could not be made lets the image go too early, and then it is loaded again.
      await uses?.note(name).catch(() => {});
      const loaded = { name, diffIds: image.diffIds, layers: image.layers };
      if (await holds(api, name, image)) return loaded;
      // Two builds over the same new base load it once. The load ends for all when the build that began it is cancelled;
      // the others then begin again.
      for (let other = loading.get(name); other !== undefined; other = loading.get(name)) {
        await other.catch(() => {});
        signal.throwIfAborted();
        if (await holds(api, name, image)) return loaded;
      }
      log(`loading base image ${base.name} into the container engine`);
      const archive = Readable.from(dockerArchive(registry, base, image, name), { objectMode: false });
      const load = loadArchive(api, archive, signal);
      loading.set(name, load);
      try {
        await load;
      } finally {
        loading.delete(name);
      }
      if (!(await holds(api, name, image))) {
        throw new ContainerApiError(`the container engine does not hold ${base.name} after it was loaded`);
      }
      return loaded;
    },
  };
}

/** The engine only sees that the archive broke off; why it did is the error that counts. */
async function loadArchive(api: ContainerApi, archive: Readable, signal: AbortSignal): Promise<void> {
  let broken: unknown;
  archive.once('error', (error) => {
    broken = error;
  });
  try {
    await api.loadImage(archive, signal);
  } catch (error) {
    throw broken ?? error;
  }
}

interface BaseImage {
  readonly configDigest: Digest;
  readonly config: Buffer;
  readonly diffIds: readonly string[];
  readonly layers: readonly BaseLayer[];
}

/** Whoever else uses this engine may have given the name to another image: its layers must be the base's. */
async function holds(api: ContainerApi, name: string, image: BaseImage): Promise<boolean> {
  const found = await api.inspectImage(name);
  return (
    found !== undefined &&
    found.diffIds.length === image.diffIds.length &&
    found.diffIds.every((diffId, index) => diffId === image.diffIds[index])
  );
}

async function readImage(registry: Reader, base: LevelImage): Promise<BaseImage> {
  let manifest = await registry.getManifest(base.repository, base.digest);
  if (isIndex(manifest.descriptor.mediaType)) {
    const architecture = process.arch === 'x64' ? 'amd64' : process.arch;
    const { manifests } = JSON.parse(manifest.bytes.toString()) as {
      manifests: { digest: string; platform?: { architecture?: string; os?: string } }[];
    };
    const own = manifests.find(
      ({ platform }) => platform?.os === 'linux' && platform.architecture === architecture,
    );
    if (own === undefined) throw new Error(`base image ${base.name} has no image for linux/${architecture}`);
    manifest = await registry.getManifest(base.repository, parseDigest(own.digest));
  }
  if (!isImageManifest(manifest.descriptor.mediaType)) {
    throw new Error(`base image ${base.name} is no image but ${manifest.descriptor.mediaType}`);
  }
  const { config, layers } = JSON.parse(manifest.bytes.toString()) as {
    config: { digest: string };
    layers: { mediaType: string; digest: string; size: number }[];
  };
  const configDigest = parseDigest(config.digest);
  const configBytes = await readSmall(registry, base.repository, configDigest);
  const { rootfs } = JSON.parse(configBytes.toString()) as { rootfs: { diff_ids: string[] } };
  return {
    configDigest,
    config: configBytes,
    diffIds: rootfs.diff_ids,
    layers: layers.map(({ mediaType, digest, size }) => ({ mediaType, digest: parseDigest(digest), size })),
  };
}

async function readSmall(registry: Reader, repository: string, digest: Digest): Promise<Buffer> {
  const { size, body } = await registry.getBlob(repository, digest);
  if (size > largestConfig) {
    body.destroy();
    throw new Error(`config ${digest} has ${size} bytes`);
  }
  const chunks: Buffer[] = [];
  for await (const chunk of body) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

/** `docker save` format: config, layers as they are in the registry (engines decompress them), and manifest.json. */
async function* dockerArchive(
  registry: Reader,
  base: LevelImage,
  image: BaseImage,
  name: string,
): AsyncGenerator<Buffer, void, undefined> {
  const layerName = (index: number): string => `${index}/layer.tar`;
  const configName = `${digestHex(image.configDigest)}.json`;
  const index = [{ Config: configName, RepoTags: [name], Layers: image.layers.map((_, i) => layerName(i)) }];
  yield* tarFile('manifest.json', Buffer.from(JSON.stringify(index)));
  yield* tarFile(configName, image.config);
  for (const [i, { digest }] of image.layers.entries()) {
    const { size, body } = await readingBase(base, () => registry.getBlob(base.repository, digest));
    yield* tarFile(layerName(i), body, { size });
  }
  yield tarEnd();
}
