import { createHash } from 'node:crypto';
import { posix } from 'node:path';
import { Readable, type Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGzip } from 'node:zlib';
import { digestOf, digestOfHash } from '../../../oci/digest.ts';
import { readTar } from '../../../oci/layer/tar-reader.ts';
import { mediaTypes } from '../../../oci/media-types.ts';
import type { Registry } from '../../../oci/registry.ts';
import type { LoadedImage } from './base-image.ts';
import { ContainerApiError } from './container-api.ts';

export interface ImportedLayer {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
}

export interface ImportOptions {
  readonly registry: Registry;
  /** Where the image's blobs go. */
  readonly repository: string;
  /** Its layers are mounted from the registry's own blobs instead of being compressed again. */
  readonly base: LoadedImage;
  readonly baseRepository: string;
  /** The image as `docker save` writes it; asked for twice, as what names the layers comes last in it. */
  open(): Promise<Readable>;
}

export interface ImportedImage {
  readonly config: Buffer;
  readonly layers: readonly ImportedLayer[];
  /** How many of `layers` were the base's. */
  readonly mounted: number;
}

/** More than any index or config; a layer that small is kept for nothing. */
const largestDocument = 1024 * 1024;

/** Puts the layers and the config of an engine's image into the registry. No credential goes to the engine: the image comes out of it. */
export async function importImage(options: ImportOptions): Promise<ImportedImage> {
  const { registry, repository, base } = options;
  const { config, layerNames, diffIds } = await readIndex(await options.open());
  const mounted = sharedLayers(diffIds, base.diffIds);
  for (const { digest } of base.layers.slice(0, mounted)) {
    if (await registry.mountBlob(repository, digest, options.baseRepository)) continue;
    const { body, size } = await registry.getBlob(options.baseRepository, digest);
    await registry.putBlob(repository, digest, body, { length: size });
  }
  const own = new Map<string, ImportedLayer>();
  const wanted = new Set(layerNames.slice(mounted));
  for await (const { entry, body } of readTar(await options.open())) {
    if (entry.type === 'file' && wanted.has(entry.path) && !own.has(entry.path)) {
      own.set(entry.path, await uploadLayer(registry, repository, body));
    }
  }
  await registry.putBlob(repository, digestOf(config), config);
  const layers = layerNames.map((name, index) => {
    const layer = index < mounted ? base.layers[index] : own.get(name);
    if (layer === undefined) throw new ContainerApiError(`the engine's image lacks its layer ${name}`);
    return layer;
  });
  return { config, layers, mounted };
}

async function readIndex(
  archive: Readable,
): Promise<{ config: Buffer; layerNames: string[]; diffIds: string[] }> {
  const documents = new Map<string, Buffer>();
  const links = new Map<string, string>();
  for await (const { entry, body } of readTar(archive)) {
    if (entry.type === 'symlink') {
      links.set(entry.path, posix.join(posix.dirname(entry.path), entry.target));
    } else if (entry.type === 'file' && entry.size <= largestDocument && !entry.path.endsWith('.tar')) {
      const chunks: Buffer[] = [];
      for await (const chunk of body) chunks.push(chunk);
      documents.set(entry.path, Buffer.concat(chunks));
    }
  }
  const index = documents.get('manifest.json');
  const [image] = index === undefined ? [] : (JSON.parse(index.toString()) as SavedImage[]);
  const config = image === undefined ? undefined : documents.get(image.Config);
  if (image === undefined || config === undefined) {
    throw new ContainerApiError('the engine saved an image without its index or config');
  }
  const { rootfs } = JSON.parse(config.toString()) as { rootfs: { diff_ids: string[] } };
  // Docker before 25 stores a layer that occurs twice once, and links to it.
  const layerNames = image.Layers.map((name) => links.get(name) ?? name);
  return { config, layerNames, diffIds: rootfs.diff_ids };
}

interface SavedImage {
  readonly Config: string;
  readonly Layers: readonly string[];
}

function sharedLayers(diffIds: readonly string[], baseDiffIds: readonly string[]): number {
  const differs = baseDiffIds.findIndex((diffId, index) => diffIds[index] !== diffId);
  return differs === -1 ? baseDiffIds.length : differs;
}

async function uploadLayer(
  registry: Registry,
  repository: string,
  body: AsyncIterable<Buffer>,
): Promise<ImportedLayer> {
  const hash = createHash('sha256');
  let size = 0;
  const { id } = await registry.startUpload(repository);
  try {
    const gzip: Transform = createGzip({ level: 6 });
    const compress = pipeline(body, gzip);
    const hashed = Readable.from(
      (async function* () {
        for await (const chunk of gzip as AsyncIterable<Buffer>) {
          hash.update(chunk);
          size += chunk.length;
          yield chunk;
        }
      })(),
      { objectMode: false },
    );
    await Promise.all([compress, registry.writeUpload(repository, id, hashed)]);
    const digest = digestOfHash('sha256', hash);
    await registry.finishUpload(repository, id, digest);
    return { mediaType: mediaTypes.ociLayerGzip, digest, size };
  } catch (error) {
    await registry.cancelUpload(repository, id).catch(() => {});
    throw error;
  }
}
