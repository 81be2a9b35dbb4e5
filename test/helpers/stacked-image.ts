import { type Digest, digestOf } from '../../oci/digest.ts';
import type { HistoryEntry } from '../../oci/image-config.ts';
import { mediaTypes } from '../../oci/media-types.ts';
import type { Registry } from '../../oci/registry.ts';

/** An image in short: layers are arbitrary bytes, as nobody here unpacks them. */
export interface StackedImage {
  readonly layers: readonly string[];
  /** The config's `config`. */
  readonly config?: object;
  /** Further fields of the config. */
  readonly document?: object;
  readonly annotations?: Readonly<Record<string, string>>;
  /** Default: one entry for each layer; undefined where it is given as such. */
  readonly history?: readonly HistoryEntry[] | undefined;
  readonly platform?: { readonly architecture: string; readonly os?: string; readonly variant?: string };
  /** Default: those of the layers. */
  readonly diffIds?: readonly string[];
  /** Default: OCI types. */
  readonly layerType?: string;
  readonly docker?: boolean;
  /** Further fields of the manifest. */
  readonly manifest?: object;
}

/** What a layer's diffID is here. */
export function diffIdOf(layer: string): Digest {
  return digestOf(`diff of ${layer}`);
}

export async function pushStackedImage(
  registry: Registry,
  repository: string,
  image: StackedImage,
  tags: readonly string[] = [],
): Promise<Digest> {
  const { docker = false, platform = { architecture: 'amd64' } } = image;
  const layerType = image.layerType ?? (docker ? mediaTypes.dockerLayerGzip : mediaTypes.ociLayerGzip);
  const history = 'history' in image ? image.history : image.layers.map((layer) => ({ created_by: layer }));
  const config = Buffer.from(
    JSON.stringify({
      os: 'linux',
      ...platform,
      ...image.document,
      config: image.config ?? {},
      rootfs: { type: 'layers', diff_ids: image.diffIds ?? image.layers.map(diffIdOf) },
      history,
    }),
  );
  for (const blob of [config, ...image.layers.map((layer) => Buffer.from(layer))]) {
    await registry.putBlob(repository, digestOf(blob), blob);
  }
  const mediaType = docker ? mediaTypes.dockerManifest : mediaTypes.ociManifest;
  const bytes = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType,
      config: {
        mediaType: docker ? mediaTypes.dockerConfig : mediaTypes.ociConfig,
        digest: digestOf(config),
        size: config.length,
      },
      layers: image.layers.map((layer) => ({
        mediaType: layerType,
        digest: digestOf(layer),
        size: Buffer.byteLength(layer),
      })),
      ...(image.annotations === undefined ? {} : { annotations: image.annotations }),
      ...image.manifest,
    }),
  );
  const { descriptor } = await registry.putManifest(repository, digestOf(bytes), bytes, mediaType, { tags });
  return descriptor.digest;
}

/** An index of images that are there, each under its platform. */
export async function pushIndex(
  registry: Registry,
  repository: string,
  images: readonly { digest: Digest; platform: { architecture: string; os: string; variant?: string } }[],
  options: { tags?: readonly string[]; annotations?: Readonly<Record<string, string>> } = {},
): Promise<Digest> {
  const manifests = await Promise.all(
    images.map(async ({ digest, platform }) => ({
      ...(await registry.resolveManifest(repository, digest)),
      platform,
    })),
  );
  const bytes = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: mediaTypes.ociIndex,
      manifests,
      ...(options.annotations === undefined ? {} : { annotations: options.annotations }),
    }),
  );
  const { descriptor } = await registry.putManifest(repository, digestOf(bytes), bytes, mediaTypes.ociIndex, {
    tags: options.tags ?? [],
  });
  return descriptor.digest;
}
