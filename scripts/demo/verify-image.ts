import { createHash } from 'node:crypto';
import { Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGunzip } from 'node:zlib';
import { extract } from 'tar-stream';
import type { Descriptor } from '../../oci/descriptor.ts';
import { digestOf } from '../../oci/digest.ts';
import type { Registry } from '../../oci/registry.ts';

export interface VerifiedImage {
  readonly digest: string;
  readonly layers: number;
  /** Bytes that were read and whose digests were compared. */
  readonly bytes: number;
  /** Content of the file that was asked for, from the layer that holds it last. */
  readonly file: string;
}

/** Pulls every byte of an image back, compares every digest, and reads one file out of its top layer. Errors: what does not agree. */
export async function verifyImage(
  registry: Registry,
  repository: string,
  tag: string,
  path: string,
): Promise<VerifiedImage> {
  const { descriptor, bytes } = await registry.getManifest(repository, tag);
  if (digestOf(bytes) !== descriptor.digest) throw new Error(`manifest ${descriptor.digest} has other bytes`);
  const manifest = JSON.parse(bytes.toString('utf8')) as { config: Descriptor; layers: Descriptor[] };
  const blobs = [manifest.config, ...manifest.layers];
  let total = 0;
  for (const blob of blobs) {
    const hash = createHash('sha256');
    let size = 0;
    const { body } = await registry.getBlob(repository, blob.digest);
    await pipeline(
      body,
      new Writable({
        write(chunk: Buffer, _encoding, done) {
          hash.update(chunk);
          size += chunk.length;
          done();
        },
      }),
    );
    if (`sha256:${hash.digest('hex')}` !== blob.digest || size !== blob.size)
      throw new Error(`blob ${blob.digest} has other bytes`);
    total += size;
  }
  const top = manifest.layers.at(-1);
  if (top === undefined) throw new Error('the image has no layer');
  const file = await readFromLayer(registry, repository, top, path);
  if (file === undefined) throw new Error(`the image does not hold ${path}`);
  return { digest: descriptor.digest, layers: manifest.layers.length, bytes: total, file };
}

async function readFromLayer(
  registry: Registry,
  repository: string,
  layer: Descriptor,
  path: string,
): Promise<string | undefined> {
  const { body } = await registry.getBlob(repository, layer.digest);
  const entries = extract();
  let found: string | undefined;
  const read = (async () => {
    for await (const entry of entries) {
      const chunks: Buffer[] = [];
      for await (const chunk of entry as AsyncIterable<Buffer>) chunks.push(chunk);
      if (`/${entry.header.name.replace(/^\.?\//, '')}` === path)
        found = Buffer.concat(chunks).toString('utf8');
    }
  })();
  await pipeline(body, createGunzip(), entries);
  await read;
  return found;
}
