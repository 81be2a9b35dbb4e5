import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { chmod, mkdir, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { hash } from 'bcryptjs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createRegistryClient, type RegistryClient } from '../../../oci/client.ts';
import type { Descriptor } from '../../../oci/descriptor.ts';
import { type Digest, digestOf } from '../../../oci/digest.ts';
import { mediaTypes } from '../../../oci/media-types.ts';
import { brickyard, type CommandOptions, commandEnvironment } from '../../helpers/brickyard-command.ts';
import { type PushedRepository, pushContent, type RepositoryContent } from '../../helpers/content.ts';
import { startCuttingProxy } from '../../helpers/cutting-proxy.ts';
import { startDockerRegistry, type TestDockerRegistry } from '../../helpers/docker-registry.ts';
import { runOk, waitFor } from '../../helpers/process.ts';
import { startServer, type TestServer } from '../../helpers/server.ts';
import { createTempDirectory, type TempDirectory } from '../../helpers/temp.ts';

const root = resolve(import.meta.dirname, '../../..');
const large = randomBytes(24 * 1024 * 1024);

const content = {
  blobs: { config: '{"os":"linux"}', small: 'a layer', large },
  manifests: {
    amd64: { config: 'config', layers: ['small', 'large'] },
    arm64: { config: 'config', layers: ['small'] },
    index: { manifests: ['amd64', 'arm64'] },
    signature: { subject: 'index', artifactType: 'application/vnd.example.signature' },
  },
  tags: { '1.0': 'index', plain: 'arm64' },
} satisfies RepositoryContent;

let home: TempDirectory;
let first: TestServer;
let second: TestServer;
let source: RegistryClient;
let target: RegistryClient;
let pushed: PushedRepository;

beforeAll(async () => {
  [home, first, second] = await Promise.all([createTempDirectory('copy'), startServer(), startServer()]);
  source = createRegistryClient({ url: first.url });
  target = createRegistryClient({ url: second.url });
  pushed = (await pushContent(source, { 'team/app': content }))['team/app'];
  await source.putManifest('team/app', 'multi', platformIndex(), mediaTypes.ociIndex);
});
afterAll(async () => {
  source.close();
  target.close();
  await Promise.all([first.remove(), second.remove()]);
  await home.remove();
});

const command = (args: readonly string[], more: Partial<CommandOptions> = {}) =>
  brickyard(['images', 'copy', ...args], { home: home.path, server: second.url, ...more });

describe('images copy between two servers', () => {
  it('brings an index with its platforms and signatures, byte for byte', async () => {
    const { code, stdout } = await command([`${first.host}/team/app:1.0`, 'copies/app', '--json']);

    expect(code).toBe(0);
    const { digest } = manifest('index');
    expect(JSON.parse(stdout)).toMatchObject({
      source: `${first.host}/team/app:1.0`,
      target: `${second.host}/copies/app:1.0`,
      digest,
      referrers: 1,
      missing: [],
    });
    for (const name of ['amd64', 'arm64', 'index', 'signature'] as const) {
      const { bytes } = await target.getManifest('copies/app', manifest(name).digest);
      expect(bytes.equals(manifest(name).bytes)).toBe(true);
    }
    expect((await read(target, 'copies/app', digestOf(large))).equals(large)).toBe(true);
    const signatures = await target.listReferrers('copies/app', digest, { limit: 10 });
    expect(signatures.entries.map((entry) => entry.digest)).toEqual([manifest('signature').digest]);
  });

  it('says that nothing was new when it is run again', async () => {
    const from = `${first.host}/team/app:1.0`;
    await command([from, 'copies/again']);

    const again = await command([from, 'copies/again']);

    expect(again).toMatchObject({ code: 0 });
    expect(again.stdout).toContain('0 blobs copied');
    expect(again.stdout).toContain('no manifest was new');
  });

  it('mounts within one server', async () => {
    const { code, stdout } = await command(['team/app:1.0', 'other/app:2.0', '--json'], {
      server: first.url,
    });

    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ blobs: { copied: 0 } });
    expect((await source.resolveManifest('other/app', '2.0')).digest).toBe(manifest('index').digest);
  });

  it('takes one platform, without the others and without signatures of the whole', async () => {
    const { code, stdout } = await command([
      `${first.host}/team/app:multi`,
      'copies/arm:1',
      '--platform',
      'linux/arm64',
      '--json',
    ]);

    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ digest: manifest('arm64').digest, referrers: 0 });
    const other = await command([
      `${first.host}/team/app:multi`,
      'copies/arm:1',
      '--platform',
      'linux/s390x',
    ]);
    expect(other.code).toBe(1);
    expect(other.stderr).toContain('no linux/s390x: it has linux/amd64, linux/arm64');
  });

  it('copies all tags of a repository', async () => {
    const { code, stdout } = await command([`${first.host}/team/app`, 'copies/all', '--all-tags', '--json']);

    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ repositories: 1, images: 3, failures: [] });
    expect((await target.listTags('copies/all', { limit: 10 })).entries).toEqual(['1.0', 'multi', 'plain']);
  });

  it('changes nothing in a dry run', async () => {
    const { code, stdout } = await command([`${first.host}/team/app:1.0`, 'copies/dry', '--dry-run']);

    expect(code).toBe(0);
    expect(stdout).toContain('would be: ');
    await expect(target.resolveManifest('copies/dry', '1.0')).rejects.toThrow();
  });

  it('goes on where a broken connection left it', async () => {
    await using proxy = await disposable(startCuttingProxy(second.port));
    proxy.cutAfter(8 * 1024 * 1024, 2);
    const one = randomBytes(20 * 1024 * 1024);
    await pushContent(source, {
      'team/broken': { blobs: { one }, manifests: { a: { layers: ['one'] } }, tags: { '1': 'a' } },
    });

    const { code, stderr } = await command([`${first.host}/team/broken:1`, 'copies/broken'], {
      server: proxy.url,
    });

    expect(stderr).not.toContain('brickyard:');
    expect(code).toBe(0);
    expect(proxy.cuts()).toBe(2);
    // Sent once, and little more than what was on its way when the line broke.
    expect(proxy.sent()).toBeLessThan(one.length + 6 * 1024 * 1024);
    expect((await read(target, 'copies/broken', digestOf(one))).equals(one)).toBe(true);
  });

  it('leaves no tag when it is interrupted, and says how to go on', async () => {
    await using proxy = await disposable(startCuttingProxy(second.port));
    proxy.stallAfter(1024 * 1024);
    const one = randomBytes(8 * 1024 * 1024);
    await pushContent(source, {
      'team/slow': { blobs: { one }, manifests: { a: { layers: ['one'] } }, tags: { '1': 'a' } },
    });
    const args = ['images', 'copy', `${first.host}/team/slow:1`, 'copies/interrupted'];
    const child = spawn(process.execPath, [join(root, 'bin/brickyard.js'), ...args], {
      env: commandEnvironment({ home: home.path, server: proxy.url }),
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let stderr = '';
    child.stderr.on('data', (chunk: Buffer) => {
      stderr += chunk.toString();
    });
    await waitFor(() => proxy.sent() > 512 * 1024, { what: 'bytes on their way' });
    child.kill('SIGINT');
    const [code] = (await once(child, 'exit')) as [number];

    expect(code).toBe(130);
    expect(stderr).toContain('interrupted');
    await expect(target.resolveManifest('copies/interrupted', '1')).rejects.toThrow();
    expect((await command([`${first.host}/team/slow:1`, 'copies/interrupted'])).code).toBe(0);
  });

  it.each([
    [['nonsense::', 'a/b'], 2, 'is no image'],
    [['a/b:1', `a/c@${digestOf('x')}`], 2, 'the digest comes with the image'],
    [['a/b:1', 'a/c', '--platform', 'pdp11'], 2, 'is no platform'],
    [['a/b:1', 'a/c', '--all-tags'], 2, 'leave out tag and digest'],
    [['a/b:1', 'a/c', '--parallel', '0'], 2, 'from 1 to 99'],
    [['team/none:1', 'a/c'], 1, 'has no such image'],
    [['127.0.0.1:1/team/app:1', 'a/c'], 1, 'http://127.0.0.1:1 does not answer'],
  ] as const)('images copy %j ends with %i and says why', async (args, expected, text) => {
    const { code, stderr, stdout } = await command(args);

    expect(code).toBe(expected);
    expect(stdout).toBe('');
    expect(stderr).toContain(text);
  });
});

describe('the other image commands', () => {
  const images = (...args: string[]) =>
    brickyard(['images', ...args], { home: home.path, server: first.url });

  it('show platforms, signatures, and what a signature is about', async () => {
    const index = await images('inspect', `${first.host}/team/app:1.0`);
    expect(index.stdout).toContain(
      `referrer     ${manifest('signature').digest}  application/vnd.example.signature`,
    );
    const multi = await images('inspect', 'team/app:multi');
    expect(multi.stdout).toContain(`platform     linux/arm64  ${manifest('arm64').digest}`);
    const signature = await images('inspect', `team/app@${manifest('signature').digest}`, '--json');
    expect(JSON.parse(signature.stdout)).toMatchObject({
      subject: manifest('index').digest,
      artifactType: 'application/vnd.example.signature',
    });
  });

  it('do to no repository of this server what was said of another one', async () => {
    for (const args of [
      ['rm', 'quay.io/team/app', '--yes'],
      ['rm', 'quay.io/team/app:plain'],
      ['inspect', 'quay.io/team/app:plain'],
      ['tags', '127.0.0.1:1/team/app'],
    ]) {
      const { code, stderr } = await images(...args);
      expect(code).toBe(2);
      expect(stderr).toContain('and this talks to');
    }
    expect((await images('tags', `${first.host}/team/app`)).stdout).toBe('1.0\nmulti\nplain\n');
  });

  it('write nothing to a terminal that would move its cursor', async () => {
    const annotations = { title: 'fine\u001b[2Jgone\u202e' };
    await pushContent(source, {
      'team/escape': { manifests: { a: { annotations } }, tags: { '1': 'a' } },
    });

    const { stdout } = await images('inspect', 'team/escape:1');

    expect(stdout).toContain('annotation   title=fine\ufffd[2Jgone\ufffd');
  });
});

describe('images copy and a docker-registry with accounts', () => {
  let peer: TestDockerRegistry;
  beforeAll(async () => {
    peer = await startDockerRegistry({ htpasswd: `alice:${await hash('secret', 4)}\n` });
  });
  afterAll(() => peer.remove());

  it('says where to sign in', async () => {
    const { code, stderr } = await command([`${first.host}/team/app:1.0`, `${peer.host}/team/app`]);

    expect(code).toBe(1);
    expect(stderr).toContain(`${peer.url} wants you to sign in: brickyard login ${peer.url}`);
  });

  it("pushes there with docker's own login, keeps the list of signatures, and skopeo finds the same digest", async () => {
    const docker = join(home.path, 'docker');
    await mkdir(docker, { recursive: true });
    const auth = Buffer.from('alice:secret').toString('base64');
    await writeFile(join(docker, 'config.json'), JSON.stringify({ auths: { [peer.host]: { auth } } }));

    const { code, stderr } = await command([`${first.host}/team/app:1.0`, `${peer.host}/team/app`], {
      env: { DOCKER_CONFIG: docker },
    });

    expect(stderr).not.toContain('brickyard:');
    expect(code).toBe(0);
    const inspect = ['inspect', '--raw', '--tls-verify=false', '--creds=alice:secret'];
    const raw = await runOk('skopeo', [...inspect, `docker://${peer.host}/team/app:1.0`]);
    expect(raw).toBe(manifest('index').bytes.toString());
    const list = manifest('index').digest.replace(':', '-');
    const signatures = await runOk('skopeo', [...inspect, `docker://${peer.host}/team/app:${list}`]);
    expect(signatures).toContain(manifest('signature').digest);
  });

  it('comes back with a credential helper, signatures and all', async () => {
    const docker = join(home.path, 'helper');
    await mkdir(docker, { recursive: true });
    await writeFile(join(docker, 'config.json'), JSON.stringify({ credHelpers: { [peer.host]: 'test' } }));
    const helper = join(docker, 'docker-credential-test');
    await writeFile(
      helper,
      `#!/bin/sh\nread host; [ "$host" = "${peer.host}" ] && echo '{"Username":"alice","Secret":"secret"}'\n`,
    );
    await chmod(helper, 0o755);

    const { code, stdout } = await command([`${peer.host}/team/app:1.0`, 'copies/back', '--json'], {
      env: { DOCKER_CONFIG: docker, PATH: `${docker}:${process.env['PATH']}` },
    });

    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ digest: manifest('index').digest, referrers: 1 });
    const { entries } = await target.listReferrers('copies/back', manifest('index').digest, { limit: 10 });
    expect(entries).toHaveLength(1);
  });
});

function manifest(name: keyof typeof content.manifests) {
  const found = pushed.manifests[name];
  if (found === undefined) throw new Error(name);
  return found;
}

function platformIndex(): Buffer {
  const child = (name: 'amd64' | 'arm64'): Descriptor => ({
    ...manifest(name).descriptor,
    platform: { os: 'linux', architecture: name },
  });
  const manifests = [child('amd64'), child('arm64')];
  return Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: mediaTypes.ociIndex, manifests }));
}

async function read(registry: RegistryClient, repository: string, digest: Digest): Promise<Buffer> {
  const { body } = await registry.getBlob(repository, digest);
  const chunks: Buffer[] = [];
  for await (const chunk of body as AsyncIterable<Buffer>) chunks.push(chunk);
  return Buffer.concat(chunks);
}

async function disposable<T extends { close(): Promise<void> }>(
  opening: Promise<T>,
): Promise<T & AsyncDisposable> {
  const opened = await opening;
  return { ...opened, [Symbol.asyncDispose]: () => opened.close() };
}
