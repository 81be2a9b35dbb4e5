import { afterAll, beforeAll, expect, it } from 'vitest';
import { createRegistryClient, type RegistryClient } from '../../oci/client.ts';
import { digestOf } from '../../oci/digest.ts';
import { mediaTypes } from '../../oci/media-types.ts';
import { brickyard, type CommandOutcome } from '../helpers/brickyard-command.ts';
import { startFarm, type TestFarm } from '../helpers/farm.ts';
import { run } from '../helpers/process.ts';
import { createBusyboxImage } from '../integration/builder/docker-fixtures.ts';

const rules = [{ repositories: 'shop/**', tags: 'prod*', require: 'tests', from: 'main' }];
const appOf = (test: string): string =>
  `appname: web\nbase: busybox:1\n${test}entrypoints:\n  web:\n    cmd: cat greeting\n`;
const withTests = appOf('test:\n  commands: [grep -q hello greeting]\n');

let farm: TestFarm;
let registry: RegistryClient;

beforeAll(async () => {
  farm = await startFarm({ BRICKYARD_REGISTRY_PROMOTION: JSON.stringify(rules) });
  registry = createRegistryClient({ url: farm.server.url });
  const base = await createBusyboxImage();
  for (const blob of [base.config, ...base.layers])
    await registry.putBlob('baseimages/busybox', digestOf(blob), blob);
  await registry.putManifest('baseimages/busybox', '1', base.manifest, mediaTypes.ociManifest);
}, 120_000);

afterAll(async () => {
  registry?.close();
  await farm?.close();
});

const command = (...args: string[]): Promise<CommandOutcome> =>
  brickyard(args, { home: farm.directory.path, server: farm.server.url });
const digestIn = async (tag: string): Promise<string> =>
  (await registry.resolveManifest('shop/web', tag)).digest;

it('what ran in pre-release is what ships, digest for digest, and nothing else gets there', async () => {
  const untested = await farm.push('shop/web', { 'App.yaml': appOf(''), greeting: 'hello\n' });
  expect(untested).toContain('built in');
  const refused = await command('images', 'promote', 'shop/web:main', 'prod');
  expect(refused.stderr).toContain('write test: in App.yaml and build again');
  expect(refused.code).toBe(1);

  expect(await farm.push('shop/web', { 'App.yaml': withTests })).toContain('✓ test');
  const digest = await digestIn('main');
  await farm.docker('pull', '--quiet', farm.image('shop/web', 'main'));
  const cat = ['run', '--rm', '--entrypoint=/bin/cat', farm.image('shop/web', 'main'), 'greeting'];
  expect(await farm.docker(...cat)).toBe('hello\n');
  const promoted = await command('images', 'promote', 'shop/web:main', 'prod');

  expect(promoted.stdout).toBe(`${digest}\n`);
  expect(promoted.stderr).toContain('tests passed');
  const pulled = await farm.docker('pull', farm.image('shop/web', 'prod'));
  expect(pulled).toContain(`Digest: ${digest}`);

  // The next commit's tests fail, so there is nothing to promote; a push goes around nothing.
  expect(await farm.push('shop/web', { greeting: 'good bye\n' }).catch(String)).toContain('✗');
  expect(await digestIn('main')).toBe(digest);
  const changed = (await farm.docker('create', farm.image('shop/web', 'main'))).trim();
  await farm.docker('commit', changed, farm.image('shop/web', 'prod'));
  const pushed = await run('docker', ['push', farm.image('shop/web', 'prod')], { env: farm.dockerd.env });
  expect(pushed.stderr + pushed.stdout).toContain('brickyard images promote shop/web@');
  expect(pushed.code).not.toBe(0);
  expect(await digestIn('prod')).toBe(digest);

  const shown = await command('images', 'inspect', 'shop/web:prod');
  expect(shown.stdout).toMatch(/build {8}\S+ {2}refs\/heads\/main, tests passed/);
  expect(shown.stdout).toMatch(/promoted {5}prod .* by anonymous, from shop\/web:main/);
});

it('a branch with the name of a protected tag is built, and leaves the tag alone', async () => {
  const before = await digestIn('prod');
  await farm.push('shop/web', { 'App.yaml': withTests, greeting: 'hello again\n' });
  const source = farm.sourceOf('shop/web');

  const { stderr } = await run(
    'git',
    ['push', '--force', `${farm.server.url}/git/shop/web.git`, 'main:prod'],
    {
      cwd: source,
    },
  );

  expect(stderr).toContain('prod is left alone: "brickyard images promote" sets it');
  expect(await digestIn('prod')).toBe(before);
});
