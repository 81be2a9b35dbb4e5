import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Digest, digestOf } from '../../oci/digest.ts';
import { mediaTypes } from '../../oci/media-types.ts';

/** docker-registry's filesystem layout, written by hand: what docker-registry itself would never write, too. */
export interface StorageFolder {
  /** The `rootdirectory`. */
  readonly path: string;
  blob(repository: string, bytes: Buffer | string): Promise<Digest>;
  manifest(repository: string, bytes: Buffer | string, tag?: string): Promise<Digest>;
  /** An image of one layer, tagged. */
  image(repository: string, tag: string, layer: string): Promise<{ digest: Digest; layer: Digest }>;
  /** Of a blob's bytes. */
  dataPath(digest: Digest): string;
  /** Of anything below `repositories`. */
  repositoryPath(...parts: string[]): string;
}

export async function createStorageFolder(path: string): Promise<StorageFolder> {
  const root = join(path, 'docker/registry/v2');
  await mkdir(join(root, 'blobs'), { recursive: true });
  await mkdir(join(root, 'repositories'), { recursive: true });

  const folder: StorageFolder = {
    path,
    dataPath(digest) {
      const [algorithm = '', hex = ''] = digest.split(':');
      return join(root, 'blobs', algorithm, hex.slice(0, 2), hex, 'data');
    },
    repositoryPath: (...parts) => join(root, 'repositories', ...parts),
    async blob(repository, bytes) {
      const digest = await data(bytes);
      await write(folder.repositoryPath(repository, '_layers', ...digest.split(':'), 'link'), digest);
      return digest;
    },
    async manifest(repository, bytes, tag) {
      const digest = await data(bytes);
      const manifests = folder.repositoryPath(repository, '_manifests');
      await write(join(manifests, 'revisions', ...digest.split(':'), 'link'), digest);
      if (tag !== undefined) await write(join(manifests, 'tags', tag, 'current/link'), digest);
      return digest;
    },
    async image(repository, tag, content) {
      const layer = await folder.blob(repository, content);
      const config = await folder.blob(repository, '{}');
      const manifest = {
        schemaVersion: 2,
        mediaType: mediaTypes.ociManifest,
        config: { mediaType: mediaTypes.ociConfig, digest: config, size: 2 },
        layers: [{ mediaType: mediaTypes.ociLayer, digest: layer, size: content.length }],
      };
      return { digest: await folder.manifest(repository, JSON.stringify(manifest), tag), layer };
    },
  };
  return folder;

  async function data(bytes: Buffer | string): Promise<Digest> {
    const digest = digestOf(bytes);
    await write(folder.dataPath(digest), bytes);
    return digest;
  }
}

async function write(path: string, bytes: Buffer | string): Promise<void> {
  await mkdir(join(path, '..'), { recursive: true });
  await writeFile(path, bytes);
}
