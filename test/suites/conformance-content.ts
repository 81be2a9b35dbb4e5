import { randomBytes } from 'node:crypto';
import { gzipSync } from 'node:zlib';
import type { Descriptor } from '../../oci/descriptor.ts';
import { type Digest, type DigestAlgorithm, digestOf } from '../../oci/digest.ts';
import { mediaTypes } from '../../oci/media-types.ts';

export interface ConformanceBlob {
  readonly content: Buffer;
  readonly digest: Digest;
}

export interface ConformanceImage {
  readonly bytes: Buffer;
  readonly digest: Digest;
  readonly mediaType: string;
  readonly tags: readonly string[];
  /** Set by `?tag=` on the push by digest. */
  readonly tagsByParameter: boolean;
  readonly subject: Digest | undefined;
  /** What a referrers list says of it. */
  readonly artifactType: string;
  readonly annotations: Readonly<Record<string, string>> | undefined;
}

/** Blobs and manifests in the order in which they are pushed. */
export interface ConformanceSet {
  readonly name: string;
  readonly blobs: readonly ConformanceBlob[];
  readonly manifests: readonly ConformanceImage[];
}

const example = [
  'application/vnd.example.oci.conformance.v1',
  'application/vnd.example.oci.conformance.v2',
] as const;
const hello = { 'org.opencontainers.conformance': 'hello conformance test' };
const amd64 = { os: 'linux', architecture: 'amd64' };
const arm64 = { os: 'linux', architecture: 'arm64' };

interface ImageOptions {
  readonly tags?: readonly string[];
  readonly tagsByParameter?: boolean;
  readonly layers?: number;
  readonly compressed?: boolean;
  readonly artifactType?: string;
  readonly layerType?: string;
  readonly emptyConfig?: boolean;
  readonly emptyLayer?: boolean;
  readonly data?: boolean;
  /** One more layer, which nobody pushes. */
  readonly absentLayer?: boolean;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly subject?: Descriptor;
  readonly extra?: Readonly<Record<string, unknown>>;
}

/** The data sets of the newer suite, with fresh random bytes. */
export function conformanceSets(options: { readonly sparseImages: boolean }): readonly ConformanceSet[] {
  return [
    build('an image', (set) => set.image({ tags: ['image'] })),
    build('an uncompressed image', (set) => set.image({ tags: ['uncompressed'], compressed: false })),
    build('an image with a manifest of almost 4 MB', (set) =>
      set.image({ tags: ['large'], annotations: manyAnnotations() }),
    ),
    build('an index', (set) => set.platforms({ tags: ['index'] })),
    build('an index of indexes', (set) =>
      set.index([set.platforms(), set.platforms()], { tags: ['nested'] }),
    ),
    build('an empty index', (set) => set.index([], { tags: ['empty-index'] })),
    build('an artifact', (set) => set.image({ ...artifact, tags: ['artifact'] })),
    build('an index of artifacts', (set) => set.platforms({ ...artifact, tags: ['artifact-index'] })),
    build('an artifact without layers', (set) =>
      set.image({ ...artifact, emptyLayer: true, tags: ['no-content'] }),
    ),
    build('artifacts with a subject', (set) => {
      const subject = set.image({ tags: ['subject'] });
      set.image({ subject });
      set.image({ ...artifact, subject, annotations: hello, tags: ['tagged-1'] });
      set.image({ ...artifact, artifactType: example[1], subject, annotations: hello, tags: ['tagged-2'] });
    }),
    build('an index with a subject', (set) => {
      const subject = set.platforms({ tags: ['index'] });
      set.platforms({ ...artifact, subject, annotations: hello, tags: ['tagged'] });
    }),
    build('an artifact whose subject is missing', (set) => {
      const subject = { mediaType: mediaTypes.ociManifest, digest: digestOf(randomBytes(9)), size: 123 };
      set.image({ ...artifact, subject, annotations: hello, tags: ['tagged'] });
    }),
    build('an image with data in its descriptors', (set) => set.image({ tags: ['data'], data: true })),
    build('an image with non-distributable layers', (set) => set.nondistributable()),
    build('custom fields', (set) =>
      set.platforms({ tags: ['custom'], extra: { 'org.example.extra': { deep: [1] } } }),
    ),
    build('an image with no layers', (set) => set.image({ tags: ['no-layers'], layers: 0 })),
    build('a sparse index', (set) => {
      const absent = { mediaType: mediaTypes.ociManifest, digest: digestOf(randomBytes(9)), size: 1024 };
      set.index([set.image(), absent], { tags: ['sparse-index'] });
    }),
    ...(options.sparseImages
      ? [build('a sparse image', (set) => set.image({ tags: ['sparse-image'], absentLayer: true }))]
      : []),
    build('sha512', (set) => set.platforms(), 'sha512'),
    build('tags by parameter', (set) => set.platforms({ tags: ['p-1', 'p-2'], tagsByParameter: true })),
    build(
      'tags by parameter with sha512',
      (set) => set.platforms({ tags: ['p-1', 'p-2'], tagsByParameter: true }),
      'sha512',
    ),
  ];
}

const artifact = { artifactType: example[0], emptyConfig: true, layers: 1, layerType: example[0] } as const;

interface Builder {
  blob(content: Buffer, mediaType: string): Descriptor;
  image(options?: ImageOptions): Descriptor;
  index(children: readonly Descriptor[], options?: ImageOptions): Descriptor;
  /** An index over two images, which carry everything but the tags and the subject as well. */
  platforms(options?: ImageOptions): Descriptor;
  nondistributable(): void;
}

function build(
  name: string,
  fill: (set: Builder) => unknown,
  algorithm: DigestAlgorithm = 'sha256',
): ConformanceSet {
  const blobs = new Map<Digest, ConformanceBlob>();
  const manifests: ConformanceImage[] = [];
  const set: Builder = {
    blob(content, mediaType) {
      const digest = digestOf(content, algorithm);
      blobs.set(digest, { content, digest });
      return { mediaType, digest, size: content.length };
    },
    image(options = {}) {
      const layers = Array.from({ length: options.layers ?? 2 }, () =>
        set.blob(layerBytes(options), layerType(options)),
      );
      if (options.absentLayer) {
        layers.push({ mediaType: mediaTypes.ociLayerGzip, digest: digestOf(randomBytes(9)), size: 2048 });
      }
      const config = options.emptyConfig
        ? set.blob(Buffer.from('{}'), mediaTypes.ociEmpty)
        : set.blob(
            Buffer.from(JSON.stringify({ ...amd64, config: {}, unique: random() })),
            mediaTypes.ociConfig,
          );
      const inline = options.data ? dataOf(config) : config;
      return add(mediaTypes.ociManifest, { config: inline, layers }, options);
    },
    index(children, options = {}) {
      return add(mediaTypes.ociIndex, { manifests: children }, options);
    },
    platforms(options = {}) {
      const { tags: _, subject: __, tagsByParameter: ___, ...rest } = options;
      const children = [amd64, arm64].map((platform) => ({ ...set.image(rest), platform }));
      return set.index(children, options);
    },
    nondistributable() {
      const far = ['', '+gzip'].map((suffix) => {
        const digest = digestOf(randomBytes(9));
        const mediaType = `application/vnd.oci.image.layer.nondistributable.v1.tar${suffix}`;
        return { mediaType, digest, size: 12_345, urls: [`https://store.example.com/blobs/${digest}`] };
      });
      const config = set.blob(
        Buffer.from(JSON.stringify({ ...amd64, unique: random() })),
        mediaTypes.ociConfig,
      );
      const near = set.blob(layerBytes({}), mediaTypes.ociLayerGzip);
      add(mediaTypes.ociManifest, { config, layers: [...far, near] }, { tags: ['non-distributable'] });
    },
  };
  fill(set);
  return { name, blobs: [...blobs.values()], manifests };

  function dataOf(descriptor: Descriptor): Descriptor {
    return {
      ...descriptor,
      data: (blobs.get(descriptor.digest)?.content ?? Buffer.alloc(0)).toString('base64'),
    };
  }

  function add(mediaType: string, fields: Record<string, unknown>, options: ImageOptions): Descriptor {
    const { artifactType, annotations, subject } = options;
    const document = {
      schemaVersion: 2,
      mediaType,
      ...fields,
      artifactType,
      annotations,
      subject,
      ...options.extra,
    };
    const bytes = Buffer.from(JSON.stringify(document));
    const digest = digestOf(bytes, algorithm);
    const config = fields['config'] as Descriptor | undefined;
    manifests.push({
      bytes,
      digest,
      mediaType,
      tags: options.tags ?? [],
      tagsByParameter: options.tagsByParameter ?? false,
      subject: subject?.digest,
      artifactType: artifactType ?? config?.mediaType ?? '',
      annotations,
    });
    return { mediaType, digest, size: bytes.length };
  }
}

function layerBytes(options: ImageOptions): Buffer {
  if (options.emptyLayer) return Buffer.from('{}');
  const bytes = randomBytes(2048);
  return options.compressed === false ? bytes : gzipSync(bytes);
}

function layerType(options: ImageOptions): string {
  if (options.emptyLayer) return mediaTypes.ociEmpty;
  return options.layerType ?? (options.compressed === false ? mediaTypes.ociLayer : mediaTypes.ociLayerGzip);
}

function manyAnnotations(): Record<string, string> {
  return Object.fromEntries(
    Array.from({ length: 390 }, (_, index) => [`large-${index}`, 'A'.repeat(10_000)]),
  );
}

function random(): string {
  return randomBytes(8).toString('hex');
}
