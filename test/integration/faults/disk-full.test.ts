import { createWriteStream } from 'node:fs';
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { expect, it } from 'vitest';
import { mediaTypes } from '../../../oci/media-types.ts';
import { pushBaseImage } from '../../helpers/fault-git.ts';
import { type Answer, createHttp } from '../../helpers/fault-http.ts';
import { manifestOf } from '../../helpers/fault-model.ts';
import { type Content, createContent, createRandom } from '../../helpers/fault-random.ts';
import { planUpload, resumeUpload } from '../../helpers/fault-upload.ts';
import { runOk } from '../../helpers/process.ts';
import { startServer } from '../../helpers/server.ts';
import { createTempDirectory, type TempDirectory } from '../../helpers/temp.ts';
import { commitFiles, createWork } from '../builder/farm-fixture.ts';
import { git, gitOk } from '../builder/git-fixture.ts';

const repository = 'full/blobs';

/** A disk of its own, small enough to fill: a tmpfs, which only root can mount. */
async function mountDisk(megabytes: number): Promise<TempDirectory> {
  const directory = await createTempDirectory('full');
  const path = join(directory.path, 'disk');
  await mkdir(path);
  await runOk('mount', ['-t', 'tmpfs', '-o', `size=${megabytes}m`, 'tmpfs', path]);
  const remove = async (): Promise<void> => {
    await runOk('umount', [path]);
    await directory.remove();
  };
  return { path, remove, [Symbol.asyncDispose]: remove };
}

/** Takes all the space that is left, to the last byte. */
async function fill(path: string): Promise<void> {
  const zeros = Readable.from(
    (function* () {
      for (;;) yield Buffer.alloc(4096);
    })(),
  );
  await expect(pipeline(zeros, createWriteStream(path))).rejects.toThrow('ENOSPC');
}

// Whoever is not root has no disk to fill: everything else about a full disk needs no root and is tested beside the store.
if (process.getuid?.() === 0) {
  it('refuses blobs, manifests and git pushes on a full disk, says so, loses nothing, and goes on once there is room', async () => {
    await using disk = await mountDisk(48);
    await using directory = await createTempDirectory('full-work');
    const server = await startServer({
      data: directory.path,
      // It builds however little is free.
      env: { BRICKYARD_DATA: disk.path, BRICKYARD_PROCESSES: '2', BRICKYARD_BUILDER_DISK_LOW: '0' },
    });
    const http = createHttp(() => server.url);
    const postBlob = (content: Content): Promise<Answer> =>
      http.send('POST', `/v2/${repository}/blobs/uploads/?digest=${content.digest}`, {
        headers: { 'content-type': 'application/octet-stream' },
        body: content.bytes(),
      });
    const putManifest = (tag: string, contents: readonly Content[]): Promise<Answer> =>
      http.send('PUT', `/v2/${repository}/manifests/${tag}`, {
        headers: { 'content-type': mediaTypes.ociManifest },
        body: manifestOf(contents, tag),
      });
    try {
      await pushBaseImage(http);
      const kept = [createContent('small', 100), createContent('large', 1_000_000)];
      for (const content of kept) expect((await postBlob(content)).status).toBe(201);
      expect((await putManifest('kept', kept)).status).toBe(201);
      const work = await createWork(join(directory.path, 'work'));
      const url = `${server.url}/git/full/app.git`;
      const first = (await gitOk(work, 'rev-parse', 'HEAD')).trim();
      await gitOk(work, 'push', '-q', url, 'main');
      const upload = planUpload(repository, createContent('upload', 2_000_000), createRandom('full'));
      const location = await http.send('POST', `/v2/${repository}/blobs/uploads/`, { body: Buffer.alloc(0) });
      upload.location = location.headers.location;
      const filler = join(disk.path, 'filler');
      await fill(filler);

      const refusals = [
        await postBlob(createContent('refused', 1_000_000)),
        await postBlob(createContent('refused small', 100)),
        await putManifest('refused', kept),
        await putManifest('kept', kept.slice(0, 1)),
        await http.send('POST', `/v2/${repository}/blobs/uploads/`, { body: Buffer.alloc(0) }),
        await http.send('PATCH', upload.location ?? '', { body: upload.content.stream() }),
      ];
      const second = await commitFiles(work, { 'server.js': 'console.log(2)\n' });
      const pushed = await git(work, 'push', url, 'main');

      for (const { status, body } of refusals) {
        expect([status, JSON.parse(body.toString())]).toEqual([
          503,
          { errors: [expect.objectContaining({ message: "the server's disk is full" })] },
        ]);
      }
      expect(pushed.code).not.toBe(0);
      expect(pushed.stderr).toContain("the server's disk is full");
      for (const content of kept) {
        const path = `/v2/${repository}/blobs/${content.digest}`;
        expect((await http.send('GET', path)).body.equals(content.bytes())).toBe(true);
        expect((await http.send('HEAD', path)).status).toBe(200);
      }
      const tag = await http.send('GET', `/v2/${repository}/manifests/kept`);
      expect(tag.body.equals(manifestOf(kept, 'kept'))).toBe(true);
      expect((await http.send('GET', `/v2/${repository}/manifests/refused`)).status).toBe(404);
      expect((await gitOk(work, 'ls-remote', url, 'refs/heads/main')).slice(0, 40)).toBe(first);

      await rm(filler);

      expect(await resumeUpload(http, upload)).toBe(true);
      expect((await postBlob(createContent('refused', 1_000_000))).status).toBe(201);
      expect((await putManifest('refused', kept)).status).toBe(201);
      const again = await git(work, 'push', url, 'main');
      expect(again).toMatchObject({
        code: 0,
        stderr: expect.stringContaining(`${server.host}/full/app:main`) as string,
      });
      expect((await http.send('GET', `/v2/full/app/manifests/${second.slice(0, 12)}`)).status).toBe(200);
      expect(server.output()).not.toContain('process ended');
    } finally {
      http.close();
      await server.stop();
    }
  });
}
