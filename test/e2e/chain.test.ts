import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createRegistryClient, type RegistryClient } from '../../oci/client.ts';
import { digestOf } from '../../oci/digest.ts';
import { parseManifest } from '../../oci/manifest.ts';
import { mediaTypes } from '../../oci/media-types.ts';
import { brickyard } from '../helpers/brickyard-command.ts';
import { copyCheckout, startFarm, type TestFarm, writeFiles } from '../helpers/farm.ts';
import { createImage } from '../helpers/image.ts';
import { type NpmPackages, serveNpmPackages } from '../helpers/npm-packages.ts';
import { run, runOk } from '../helpers/process.ts';
import {
  eruCurrent,
  eruFirst,
  eruSecond,
  nodeApp,
  nodeAppThatFails,
  nodeAppWithBuild,
  nodeRelease,
  pythonApp,
  servletApp,
} from './chain-apps.ts';

const root = resolve(import.meta.dirname, '../..');
let farm: TestFarm;
let packages: NpmPackages;

beforeAll(async () => {
  farm = await startFarm(async ({ env }) => {
    // The builds' proxy reaches it there; builds themselves have a loopback of their own.
    const bridge = ['network', 'inspect', 'bridge', '--format={{(index .IPAM.Config 0).Gateway}}'];
    packages = await serveNpmPackages(root, (await runOk('docker', bridge, { env })).trim());
    return {
      BRICKYARD_BUILDER_DEFAULT_BASE: 'python:3.11',
      BRICKYARD_BUILDER_SANDBOX_MIRRORS_NPM: packages.url,
    };
  });
  await farm.buildBases('nodejs-git', 'resin', 'tomcat', 'python');
  // Six levels; a minute where nothing else runs.
}, 600_000);

afterAll(async () => {
  await packages?.close();
  await farm?.close();
});

it('this repository, pushed with git, becomes an image of the program itself, which serves a registry and git', async () => {
  await copyCheckout(root, farm.sourceOf('tools/brickyard'));

  const pushed = await farm.push('tools/brickyard');

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

it('a Node app pushed with git runs in Docker, each role of it from the same image', async () => {
  const pushed = await farm.push('shop/hello', nodeApp);

  expect(pushed).toContain('shop/hello:main');
  const image = farm.image('shop/hello');
  const web = await farm.start({ image, port: 8080, args: ['web'] });
  expect(JSON.parse(await web.text('/'))).toEqual({
    greeting: 'hello from the web role',
    app: 'hello',
    uid: 10001,
    made: '',
    source: '',
  });
  expect(await web.stop()).toBe('0');
  expect(await farm.docker('run', '--rm', image, 'worker')).toBe('worker of hello --queue mail\n');
  // Without an argument the first role runs; the root may be read-only.
  const first = await farm.start({ image, port: 8080, options: ['--read-only'] });
  expect(JSON.parse(await first.text('/'))).toMatchObject({ greeting: 'hello from the web role' });
  await first.stop();
});

it('build commands run in the engine and only their declared outputs join the app', async () => {
  const pushed = await farm.push('shop/hello', nodeAppWithBuild);

  expect(pushed).toMatch(/building with v26/);
  const web = await farm.start({ image: farm.image('shop/hello'), port: 8080 });
  expect(JSON.parse(await web.text('/'))).toMatchObject({ made: 'MADE BY THE BUILD', source: '' });
  await web.stop();
});

it('a failing build command is reported in the push and the image stays as it was', async () => {
  const before = await digestOfMain('shop/hello');

  const pushed = await farm.push('shop/hello', nodeAppThatFails);

  expect(pushed).toContain('about to fail');
  expect(pushed).toContain('build command 1 of 1 ended with exit code 3');
  expect(await digestOfMain('shop/hello')).toBe(before);
});

it('base, Java 17, Resin 4 and a WAR that is pushed as source become one image, which answers HTTP', async () => {
  const pushed = await farm.push(
    'team/shop',
    servletApp({
      appname: 'shop',
      base: 'resin:4',
      command: 'resin console',
      namespace: 'javax',
      api: '/opt/resin/lib/javaee-16.jar',
      outputs: '{ shop.war: /home/shop/webapps/ROOT.war }',
    }),
  );

  expect(pushed).toContain('team/shop:main');
  const image = farm.image('team/shop');
  const server = await farm.start({ image, port: 8080, options: ['--read-only', '--tmpfs=/tmp'] });
  expect(await server.text('/hello')).toMatch(/^Resin\/4\.0\.66 on Java 17\.[\d.]+ for shop$/);
  expect(await server.text('/sum.jsp')).toBe('the sum is 42');
  expect(await server.stop()).toBe('0');
  expect(await layersOf('team/shop', 'main')).toEqual([
    ...(await layersOf('baseimages/resin', '4')),
    expect.anything(),
  ]);
  expect(await layersOf('baseimages/resin', '4')).toHaveLength(3);
  expect(await packagesOf(image)).toEqual(expect.arrayContaining(['openjdk-17-jre-headless', 'tini']));
});

it('a web application for Tomcat 10 lies unpacked in its image and answers HTTP', async () => {
  const pushed = await farm.push(
    'team/store',
    servletApp({
      appname: 'store',
      base: 'tomcat:10',
      command: 'tomcat run',
      namespace: 'jakarta',
      api: '/opt/tomcat/lib/servlet-api.jar',
      outputs: '{ web: /home/store/webapps/ROOT }',
    }),
  );

  expect(pushed).toContain('team/store:main');
  const image = farm.image('team/store');
  const server = await farm.start({ image, port: 8080, options: ['--read-only', '--tmpfs=/tmp'] });
  expect(await server.text('/hello')).toMatch(/^Apache Tomcat\/10\.1\.59 on Java 17\.[\d.]+ for store$/);
  expect(await server.text('/sum.jsp')).toBe('the sum is 42');
  await server.stop();
  // Up to Java both servers are the same layers.
  expect((await layersOf('team/store', 'main')).slice(0, 2)).toEqual(
    (await layersOf('team/shop', 'main')).slice(0, 2),
  );
});

it('a Python application is tested, then built and run', async () => {
  const pushed = await farm.push('team/answers', pythonApp);

  expect(pushed).toContain('Ran 1 test');
  const image = farm.image('team/answers');
  const server = await farm.start({ image, port: 8080 });
  const answer = { path: '/x', arguments: ['8080'], app: 'answers', uid: 10001, python: '3.11' };
  expect(JSON.parse(await server.text('/x'))).toEqual(answer);
  await server.stop();
  expect(await packagesOf(image)).toContain('python3.11-minimal');
});

it('a release archive without App.yaml becomes an image', async () => {
  const folder = join(farm.directory.path, 'release');
  await writeFiles(folder, nodeRelease);
  await runOk('tar', ['-czf', 'release-1.4.tgz', 'release-1.4'], { cwd: folder });

  const built = await brickyard(['build', join(folder, 'release-1.4.tgz'), '--repository', 'team/release'], {
    home: farm.directory.path,
    server: farm.server.url,
  });

  expect(built, built.stderr).toMatchObject({ code: 0 });
  const server = await farm.start({ image: farm.image('team/release', '1.4'), port: 8080 });
  expect(await server.text('/')).toBe('release release');
  expect(await server.stop()).toBe('0');
});

describe("files in Eru's formats are built as they stand:", () => {
  it('the first, whose base the server names', async () => {
    const pushed = await farm.push('team/testapp', eruFirst);

    expect(pushed).toContain('team/testapp:main');
    const image = farm.image('team/testapp');
    const server = await farm.start({ image, port: 5000 });
    const answer = { app: 'testapp', arguments: ['-b', '127.0.0.1:5000'], uid: 10001 };
    expect(JSON.parse(await server.text('/'))).toMatchObject(answer);
    await server.stop();
    expect(await farm.docker('run', '--rm', image, 'daemon')).toBe('daemon --interval 5\n');
  });

  it('the second, with its health check and what is for the scheduler in the labels', async () => {
    const pushed = await farm.push('team/test-ci', eruSecond);

    expect(pushed).toContain('team/test-ci:main');
    const image = farm.image('team/test-ci');
    const server = await farm.start({ image, port: 5000 });
    expect(JSON.parse(await server.text('/healthcheck'))).toMatchObject({
      app: 'test-ci',
      arguments: ['5000'],
    });
    await server.stop();
    expect(await farm.docker('run', '--rm', image, 'none')).toBe('foo\n');
    const labels = JSON.parse(
      await farm.docker('inspect', '--format={{json .Config.Labels}}', image),
    ) as Labels;
    expect(JSON.parse(labels['org.brickyard.deploy'] ?? '')).toMatchObject({ combos: { test: { cpu: 1 } } });
    expect(JSON.parse(labels['org.brickyard.roles'] ?? '')).toMatchObject({
      web: { healthcheck: { url: '/healthcheck', code: 200 } },
      test: { hooks: { beforeStop: ['sh before_stop'] } },
    });
  });

  it('the current one, whose stages hand on what they made', async () => {
    const pushed = await farm.push('team/core', eruCurrent);

    expect(pushed).toContain('team/eru:main');
    const image = farm.image('team/eru');
    const server = await farm.start({ image, port: 5001 });
    expect(JSON.parse(await server.text('/'))).toMatchObject({
      app: 'eru',
      arguments: ['--config', '/core.yaml', '5001'],
    });
    await server.stop();
    expect(await farm.docker('run', '--rm', image, 'sh', '-c', 'echo $CORE_IN_DOCKER; ls')).toBe(
      '1\neru-core\n',
    );
  });
});

type Labels = Readonly<Record<string, string | undefined>>;

async function layersOf(repository: string, tag: string): Promise<string[]> {
  return withRegistry(async (registry) => {
    const { bytes, descriptor } = await registry.getManifest(repository, tag);
    return parseManifest(bytes, descriptor.mediaType).layers.map(({ digest }) => digest);
  });
}

async function digestOfMain(repository: string): Promise<string> {
  return withRegistry(async (registry) => (await registry.resolveManifest(repository, 'main')).digest);
}

async function withRegistry<T>(use: (registry: RegistryClient) => Promise<T>): Promise<T> {
  const registry = createRegistryClient({ url: farm.server.url });
  try {
    return await use(registry);
  } finally {
    registry.close();
  }
}

/** What dpkg, and so every scanner, says that is installed. */
async function packagesOf(image: string): Promise<string[]> {
  const listed = await farm.docker('run', '--rm', image, 'dpkg-query', '--show', '--showformat=${Package}\n');
  return listed.trim().split('\n');
}
