import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { buildBaseImages } from '../../builder/catalog/build-base-images.ts';
import { createRegistryClient } from '../../oci/client.ts';
import { startDockerd, type TestDockerd } from '../helpers/dockerd.ts';
import { runOk, waitFor } from '../helpers/process.ts';
import { startServer, type TestServer } from '../helpers/server.ts';
import { createTempDirectory, type TempDirectory } from '../helpers/temp.ts';

let dockerd: TestDockerd;
let server: TestServer;
let directory: TempDirectory;
let image: string;

beforeAll(async () => {
  directory = await createTempDirectory('app');
  dockerd = await startDockerd();
  server = await startServer({ env: { BRICKYARD_BUILDER_ENGINE: dockerd.socketPath } });
  image = `${server.host}/shop/hello`;
  const registry = createRegistryClient({ url: server.url });
  try {
    await buildBaseImages({
      catalogDir: resolve(import.meta.dirname, '../../baseimages'),
      names: ['nodejs'],
      registry,
      cacheDir: join(directory.path, 'cache'),
    });
  } finally {
    registry.close();
  }
  await git('init', '--quiet', '--initial-branch=main');
});

afterAll(async () => {
  await server?.remove();
  await dockerd?.stop();
  await directory?.remove();
});

const appYaml = `appname: hello
base: nodejs:26
entrypoints:
  web:
    cmd: node web.js
    ports: ["8080/http"]
    env: { GREETING: "hello from the web role" }
  worker:
    cmd: node worker.js --queue mail
`;

const webJs = `import { createServer } from 'node:http';
import { readFileSync } from 'node:fs';
const text = (name) => { try { return readFileSync(name, 'utf8'); } catch { return ''; } };
const server = createServer((request, response) => response.end(JSON.stringify({
  greeting: process.env.GREETING, app: process.env.APP_NAME, uid: process.getuid(), made: text('made.txt'), source: text('secret-source.txt'),
})));
server.listen(8080);
process.on('SIGTERM', () => server.close(() => process.exit(0)));
`;

it('a Node app pushed with git runs in Docker, each role of it from the same image', async () => {
  const pushed = await commitAndPush({
    'App.yaml': appYaml,
    'package.json': '{"type":"module"}\n',
    'web.js': webJs,
    'worker.js': "console.log('worker of', process.env.APP_NAME, process.argv.slice(2).join(' '));\n",
  });

  expect(pushed).toContain('shop/hello:main');
  const web = await startWeb('web');
  expect(await web.answer()).toEqual({
    greeting: 'hello from the web role',
    app: 'hello',
    uid: 10001,
    made: '',
    source: '',
  });
  expect(await web.stop()).toBe('0');
  expect(await docker('run', '--rm', `${image}:main`, 'worker')).toBe('worker of hello --queue mail\n');
  // Without an argument the first role runs; the root may be read-only.
  const first = await startWeb('--read-only');
  expect(await first.answer()).toMatchObject({ greeting: 'hello from the web role' });
  await first.stop();
});

it('build commands run in the engine and only their declared outputs join the app', async () => {
  const pushed = await commitAndPush({
    'App.yaml': `${appYaml}source: { exclude: [secret-source.txt] }
build:
  commands:
    - node -e "console.log('building with', process.version)"
    - node -e "require('fs').writeFileSync('made.txt', require('fs').readFileSync('secret-source.txt', 'utf8').toUpperCase())"
  outputs: { made.txt: /home/hello/made.txt }
`,
    'secret-source.txt': 'made by the build',
  });

  expect(pushed).toMatch(/building with v26/);
  const web = await startWeb('web');
  expect(await web.answer()).toMatchObject({ made: 'MADE BY THE BUILD', source: '' });
  await web.stop();
});

it('a failing build command is reported in the push and the image stays as it was', async () => {
  const before = await digestOfMain();

  const pushed = await commitAndPush({
    'App.yaml': `${appYaml}build: ["echo about to fail; exit 3"]\n`,
  });

  expect(pushed).toContain('about to fail');
  expect(pushed).toContain('build command 1 of 1 ended with exit code 3');
  expect(await digestOfMain()).toBe(before);
});

async function commitAndPush(files: Readonly<Record<string, string>>): Promise<string> {
  for (const [name, content] of Object.entries(files)) {
    const path = join(directory.path, 'source', name);
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, content);
  }
  await git('add', '--all');
  await git('commit', '--quiet', '--message=change');
  return git('push', `${server.url}/git/shop/hello.git`, 'main');
}

/** Returns what git says on both outputs: the build's log comes on standard error. */
async function git(...args: string[]): Promise<string> {
  const source = join(directory.path, 'source');
  await mkdir(source, { recursive: true });
  const identity = ['-c', 'user.name=Test', '-c', 'user.email=test@localhost'];
  return runOk('sh', ['-c', 'exec git "$@" 2>&1', 'git', ...identity, ...args], { cwd: source });
}

function docker(...args: string[]): Promise<string> {
  return runOk('docker', args, { env: dockerd.env });
}

async function startWeb(argument: string): Promise<{ answer(): Promise<unknown>; stop(): Promise<string> }> {
  await docker('pull', '--quiet', `${image}:main`);
  const options = argument.startsWith('--') ? [argument] : [];
  const roles = options.length === 0 ? [argument] : [];
  const run = ['run', '--detach', '--publish=127.0.0.1::8080', ...options, `${image}:main`, ...roles];
  const id = (await docker(...run)).trim();
  const address = (await docker('port', id, '8080')).trim();
  const fetched = await waitFor(
    async () => {
      try {
        return await (await fetch(`http://${address}/`)).json();
      } catch {
        return undefined;
      }
    },
    { what: 'the app in its container' },
  ).catch(async (error: unknown) => {
    throw new Error(`${String(error)}\n${await docker('logs', id)}`);
  });
  return {
    answer: async () => fetched,
    async stop() {
      await docker('stop', '--time=10', id);
      const code = (await docker('inspect', '--format={{.State.ExitCode}}', id)).trim();
      await docker('rm', id);
      return code;
    },
  };
}

async function digestOfMain(): Promise<string | null> {
  const accept = 'application/vnd.oci.image.manifest.v1+json';
  const answer = await fetch(`${server.url}/v2/shop/hello/manifests/main`, {
    method: 'HEAD',
    headers: { accept },
  });
  return answer.headers.get('docker-content-digest');
}
