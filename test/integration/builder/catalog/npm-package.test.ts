import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text as textOf } from 'node:stream/consumers';
import { gzipSync } from 'node:zlib';
import { pack } from 'tar-stream';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { createFileTree } from '../../../../builder/catalog/file-tree.ts';
import { addNpmFiles, downloadNpmPackage, npmTag } from '../../../../builder/catalog/npm/npm-package.ts';
import { runProgram, useProgram } from '../../../../builder/catalog/run-program.ts';
import { createKeptSources } from '../../../../builder/catalog/sources/kept-sources.ts';
import { createMemoryStore } from '../../../../core/object-store/memory.ts';
import { createContentSpool } from '../../../../oci/layer/content-spool.ts';
import { createStoredRegistry } from '../../../../registry/stored-registry.ts';
import { createTempDirectory, type TempDirectory } from '../../../helpers/temp.ts';

const { signal } = new AbortController();
let archive: Buffer;
let integrity: string;
let folder: TempDirectory;
let html = false;
let requests = 0;

/** A registry with one package, or one that answers everything with a page. */
const server = createServer((request, response) => {
  requests += 1;
  if (html) {
    response.setHeader('content-type', 'text/html');
    response.end('<html>please sign in</html>');
  } else if (request.url?.endsWith('.tgz') === true) response.end(archive);
  else {
    const { port } = server.address() as AddressInfo;
    const tarball = `http://127.0.0.1:${port}/tool/-/tool-1.0.0.tgz`;
    const version = { name: 'tool', version: '1.0.0', dist: { tarball, integrity } };
    response.setHeader('content-type', 'application/json');
    response.end(
      JSON.stringify({ name: 'tool', 'dist-tags': { latest: '1.0.0' }, versions: { '1.0.0': version } }),
    );
  }
});

beforeAll(async () => {
  const tar = pack();
  tar.entry({ name: 'package/bin/tool', mode: 0o777, uid: 501 }, '#!/bin/sh\n');
  tar.entry({ name: 'package/lib/a.js', mode: 0o600, uid: 501 }, 'a');
  tar.finalize();
  const parts: Buffer[] = [];
  for await (const part of tar) parts.push(part as Buffer);
  archive = gzipSync(Buffer.concat(parts));
  integrity = `sha512-${createHash('sha512').update(archive).digest('base64')}`;
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  folder = await createTempDirectory('npm');
  vi.stubEnv('npm_config_registry', `http://127.0.0.1:${(server.address() as AddressInfo).port}/`);
  vi.stubEnv('npm_config_cache', `${folder.path}/npm-cache`);
  vi.stubEnv('npm_config_fetch_retries', '0');
});

afterEach(() => {
  html = false;
});

afterAll(async () => {
  vi.unstubAllEnvs();
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
  await folder.remove();
});

describe('packages of the npm registry', () => {
  it('are fetched through the settings of npm, checked, kept, and not fetched again', async () => {
    const options = { folder: `${folder.path}/kept`, signal };

    const file = await downloadNpmPackage({ name: 'tool', version: '1.0.0', integrity }, options);
    const before = requests;
    const again = await downloadNpmPackage({ name: 'tool', version: '1.0.0', integrity }, options);

    expect(again).toBe(file);
    expect(requests).toBe(before);
    expect(await readdir(options.folder)).toEqual(['tool-1.0.0.tgz']);
  });

  it('come from our own store where they were kept, which npm is then not asked for', async () => {
    const store = createKeptSources(createStoredRegistry({ store: createMemoryStore() }));
    const wanted = { name: 'tool', version: '1.0.0', integrity };
    const folderOf = (name: string) => ({ folder: `${folder.path}/${name}`, signal, offline: true });
    const kept = (tag: string) => store.openTagged(tag);
    await expect(downloadNpmPackage(wanted, { ...folderOf('closed'), kept })).rejects.toThrow(
      'neither in the cache',
    );
    const sha256 = createHash('sha256').update(archive).digest('hex');
    await store.keep(npmTag(wanted), [{ content: archive, sha256, title: 'tool@1.0.0' }]);
    const before = requests;

    const file = await downloadNpmPackage(wanted, { ...folderOf('closed'), kept });

    expect(await readFile(file)).toEqual(archive);
    expect(requests).toBe(before);
    expect(await store.has(npmTag(wanted))).toBe(true);
    expect(await store.open('0'.repeat(64))).toBeUndefined();
  });

  it('are unpacked as root, with plain modes, to where the recipe says', async () => {
    const tree = createFileTree();
    const spool = createContentSpool();
    const file = await downloadNpmPackage(
      { name: 'tool', version: '1.0.0', integrity },
      { folder: `${folder.path}/kept`, signal },
    );

    await addNpmFiles(
      file,
      [
        { from: 'package/bin/tool', to: 'usr/local/bin/tool' },
        { from: 'package/lib', to: 'opt/tool' },
      ],
      {
        tree,
        spool,
        signal,
      },
    );

    const files = tree.sorted().filter(({ type }) => type === 'file');
    expect(files).toMatchObject([
      { path: 'opt/tool/a.js', mode: 0o644, uid: 0, gid: 0 },
      { path: 'usr/local/bin/tool', mode: 0o755, uid: 0, gid: 0 },
    ]);
    expect((await tree.read('opt/tool/a.js')).toString()).toBe('a');
    await spool.close();
  });

  it('are refused when they are not what the recipe names, and nothing is kept (builder.md 6, row 31)', async () => {
    const options = { folder: `${folder.path}/wrong`, signal };
    const wrong = `sha512-${createHash('sha512').update('other').digest('base64')}`;

    const download = downloadNpmPackage({ name: 'tool', version: '1.0.0', integrity: wrong }, options);

    await expect(download).rejects.toMatchObject({
      name: 'UserError',
      message: expect.stringContaining(wrong),
    });
    expect(await readdir(options.folder)).toEqual([]);
  });

  it('fail cleanly when the mirror serves a page instead (row 31)', async () => {
    html = true;
    const options = { folder: `${folder.path}/html`, signal };

    const download = downloadNpmPackage({ name: 'tool', version: '1.0.1', integrity }, options);

    await expect(download).rejects.toMatchObject({
      name: 'UserError',
      message: expect.stringContaining('npm failed'),
    });
    expect(await readdir(options.folder)).toEqual([]);
  });
});

describe('what a program wrote', () => {
  it('is there for a reader who begins when the program has long ended', async () => {
    const pidFile = `${folder.path}/pid`;
    const read = await useProgram(
      'sh',
      ['-c', `echo $$ >'${pidFile}'; echo text`],
      { signal },
      async (stdout) => {
        const pid = await vi.waitFor(async () => {
          const written = await readFile(pidFile, 'utf8');
          expect(written).toMatch(/\n$/);
          return Number(written);
        });
        await vi.waitFor(() => expect(() => process.kill(pid, 0)).toThrow('ESRCH'));
        return textOf(stdout);
      },
    );

    expect(read).toBe('text\n');
  });
});

describe('a machine without the programs', () => {
  it('is told which one is missing and what to do', async () => {
    const missing = runProgram('apt-get', ['update'], { signal, env: { PATH: '/nowhere' } });

    await expect(missing).rejects.toMatchObject({
      name: 'UserError',
      message: expect.stringMatching(/^apt-get is not on this machine\. .*Debian/),
    });
  });
});
