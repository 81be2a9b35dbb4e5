import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import {
  createDockerEngine,
  type DockerEngine,
  removeUnusedImages,
} from '../../../builder/engines/docker.ts';
import { createSilentLogger } from '../../../core/log.ts';
import { digestOf } from '../../../oci/digest.ts';
import { mediaTypes } from '../../../oci/media-types.ts';
import { createStoredRegistry } from '../../../registry/stored-registry.ts';
import { startDockerd, type TestDockerd } from '../../helpers/dockerd.ts';
import { runOk } from '../../helpers/process.ts';
import { createBusyboxImage } from './docker-fixtures.ts';
import { commitFiles, createWork, type Farm, startFarm } from './farm-fixture.ts';
import { createWorkshop, git } from './git-fixture.ts';

let docker: TestDockerd;
let engine: DockerEngine;
let shop: Awaited<ReturnType<typeof createWorkshop>>;
let work: string;

beforeAll(async () => {
  docker = await startDockerd();
  shop = await createWorkshop();
  const registry = createStoredRegistry({ store: shop.store });
  const busybox = await createBusyboxImage();
  for (const blob of [busybox.config, ...busybox.layers])
    await registry.putBlob('baseimages/busybox', digestOf(blob), blob);
  await registry.putManifest('baseimages/busybox', 'latest', busybox.manifest, mediaTypes.ociManifest);
  const { socketPath: socket } = docker;
  const found = await createDockerEngine({
    socket,
    registry,
    log: createSilentLogger(),
    cacheDir: shop.path,
  });
  if (found === undefined) throw new Error(docker.output());
  engine = found;
  work = await createWork(join(shop.path, 'work'), { 'App.yaml': 'appname: app\n' });
});

afterAll(async () => {
  await engine?.close();
  await docker?.stop();
  await shop?.[Symbol.asyncDispose]();
});

/** A worker that has nothing on its disk but what the engine has. */
function worker(name: string, maxBytes = 1_000_000): Promise<Farm> {
  const dependencyCache = { maxBytes, unusedDays: 30 };
  const cacheDir = join(shop.path, name);
  return startFarm({ store: shop.store, cacheDir, sandbox: engine.sandbox, dependencyCache });
}

async function push(farm: Farm, files: Readonly<Record<string, string>>, ref = 'main'): Promise<string> {
  await commitFiles(work, files);
  const { stdout, stderr } = await git(work, 'push', '-f', `${farm.url}/git/team/app.git`, `HEAD:${ref}`);
  return (stdout + stderr).replaceAll(/ +\n/g, '\n');
}

/** Does what package managers do: fetches what is not there. */
const commands = [
  'mkdir -p ~/.npm/deep && ls -ln ~/.npm/deep; cat ~/.npm/deep/package 2>/dev/null || echo fetching',
  'cat package-lock.json >> ~/.npm/deep/package',
  'mkfifo ~/.npm/deep/pipe || true; touch ~/elsewhere',
];
const appYaml = (more = '', then = 'true'): string =>
  `appname: app\nbase: busybox:latest\nbuild:\n  network: none\n  commands: ${JSON.stringify([...commands, then])}\n${more}entrypoints:\n  web:\n    cmd: cat\n`;

it('what one worker has fetched is there on the next one, and a branch adds to a cache of its own', async () => {
  await using first = await worker('first');
  await using second = await worker('second');

  const cold = await push(first, { 'App.yaml': appYaml(), 'package-lock.json': 'one' });
  const warm = await push(second, { 'README.md': 'changed' });

  expect(cold).toMatch(/fetching\n[^]*cache saved \d+ B \(npm\)/);
  expect(warm).toMatch(/cache restored \d+ B \(npm\) [\d.]+ m?s\n/);
  expect(warm).toMatch(/-rw-r--r-- +1 10001 +10001 +3 .* package/);
  expect(warm).toMatch(/│ one\n/);
  expect(warm).not.toContain('cache saved');

  const changed = await push(second, { 'package-lock.json': 'two' }, 'feature');
  const again = await push(first, { 'README.md': 'again' }, 'feature');
  const main = await push(first, { 'README.md': 'merged' });

  expect(changed).toMatch(/cache restored \d+ B \(npm, of other lockfiles\)[^]*│ one\n[^]*cache saved/);
  expect(again).toMatch(/cache restored \d+ B \(npm\)[^]*│ onetwo\n/);
  // Row 24: what the branch has kept is not what the default branch gets.
  expect(main).toMatch(/of other lockfiles\)[^]*│ one\n/);
});

it('a build that fails, or wants none, keeps nothing; one that is too large says so and succeeds', async () => {
  await using farm = await worker('third');
  const big = 'dd if=/dev/zero of=$HOME/.npm/big bs=1M count=2 2>/dev/null';

  const failed = await push(farm, { 'App.yaml': appYaml('', 'false'), 'package-lock.json': 'three' });
  const without = await push(farm, { 'App.yaml': appYaml('  cache: false\n') });
  const large = await push(farm, { 'App.yaml': appYaml('', big) });
  const own = await push(farm, { 'App.yaml': appYaml('  cache: [~/elsewhere, ~/.npm/deep]\n') });

  expect(failed).toContain('build command 4 of 4 ended with exit code 1');
  expect(failed).not.toContain('cache saved');
  expect(without).toMatch(/fetching\n[^]*✓ image/);
  expect(without).not.toMatch(/cache (?:saved|restored)/);
  expect(large).toMatch(/the cache \(npm\) is not kept: it has more than 1000000 bytes[^]*✓ image/);
  expect(own).toMatch(/fetching\n[^]*cache saved \d+ B \(own\)/);
});

it('a folder of the workspace can be kept as well, but none that is in the source', async () => {
  await using first = await worker('fourth');
  await using second = await worker('fifth');
  const yaml = (path: string): string =>
    `appname: app\nbase: busybox:latest\nbuild:\n  network: none\n  cache: [${path}]\n` +
    '  commands: ["mkdir -p modules/a; cat modules/a/index.js || echo none; echo made > modules/a/index.js"]\n' +
    'entrypoints:\n  web:\n    cmd: cat\n';

  const cold = await push(first, { 'App.yaml': yaml('modules'), 'package-lock.json': 'four' });
  const warm = await push(second, { 'README.md': 'fourth' });
  const refused = await push(second, { 'App.yaml': yaml('src'), 'src/a.js': 'of the source' });

  expect(cold).toMatch(/none\n[^]*cache saved \d+ B \(workspace\)/);
  expect(warm).toMatch(/cache restored \d+ B \(workspace\)[^]*│ made\n[^]*✓ tags/);
  expect(refused).toContain(
    'build.cache: src cannot be kept from build to build, as src/a.js is in the source',
  );
});

it('a base image that no build uses any more leaves the engine, and comes back when one needs it', async () => {
  await using farm = await worker('images');
  await push(farm, { 'App.yaml': appYaml(), 'package-lock.json': 'images' });
  const removal = { socket: docker.socketPath, cacheDir: shop.path };
  const images = (): Promise<string> =>
    runOk('docker', ['image', 'ls', '--quiet', 'localhost/brickyard-base'], docker);

  expect(await removeUnusedImages({ ...removal, before: Date.now() - 60 * 60 * 1000 })).toBe(0);
  expect(await images()).not.toBe('');
  expect(await removeUnusedImages({ ...removal, before: Date.now() + 60_000 })).toBe(1);
  expect(await images()).toBe('');
  expect(await removeUnusedImages({ ...removal, before: Date.now() + 60_000 })).toBe(0);

  const again = await push(farm, { 'App.yaml': appYaml(), 'package-lock.json': 'images again' });

  expect(again).toContain('loading base image');
  expect(again).toContain('✓ tags');
});

it('a large cache is laid out by the tar of the base image, with its modes and links', async () => {
  await using farm = await worker('large', 50_000_000);
  const yaml =
    'appname: app\nbase: busybox:latest\nbuild:\n  network: none\n  cache: [large]\n' +
    '  commands: ["mkdir -p large; cat large/* | wc -c; ls -ln large; umask 0; dd if=/dev/urandom of=large/file bs=1M count=4; ln -sf file large/link"]\n' +
    'entrypoints:\n  web:\n    cmd: cat\n';
  const cold = await push(farm, { 'App.yaml': yaml, 'package-lock.json': 'large' });
  const since = await engineTime();

  const warm = await push(farm, { 'README.md': 'large' });

  expect(cold).toMatch(/│ 0\n[^]*cache saved 4\.\d MB \(workspace\)/);
  expect(warm).toMatch(/cache restored 4\.\d MB \(workspace\)[^]*│ 8388608\n/);
  expect(warm).toMatch(/-rw-rw-rw- +1 10001 +10001 +4194304 .* file\n[^]*link -> file/);
  const ends = ['--filter', 'type=container', '--filter', 'event=die', '--format', '{{.ID}}'];
  const until = await engineTime();
  const ended = await runOk('docker', ['events', '--since', since, '--until', until, ...ends], docker);
  // The tar's container, and the build's.
  expect(ended.trim().split('\n')).toHaveLength(2);
});

/** As the engine's events count it. */
async function engineTime(): Promise<string> {
  return (await runOk('docker', ['info', '--format', '{{.SystemTime}}'], docker)).trim();
}
