import { randomBytes } from 'node:crypto';
import { Readable } from 'node:stream';
import { createFilesystemStore } from '../../../core/object-store/filesystem.ts';
import { type Digest, digestOf } from '../../../oci/digest.ts';
import { mediaTypes } from '../../../oci/media-types.ts';
import { createStoredRegistry } from '../../../registry/stored-registry.ts';

/** Pushes into the store at argv[2] until it is killed, and says on stdout what was acknowledged, one JSON line each. */
const store = createFilesystemStore({ root: String(process.argv[2]) });
const registry = createStoredRegistry({ store });
const say = (line: object): void => void process.stdout.write(`${JSON.stringify(line)}\n`);

const resumable = await registry.startUpload('team/resumed');
say({ upload: resumable.id });
const [layer] = await Promise.all([pushImages(), writeForEver(resumable.id)]);
say({ layer });

/** A chunk of 64 KiB after the other, all of them alike, each acknowledged. */
async function writeForEver(id: string): Promise<void> {
  const chunk = Buffer.alloc(64 * 1024, 'chunk');
  for (let start = 0; ; start += chunk.length) {
    const options = { start, length: chunk.length, chunked: true };
    const { offset } = await registry.writeUpload('team/resumed', id, Readable.from([chunk]), options);
    say({ offset });
  }
}

async function pushImages(): Promise<Digest> {
  const config = Buffer.from('{}');
  await registry.putBlob('team/app', digestOf(config), config);
  for (let number = 0; ; number++) {
    const content = randomBytes(20_000);
    const digest = digestOf(content);
    await registry.putBlob('team/app', digest, content);
    say({ blob: digest });
    const manifest = Buffer.from(
      JSON.stringify({
        schemaVersion: 2,
        mediaType: mediaTypes.ociManifest,
        config: { mediaType: mediaTypes.ociConfig, digest: digestOf(config), size: config.length },
        layers: [{ mediaType: mediaTypes.ociLayer, digest, size: content.length }],
      }),
    );
    await registry.putManifest('team/app', `v${number}`, manifest, '', { tags: ['latest'] });
    say({ tag: `v${number}`, manifest: digestOf(manifest) });
  }
}
