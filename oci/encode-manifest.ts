import type { Descriptor } from './descriptor.ts';
import { digestOf } from './digest.ts';
import { mediaTypes } from './media-types.ts';

/** An OCI image manifest whose bytes depend on nothing but its parts: annotations stand in the order of their names. */
export function encodeImageManifest(image: {
  /** The bytes of the image configuration. */
  readonly config: Buffer;
  /** From the lowest to the topmost. */
  readonly layers: readonly Pick<Descriptor, 'mediaType' | 'digest' | 'size'>[];
  readonly annotations: Readonly<Record<string, string>>;
}): Buffer {
  return Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: mediaTypes.ociManifest,
      config: {
        mediaType: mediaTypes.ociConfig,
        digest: digestOf(image.config),
        size: image.config.length,
      },
      layers: image.layers,
      annotations: inOrder(image.annotations),
    }),
  );
}

/** An OCI index in the same way; its manifests stand in the order given. */
export function encodeIndex(index: {
  readonly manifests: readonly Pick<Descriptor, 'mediaType' | 'digest' | 'size' | 'platform'>[];
  readonly annotations: Readonly<Record<string, string>>;
}): Buffer {
  return Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: mediaTypes.ociIndex,
      manifests: index.manifests.map(({ mediaType, digest, size, platform }) => ({
        mediaType,
        digest,
        size,
        platform,
      })),
      annotations: inOrder(index.annotations),
    }),
  );
}

function inOrder(annotations: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.entries(annotations).sort(([a], [b]) => (a < b ? -1 : 1)));
}
