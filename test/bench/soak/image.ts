import { type Digest, digestOf } from '../../../oci/digest.ts';
import { mediaTypes } from '../../../oci/media-types.ts';
import { type Content, createContent, type Random } from '../../helpers/fault-random.ts';

export interface SoakImage {
  readonly digest: Digest;
  readonly bytes: Buffer;
  readonly mediaType: string;
  /** The config first. */
  readonly blobs: readonly Content[];
  /** Of an index: what it names. */
  readonly children: readonly Digest[];
  readonly subject?: Digest;
}

export interface ImageParts {
  readonly blobs: readonly Content[];
  /** Tells it from every other image of the same blobs. */
  readonly note: string;
  readonly subject?: SoakImage;
}

export function createImage({ blobs, note, subject }: ImageParts): SoakImage {
  const descriptors = blobs.map(({ digest, size }) => ({ mediaType: mediaTypes.ociLayer, digest, size }));
  const bytes = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: mediaTypes.ociManifest,
      config: { ...descriptors[0], mediaType: 'application/vnd.example.config' },
      layers: descriptors.slice(1),
      ...(subject === undefined ? {} : { subject: describe(subject) }),
      annotations: { note },
    }),
  );
  return {
    digest: digestOf(bytes),
    bytes,
    mediaType: mediaTypes.ociManifest,
    blobs,
    children: [],
    ...(subject === undefined ? {} : { subject: subject.digest }),
  };
}

export function createIndex(children: readonly SoakImage[], note: string): SoakImage {
  const manifests = children.map(describe);
  const bytes = Buffer.from(
    JSON.stringify({ schemaVersion: 2, mediaType: mediaTypes.ociIndex, manifests, annotations: { note } }),
  );
  return {
    digest: digestOf(bytes),
    bytes,
    mediaType: mediaTypes.ociIndex,
    blobs: [],
    children: children.map(({ digest }) => digest),
  };
}

/** Layers that all clients push and delete again and again: from some bytes, which lie in their pointer, to what takes several chunks. */
export function commonLayers(seed: string): readonly Content[] {
  return [40, 900, 7_000, 8_300, 20_000, 50_000, 120_000, 400_000].flatMap((size, index) => [
    createContent(`common ${seed} ${index}a`, size),
    createContent(`common ${seed} ${index}b`, size + 11),
  ]);
}

export function pickBlobs(common: readonly Content[], note: string, random: Random): Content[] {
  const own = createContent(`own ${note}`, random.between(100, 40_000));
  const layers = Array.from({ length: random.between(1, 4) }, () => random.pick(common));
  return [...new Set([own, ...layers])];
}

function describe({ digest, bytes, mediaType }: SoakImage): {
  mediaType: string;
  digest: Digest;
  size: number;
} {
  return { mediaType, digest, size: bytes.length };
}
