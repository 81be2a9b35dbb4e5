import { createHash } from 'node:crypto';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGzip } from 'node:zlib';
import { digestOf, digestOfHash } from '../../../oci/digest.ts';
import type { LayerEntry } from '../../../oci/layer/entry.ts';
import { tarChunks } from '../../../oci/layer/tar-writer.ts';
import { mediaTypes } from '../../../oci/media-types.ts';
import type { Registry } from '../../../oci/registry.ts';
import { fixedBytes } from './fixed-bytes.ts';

const files = 20;

/**
 * Pushes a base image of this size with one layer of fixed bytes, as `baseimages/java:<channel>`. Its layer is a gzip stream of stored blocks, as
 * Jib takes no other: nothing would be gained by compressing it, and the 2 GB are there in seconds.
 */
export async function pushBaseImage(registry: Registry, channel: string, bytes: number): Promise<void> {
  const repository = 'baseimages/java';
  const [tar, gzip] = [createHash('sha256'), createHash('sha256')];
  let size = 0;
  async function* hashedTar(): AsyncGenerator<Buffer, void, undefined> {
    for await (const chunk of tarChunks(entries(channel, Math.floor(bytes / files)))) {
      tar.update(chunk);
      yield chunk;
    }
  }
  const { id } = await registry.startUpload(repository);
  await pipeline(hashedTar, createGzip({ level: 0 }), async (stored: AsyncIterable<Buffer>) => {
    async function* hashed(): AsyncGenerator<Buffer, void, undefined> {
      for await (const chunk of stored) {
        gzip.update(chunk);
        size += chunk.length;
        yield chunk;
      }
    }
    await registry.writeUpload(repository, id, Readable.from(hashed(), { objectMode: false }));
  });
  const digest = digestOfHash('sha256', gzip);
  await registry.finishUpload(repository, id, digest);
  const config = Buffer.from(
    JSON.stringify({
      architecture: process.arch === 'x64' ? 'amd64' : process.arch,
      os: 'linux',
      config: { Env: ['PATH=/usr/local/bin:/usr/bin:/bin'] },
      rootfs: { type: 'layers', diff_ids: [digestOfHash('sha256', tar)] },
      // Buildah refuses to build upon an image whose history does not count its layers.
      history: [{ created_by: 'bench' }],
    }),
  );
  await registry.putBlob(repository, digestOf(config), config);
  const manifest = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: mediaTypes.ociManifest,
      config: { mediaType: mediaTypes.ociConfig, digest: digestOf(config), size: config.length },
      layers: [{ mediaType: mediaTypes.ociLayerGzip, digest, size }],
    }),
  );
  await registry.putManifest(repository, channel, manifest, mediaTypes.ociManifest);
}

function* entries(channel: string, size: number): Generator<LayerEntry, void, undefined> {
  const owner = { uid: 0, gid: 0 };
  // Only the file's time comes from this hash.
  const sha256 = createHash('sha256').digest();
  for (let index = 0; index < files; index++) {
    const path = `opt/java/part-${String(index).padStart(2, '0')}`;
    const open = () => Readable.from(fixedBytes(`${channel} ${index}`, size));
    yield { type: 'file', path, mode: 0o644, ...owner, content: { size, sha256, open } };
  }
}
