import { type Digest, digestOf } from '../../oci/digest.ts';
import { encodeIndex } from '../../oci/encode-manifest.ts';
import { encodeImageConfig } from '../../oci/image-config.ts';
import type { Layer } from '../../oci/layer.ts';
import { mediaTypes } from '../../oci/media-types.ts';
import type { Registry } from '../../oci/registry.ts';
import type { BaseImage } from '../engines/assembler/base-image.ts';
import type { LevelImage } from '../engines/level-sandbox.ts';
import { baseImageAnnotations, baseImageConfig, baseImageManifest } from './base-image-documents.ts';
import type { LevelImageBuilt } from './build-level.ts';
import type { CatalogEntry } from './catalog.ts';

/** An image in the registry, under its digest alone. */
export interface PushedImage {
  readonly digest: Digest;
  readonly mediaType: string;
  /** The manifest. */
  readonly bytes: Buffer;
  readonly architecture: string;
  readonly layers: BaseImage['layers'];
  /** The topmost, the entry's own. */
  readonly layer: Layer;
}

/** Errors: those of the registry. */
export async function pushImage(
  image: {
    readonly entry: CatalogEntry;
    readonly parent: (LevelImage & BaseImage) | undefined;
    readonly layer: Layer;
    readonly recipe: string;
    readonly architecture: string;
  },
  registry: Registry,
): Promise<PushedImage> {
  const { entry, parent, layer, recipe, architecture } = image;
  const config = encodeImageConfig(baseImageConfig(entry, parent?.config, layer, architecture));
  await registry.putBlob(entry.repository, digestOf(config), config);
  const bytes = baseImageManifest({ entry, base: parent, below: parent, layer, recipe, config });
  const digest = digestOf(bytes);
  const mediaType = mediaTypes.ociManifest;
  await registry.putManifest(entry.repository, digest, bytes, mediaType);
  return { digest, mediaType, bytes, architecture, layers: [...(parent?.layers ?? []), layer], layer };
}

/** The images of several architectures as one, an index with the same annotations; a single one is that one. Errors: those of the registry. */
export async function joinImages(
  level: {
    readonly entry: CatalogEntry;
    readonly below: LevelImageBuilt | undefined;
    readonly recipe: string;
    readonly images: readonly PushedImage[];
  },
  registry: Registry,
): Promise<PushedImage> {
  const { entry, images } = level;
  const [first] = images;
  if (first === undefined) throw new Error(`${entry.id} has no image`);
  if (images.length === 1) return first;
  const below =
    level.below === undefined
      ? undefined
      : { repository: level.below.entry.repository, digest: level.below.digest };
  const bytes = encodeIndex({
    manifests: images.map(({ digest, mediaType, bytes: manifest, architecture }) => ({
      mediaType,
      digest,
      size: manifest.length,
      platform: { os: 'linux', architecture },
    })),
    annotations: baseImageAnnotations(entry, below, level.recipe),
  });
  const digest = digestOf(bytes);
  await registry.putManifest(entry.repository, digest, bytes, mediaTypes.ociIndex);
  return { ...first, digest, mediaType: mediaTypes.ociIndex, bytes };
}
