import { readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { createRegistryClient } from '../../oci/client.ts';
import { digestOf } from '../../oci/digest.ts';
import { mediaTypes } from '../../oci/media-types.ts';
import { copyCheckout, startFarm, type TestFarm } from '../helpers/farm.ts';
import { createImage } from '../helpers/image.ts';
import { type NpmPackages, serveNpmPackages } from '../helpers/npm-packages.ts';
import { run, runOk } from '../helpers/process.ts';

const root = resolve(import.meta.dirname, '../..');
let farm: TestFarm;
let packages: NpmPackages;

beforeAll(async () => {
  farm = await startFarm();
  const bridge = ['network', 'inspect', 'bridge', '--format={{(index .IPAM.Config 0).Gateway}}'];
  const address = (await farm.docker(...bridge)).trim();
  [packages] = await Promise.all([serveNpmPackages(root, address), farm.buildBases('nodejs-git')]);
});

afterAll(async () => {
  await packages?.close();
  await farm?.close();
});

it('this repository, pushed with git, becomes an image of the program itself, which serves a registry and git', async () => {
  await copyCheckout(root, farm.sourceOf('tools/brickyard'));
  const npmrc = await readFile(join(root, '.npmrc'), 'utf8');

  const pushed = await farm.push('tools/brickyard', { '.npmrc': `${npmrc}registry=${packages.url}\n` });

  expect(pushed).toContain('tools/brickyard-server:main');
  const image = farm.image('tools/brickyard-server');

  const volume = '--volume=own-image-data:/home/brickyard-server/data';
  const server = await farm.start({
    image,
    port: 5000,
    options: ['--read-only', '--tmpfs=/tmp', volume],
    args: ['server', '--insecure-open'],
  });
  await server.text('/healthz');
  const base = await createImage([[{ type: 'directory', path: 'etc', mode: 0o755, uid: 0, gid: 0 }]], {});
  const registry = createRegistryClient({ url: await server.url() });
  for (const blob of [base.config, ...base.layers]) await registry.putBlob('team/any', digestOf(blob), blob);
  await registry.putManifest('team/any', 'latest', base.manifest, mediaTypes.ociManifest);
  registry.close();
  const source = farm.sourceOf('team/other');
  await farm.push('team/other', { 'README.md': 'no App.yaml\n' }).catch(() => {});
  const gitPush = await run('git', [
    '-C',
    source,
    'push',
    `${await server.url()}/git/team/other.git`,
    'main',
  ]);
  expect(gitPush.stderr).toContain('no App.yaml: add one');
  expect(gitPush.stderr).toContain('[new branch]');

  await farm.docker('restart', server.id);
  expect(await server.text('/v2/team/any/manifests/latest')).toBe(base.manifest.toString());
  expect(await runOk('git', ['ls-remote', `${await server.url()}/git/team/other.git`])).toContain(
    'refs/heads/main',
  );
  expect(await server.stop()).toBe('0');
  // Without accounts it listens nowhere but on loopback, which in a container is nowhere.
  const refused = await run('docker', ['run', '--rm', image], { env: farm.dockerd.env });
  expect(refused.code).not.toBe(0);
  expect(refused.stderr).toContain('--insecure-open');
  // Neither tests nor what they need.
  const listed = await farm.docker('run', '--rm', image, 'ls', '-a', '.', 'node_modules');
  expect(listed.split('\n')).toEqual(expect.arrayContaining(['bin', 'fastify', 'registry']));
  expect(listed).not.toMatch(/^(?:test|docs|vitest|typescript|\.git)$/m);
});
