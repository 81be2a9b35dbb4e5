import { type Digest, digestOf } from '../../oci/digest.ts';
import { mediaTypes } from '../../oci/media-types.ts';

/** A blob of the scenarios. Larger than what a pointer holds, so that it has a data object. */
export interface Blob {
  readonly digest: Digest;
  readonly bytes: Buffer;
}

export interface PushedManifest {
  readonly digest: Digest;
  readonly bytes: Buffer;
  readonly mediaType: string;
  readonly blobs: readonly Blob[];
  readonly subject?: Digest;
}

export function blobOf(name: string, size = 9_000): Blob {
  const bytes = Buffer.alloc(size, name);
  return { digest: digestOf(bytes), bytes };
}

/** An image of one blob or more, the first of them its config. Its `name` makes it another manifest of the same blobs. */
export function imageOf(name: string, blobs: readonly Blob[], subject?: PushedManifest): PushedManifest {
  const [config, ...layers] = blobs.map(({ digest, bytes }) => ({ digest, size: bytes.length }));
  const bytes = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: mediaTypes.ociManifest,
      config: { mediaType: mediaTypes.ociConfig, ...config },
      layers: layers.map((layer) => ({ mediaType: mediaTypes.ociLayerGzip, ...layer })),
      annotations: { name },
      ...(subject === undefined ? {} : { subject: descriptorOf(subject) }),
    }),
  );
  return {
    digest: digestOf(bytes),
    bytes,
    mediaType: mediaTypes.ociManifest,
    blobs,
    ...(subject === undefined ? {} : { subject: subject.digest }),
  };
}

export function indexOf(name: string, children: readonly PushedManifest[]): PushedManifest {
  const bytes = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: mediaTypes.ociIndex,
      manifests: children.map(descriptorOf),
      annotations: { name },
    }),
  );
  return { digest: digestOf(bytes), bytes, mediaType: mediaTypes.ociIndex, blobs: [] };
}

function descriptorOf({ mediaType, digest, bytes }: PushedManifest) {
  return { mediaType, digest, size: bytes.length };
}
