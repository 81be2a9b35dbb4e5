import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { pipeline, type Readable, Transform } from 'node:stream';
import type { CopySource } from '../../oci/copy/context.ts';
import {
  type Digest,
  digestAlgorithm,
  digestHex,
  digestOf,
  digestOfHash,
  isDigest,
} from '../../oci/digest.ts';
import { OciError } from '../../oci/errors.ts';
import { maxManifestBytes } from '../../oci/manifest.ts';
import { mediaTypes } from '../../oci/media-types.ts';
import type { ByteRange, Lister, ManifestContent } from '../../oci/registry.ts';
import type { StorageFiles } from './storage-files.ts';
import { createStorageReferrers } from './storage-referrers.ts';
import { listStorageManifests, listStorageTags } from './storage-repositories.ts';

export type StorageRegistry = CopySource & Pick<Lister, 'listTags'>;

/**
 * docker-registry's filesystem layout as a registry to copy from; docker-registry may go on running meanwhile. Shows what it would show:
 * a blob or manifest belongs to a repository where its link is. Whatever is read is compared with its digest, but for ranges.
 * What has a link and no readable data is an error (UNKNOWN, DIGEST_INVALID), never "not there".
 */
export function createStorageRegistry(
  files: StorageFiles,
  onNotice: (notice: string) => void = () => {},
): StorageRegistry {
  const registry: StorageRegistry = {
    async getBlob(repository, digest, range) {
      await checkLinked(repository, digest);
      return openData(digest, range);
    },
    async resolveBlob(repository, digest) {
      await checkLinked(repository, digest);
      const { handle, size } = await open(digest);
      await handle.close();
      return { mediaType: 'application/octet-stream', digest, size };
    },
    async getManifest(repository, reference) {
      return readManifest(await find(repository, reference));
    },
    async resolveManifest(repository, reference) {
      return (await registry.getManifest(repository, reference)).descriptor;
    },
    async listTags(repository, { limit, last }) {
      const tags = await listStorageTags(files, repository);
      const rest = last === undefined ? tags : tags.filter((tag) => tag > last);
      const entries = rest.slice(0, limit);
      const end = entries.at(-1);
      return end === undefined || rest.length <= limit ? { entries } : { entries, next: end };
    },
    listReferrers: createStorageReferrers({
      listManifests: (repository) => listStorageManifests(files, repository),
      readManifest: async (digest) => (await readManifest(digest)).bytes,
      onNotice,
    }),
  };
  return registry;

  async function checkLinked(repository: string, digest: Digest): Promise<void> {
    const link = linkPath(repository, '_layers', digest);
    if ((await files.readLink(link)) === digest) return;
    throw new OciError('BLOB_UNKNOWN', { message: 'this repository has no such blob' });
  }

  /** The manifest that a tag or digest names. */
  async function find(repository: string, reference: string): Promise<Digest> {
    const folder = join(files.root, 'repositories', repository, '_manifests');
    const digest = isDigest(reference)
      ? reference
      : await files.readLink(join(folder, 'tags', reference, 'current', 'link'));
    if (digest === undefined) throw new OciError('MANIFEST_UNKNOWN', { message: 'no such tag' });
    const link = linkPath(repository, '_manifests/revisions', digest);
    if ((await files.readLink(link)) === digest) return digest;
    throw new OciError('MANIFEST_UNKNOWN', { message: `this repository has no manifest ${digest}` });
  }

  async function readManifest(digest: Digest): Promise<ManifestContent> {
    const { handle, size } = await open(digest);
    let bytes: Buffer;
    try {
      if (size > maxManifestBytes) {
        throw new OciError('SIZE_TOO_LARGE', {
          message: `${files.name(dataPath(digest))} has ${size} bytes, which is no manifest`,
        });
      }
      bytes = await handle.readFile();
    } finally {
      await handle.close();
    }
    if (digestOf(bytes, digestAlgorithm(digest)) !== digest) throw damaged(digest);
    return { bytes, descriptor: { mediaType: mediaTypeOf(bytes), digest, size: bytes.length } };
  }

  async function openData(
    digest: Digest,
    range: ByteRange | undefined,
  ): Promise<{ size: number; body: Readable }> {
    const { handle, size } = await open(digest);
    if (range !== undefined && (range.start >= size || range.start > range.end)) {
      await handle.close();
      throw new OciError('RANGE_INVALID', { detail: { size } });
    }
    const bytes = handle.createReadStream({
      highWaterMark: 256 * 1024,
      ...(range === undefined ? {} : { start: range.start, end: range.end }),
    });
    return { size, body: range === undefined ? verified(bytes, digest) : bytes };
  }

  function verified(bytes: Readable, digest: Digest): Readable {
    const algorithm = digestAlgorithm(digest);
    const hash = createHash(algorithm);
    const check = new Transform({
      highWaterMark: 256 * 1024,
      transform(chunk: Buffer, _encoding, callback) {
        hash.update(chunk);
        callback(null, chunk);
      },
      flush(callback) {
        callback(digestOfHash(algorithm, hash) === digest ? null : damaged(digest));
      },
    });
    // The error reaches whoever reads `check`, be it later; until then it must not end the process.
    check.on('error', () => {});
    pipeline(bytes, check, () => {});
    return check;
  }

  async function open(digest: Digest): Promise<NonNullable<Awaited<ReturnType<StorageFiles['open']>>>> {
    const file = await files.open(dataPath(digest));
    if (file !== undefined) return file;
    throw new OciError('UNKNOWN', { message: `${files.name(dataPath(digest))} is missing in the folder` });
  }

  function damaged(digest: Digest): OciError {
    const path = files.name(dataPath(digest));
    return new OciError('DIGEST_INVALID', {
      message: `${path} is damaged: its bytes do not have this digest`,
    });
  }

  function linkPath(repository: string, kind: string, digest: Digest): string {
    const place = [digestAlgorithm(digest), digestHex(digest), 'link'];
    return join(files.root, 'repositories', repository, kind, ...place);
  }

  function dataPath(digest: Digest): string {
    const hex = digestHex(digest);
    return join(files.root, 'blobs', digestAlgorithm(digest), hex.slice(0, 2), hex, 'data');
  }
}

/** The folder does not keep it: docker-registry too goes by what the manifest says of itself, which OCI manifests need not say. */
function mediaTypeOf(bytes: Buffer): string {
  let document: unknown;
  try {
    document = JSON.parse(bytes.toString('utf8'));
  } catch {
    return '';
  }
  if (typeof document !== 'object' || document === null) return '';
  const { mediaType, manifests, schemaVersion } = document as Readonly<Record<string, unknown>>;
  if (typeof mediaType === 'string') return mediaType;
  if (schemaVersion === 1) return 'application/vnd.docker.distribution.manifest.v1+prettyjws';
  return Array.isArray(manifests) ? mediaTypes.ociIndex : mediaTypes.ociManifest;
}
