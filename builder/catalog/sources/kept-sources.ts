import { createReadStream } from 'node:fs';
import type { Digest } from '../../../oci/digest.ts';
import { digestOf } from '../../../oci/digest.ts';
import { isOciError } from '../../../oci/errors.ts';
import { parseManifest } from '../../../oci/manifest.ts';
import { mediaTypes } from '../../../oci/media-types.ts';
import type { Registry } from '../../../oci/registry.ts';

/** Where sources of base images are kept, beside the images. No entry may be called so. */
export const sourcesName = 'sources';
export const sourcesRepository = `baseimages/${sourcesName}`;

/** What an artifact of `sourcesRepository` is. */
export const sourceArtifactType = 'application/vnd.brickyard.source.v1';
/** One file of it, byte by byte as it was fetched. */
export const sourceFileType = 'application/vnd.brickyard.source.file.v1';

export interface KeptFile {
  /** Its bytes, or where they lie. */
  readonly content: Buffer | { readonly file: string; readonly size: number };
  /** 64 hex digits. */
  readonly sha256: string;
  /** What people call it. */
  readonly title: string;
}

/** Files that recipes need, in our own registry. All errors are the registry's: that it cannot be asked is never "not there". */
export interface KeptSources {
  has(tag: string): Promise<boolean>;
  /** The file with this checksum; undefined = not there. */
  open(sha256: string): Promise<AsyncIterable<Buffer> | undefined>;
  /** The first file of the artifact `tag`; undefined = not there. */
  openTagged(tag: string): Promise<AsyncIterable<Buffer> | undefined>;
  /** Keeps files as one artifact, so that they stay as long as its tag does. */
  keep(tag: string, files: readonly KeptFile[]): Promise<void>;
}

/** The tag of a file that is known by its checksum. */
export function sourceTag(sha256: string): string {
  return `sha256-${sha256}`;
}

export function createKeptSources(registry: Registry): KeptSources {
  const repository = sourcesRepository;
  return {
    async has(tag) {
      return (await unlessMissing(() => registry.resolveManifest(repository, tag))) !== undefined;
    },
    async open(sha256) {
      const digest = `sha256:${sha256}` as Digest;
      return (await unlessMissing(() => registry.getBlob(repository, digest)))?.body;
    },
    async openTagged(tag) {
      const found = await unlessMissing(() => registry.getManifest(repository, tag));
      if (found === undefined) return undefined;
      const [layer] = parseManifest(found.bytes, found.descriptor.mediaType).layers;
      return layer === undefined ? undefined : (await registry.getBlob(repository, layer.digest)).body;
    },
    async keep(tag, files) {
      const config = Buffer.from('{}');
      await registry.putBlob(repository, digestOf(config), config);
      const layers: unknown[] = [];
      for (const { content, sha256, title } of files) {
        const digest = `sha256:${sha256}` as Digest;
        const size = Buffer.isBuffer(content) ? content.length : content.size;
        if ((await unlessMissing(() => registry.resolveBlob(repository, digest))) === undefined) {
          const body = Buffer.isBuffer(content) ? content : createReadStream(content.file);
          await registry.putBlob(repository, digest, body);
        }
        const annotations = { 'org.opencontainers.image.title': title };
        layers.push({ mediaType: sourceFileType, digest, size, annotations });
      }
      const manifest = Buffer.from(
        JSON.stringify({
          schemaVersion: 2,
          mediaType: mediaTypes.ociManifest,
          artifactType: sourceArtifactType,
          config: { mediaType: mediaTypes.ociEmpty, digest: digestOf(config), size: config.length },
          layers,
        }),
      );
      await registry.putManifest(repository, tag, manifest, mediaTypes.ociManifest);
    },
  };
}

async function unlessMissing<T>(ask: () => Promise<T>): Promise<T | undefined> {
  try {
    return await ask();
  } catch (error) {
    if (
      ['BLOB_UNKNOWN', 'MANIFEST_UNKNOWN', 'NAME_UNKNOWN'].some((code) => isOciError(error, code as never))
    ) {
      return undefined;
    }
    throw error;
  }
}
