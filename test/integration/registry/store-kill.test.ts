import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { createFilesystemStore } from '../../../core/object-store/filesystem.ts';
import { type Digest, digestOf } from '../../../oci/digest.ts';
import { createStoredRegistry } from '../../../registry/stored-registry.ts';
import { createTempDirectory } from '../../helpers/temp.ts';

interface Acknowledged {
  upload: string;
  offset: number;
  readonly blobs: Digest[];
  readonly tags: Map<string, Digest>;
}

/** Runs the pushing child and kills it in the middle of whatever it does after so many acknowledgements. */
async function pushAndKill(root: string, acknowledgements: number): Promise<Acknowledged> {
  const script = fileURLToPath(new URL('store-child.ts', import.meta.url));
  const child = spawn(process.execPath, [script, root], { stdio: ['ignore', 'pipe', 'inherit'] });
  const seen: Acknowledged = { upload: '', offset: 0, blobs: [], tags: new Map() };
  let lines = 0;
  for await (const line of createInterface({ input: child.stdout })) {
    const said = JSON.parse(line) as {
      upload?: string;
      offset?: number;
      blob?: Digest;
      tag?: string;
      manifest?: Digest;
    };
    if (said.upload !== undefined) seen.upload = said.upload;
    if (said.offset !== undefined) seen.offset = said.offset;
    if (said.blob !== undefined) seen.blobs.push(said.blob);
    if (said.tag !== undefined && said.manifest !== undefined) seen.tags.set(said.tag, said.manifest);
    if (++lines === acknowledgements) child.kill('SIGKILL');
  }
  if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
  expect(child.signalCode).toBe('SIGKILL');
  return seen;
}

it.each([3, 20, 41, 67, 150])(
  'a server killed after %i acknowledgements has kept them all, and the next one goes on with its upload',
  async (acknowledgements) => {
    await using directory = await createTempDirectory('kill');
    const seen = await pushAndKill(directory.path, acknowledgements);

    const store = createFilesystemStore({ root: directory.path });
    const registry = createStoredRegistry({ store });
    for (const digest of seen.blobs) {
      const { body } = await registry.getBlob('team/app', digest);
      expect(digestOf(await buffer(body))).toBe(digest);
    }
    for (const [tag, digest] of seen.tags) {
      expect((await registry.getManifest('team/app', tag)).descriptor.digest).toBe(digest);
    }
    const { offset } = await registry.uploadStatus('team/resumed', seen.upload);
    expect(offset).toBeGreaterThanOrEqual(seen.offset);
    const content = Buffer.alloc(Math.ceil(offset / 65_536 + 2) * 65_536, Buffer.alloc(65_536, 'chunk'));
    const rest = Readable.from([content.subarray(offset)]);
    await registry.finishUpload('team/resumed', seen.upload, digestOf(content), rest, { start: offset });
    expect(await buffer((await registry.getBlob('team/resumed', digestOf(content))).body)).toEqual(content);
    store.close();
  },
);
