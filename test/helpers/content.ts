import type { Descriptor } from '../../oci/descriptor.ts';
import { type Digest, digestOf } from '../../oci/digest.ts';
import { mediaTypes } from '../../oci/media-types.ts';
import type { Registry } from '../../oci/registry.ts';

/** A repository as a test writes it down; names on the left are the test's own, only tags reach the registry. */
export interface RepositoryContent {
  readonly blobs?: Readonly<Record<string, string | Buffer>>;
  /** In an order where children and subjects come first. */
  readonly manifests?: Readonly<Record<string, ManifestContentSpec>>;
  /** Tag → manifest. */
  readonly tags?: Readonly<Record<string, string>>;
}

export interface ManifestContentSpec {
  /** Default: an image manifest, or an index where `manifests` is given. */
  readonly mediaType?: string;
  /** A blob's name; default is a config `{}` that is pushed along. */
  readonly config?: string;
  readonly configType?: string;
  readonly layers?: readonly string[];
  /** Makes it an index. */
  readonly manifests?: readonly string[];
  readonly subject?: string;
  readonly artifactType?: string;
  readonly annotations?: Readonly<Record<string, string>>;
}

export interface PushedManifest {
  readonly descriptor: Descriptor;
  readonly digest: Digest;
  readonly bytes: Buffer;
}

export interface PushedRepository {
  readonly blobs: Readonly<Record<string, Descriptor>>;
  readonly manifests: Readonly<Record<string, PushedManifest>>;
}

export const emptyConfig = Buffer.from('{}');

type Pushed<C extends RepositoryContent> = {
  readonly blobs: Readonly<Record<keyof C['blobs'] & string, Descriptor>>;
  readonly manifests: Readonly<Record<keyof C['manifests'] & string, PushedManifest>>;
};

/** Pushes what is declared and tells the digests: `pushContent(registry, {'team/app': {blobs, manifests, tags}})`. */
export async function pushContent<T extends Readonly<Record<string, RepositoryContent>>>(
  registry: Registry,
  content: T,
): Promise<{ [K in keyof T]: Pushed<T[K]> }> {
  const pushed: Record<string, PushedRepository> = {};
  for (const [repository, declared] of Object.entries(content)) {
    pushed[repository] = await pushRepository(registry, repository, declared);
  }
  return pushed as { [K in keyof T]: Pushed<T[K]> };
}

async function pushRepository(
  registry: Registry,
  repository: string,
  content: RepositoryContent,
): Promise<PushedRepository> {
  const blobs: Record<string, Descriptor> = {};
  for (const [name, bytes] of Object.entries(content.blobs ?? {})) {
    const buffer = Buffer.from(bytes);
    blobs[name] = await registry.putBlob(repository, digestOf(buffer), buffer);
  }
  const manifests: Record<string, PushedManifest> = {};
  for (const [name, spec] of Object.entries(content.manifests ?? {})) {
    if (spec.manifests === undefined && spec.config === undefined) {
      await registry.putBlob(repository, digestOf(emptyConfig), emptyConfig);
    }
    const bytes = manifestBytes(spec, { blobs, manifests });
    const mediaType = mediaTypeOf(spec);
    const { descriptor } = await registry.putManifest(repository, digestOf(bytes), bytes, mediaType);
    manifests[name] = { descriptor, digest: descriptor.digest, bytes };
  }
  for (const [tag, name] of Object.entries(content.tags ?? {})) {
    const manifest = need(manifests, name);
    await registry.putManifest(repository, tag, manifest.bytes, manifest.descriptor.mediaType);
  }
  return { blobs, manifests };
}

/** The bytes alone, for tests that push them by hand. */
export function manifestBytes(spec: ManifestContentSpec, known: PushedRepository): Buffer {
  const common = {
    schemaVersion: 2,
    mediaType: mediaTypeOf(spec),
    ...(spec.artifactType === undefined ? {} : { artifactType: spec.artifactType }),
  };
  const rest = {
    ...(spec.subject === undefined ? {} : { subject: need(known.manifests, spec.subject).descriptor }),
    ...(spec.annotations === undefined ? {} : { annotations: spec.annotations }),
  };
  if (spec.manifests !== undefined) {
    const manifests = spec.manifests.map((name) => need(known.manifests, name).descriptor);
    return Buffer.from(JSON.stringify({ ...common, manifests, ...rest }));
  }
  const config =
    spec.config === undefined
      ? { digest: digestOf(emptyConfig), size: emptyConfig.length }
      : need(known.blobs, spec.config);
  const layers = (spec.layers ?? []).map((name) => ({
    ...need(known.blobs, name),
    mediaType: mediaTypes.ociLayerGzip,
  }));
  const configType = spec.configType ?? mediaTypes.ociConfig;
  return Buffer.from(
    JSON.stringify({ ...common, config: { ...config, mediaType: configType }, layers, ...rest }),
  );
}

function mediaTypeOf(spec: ManifestContentSpec): string {
  return spec.mediaType ?? (spec.manifests === undefined ? mediaTypes.ociManifest : mediaTypes.ociIndex);
}

function need<T>(table: Readonly<Record<string, T>>, name: string): T {
  const found = table[name];
  if (found === undefined) throw new Error(`the test's content declares no ${name}`);
  return found;
}
