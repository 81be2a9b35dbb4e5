import { readFile, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { startDockerd, type TestDockerd } from '../helpers/dockerd.ts';
import { writeFiles } from '../helpers/farm.ts';
import { freePort } from '../helpers/free-port.ts';
import { type NpmPackages, serveNpmPackages } from '../helpers/npm-packages.ts';
import { run, runOk, waitFor } from '../helpers/process.ts';
import { createTempDirectory, type TempDirectory } from '../helpers/temp.ts';

const root = resolve(import.meta.dirname, '../..');
let dockerd: TestDockerd;
let directory: TempDirectory;
let packages: NpmPackages;
let registry: string;
let pool: string;
let env: Record<string, string>;

const folder = (): string => join(directory.path, 'installation');
const docker = (...args: string[]): Promise<string> => runOk('docker', args, { env });
const compose = (...args: string[]): Promise<string> =>
  runOk('docker-compose', args, { env, cwd: folder(), timeoutMs: 240_000 });
const script = (...args: string[]): Promise<string> =>
  runOk(process.execPath, [join(root, 'scripts/compose.ts'), ...args], { env, timeoutMs: 900_000 });

async function login(host: string): Promise<void> {
  const password = await readFile(join(folder(), 'secrets/admin-password'), 'utf8');
  const options = ['login', '--username=admin', '--password-stdin', host];
  // After a restart of everything the pool learns within seconds that the registry is there again.
  let said = '';
  await waitFor(
    async () => {
      const { code, stderr } = await run('docker', options, { env, input: password });
      said = stderr;
      return code === 0;
    },
    {
      what: `a login to ${host}`,
      timeoutMs: 60_000,
      gaveUp: () => (said.includes('503') ? undefined : said),
    },
  );
}

beforeAll(async () => {
  directory = await createTempDirectory('deploy');
  dockerd = await startDockerd();
  env = { ...dockerd.env };
  // The proxy of builds reaches it there; builds themselves have a loopback of their own.
  const bridge = ['network', 'inspect', 'bridge', '--format={{(index .IPAM.Config 0).Gateway}}'];
  packages = await serveNpmPackages(root, (await docker(...bridge)).trim());
  env['BRICKYARD_BUILDER_SANDBOX_MIRRORS_NPM'] = packages.url;
  registry = `127.0.0.1:${await freePort()}`;
  pool = `127.0.0.1:${await freePort()}`;
  // Nothing but what a machine with Docker and Debian's packages has.
  await script('up', folder(), '--bind', registry, '--pool-bind', pool);
}, 900_000);

afterAll(async () => {
  if (dockerd !== undefined)
    await run(process.execPath, [join(root, 'scripts/compose.ts'), 'down', folder(), '--volumes'], { env });
  await packages?.close();
  await dockerd?.stop();
  await directory?.remove();
});

it('docker push puts an image there, which survives the end of every container', async () => {
  await writeFile(join(directory.path, 'Dockerfile'), 'FROM scratch\nCOPY greeting /\nCMD ["/greeting"]\n');
  await writeFile(join(directory.path, 'greeting'), 'from docker push\n');
  await docker('build', '--quiet', '--tag', `${registry}/team/pushed:1`, directory.path);
  await login(registry);

  await docker('push', `${registry}/team/pushed:1`);

  await script('down', folder());
  expect(await docker('ps', '--all', '--quiet')).toBe('');
  await docker('rmi', `${registry}/team/pushed:1`);
  // From here on it is plain compose.
  await compose('up', '--detach');
  await docker('pull', '--quiet', `${registry}/team/pushed:1`);
  const made = (await docker('create', `${registry}/team/pushed:1`)).trim();
  expect(await docker('cp', `${made}:/greeting`, '-')).toContain('from docker push\n');
  await docker('rm', made);
});

/** Its command runs in the engine whose socket the worker has. */
const app = `appname: hello
base: nodejs:26
build:
  network: none
  commands:
    - echo 'console.log("from git push");' >hello.js
  outputs: {hello.js: /home/hello/hello.js}
entrypoints:
  web: {cmd: node hello.js}
`;

it('git push builds an image on the worker, which a node pulls through the pool', async () => {
  const source = join(directory.path, 'hello');
  await writeFiles(source, { 'App.yaml': app });
  const password = (await readFile(join(folder(), 'secrets/admin-password'), 'utf8')).trim();
  const git = (...args: string[]): Promise<string> =>
    runOk(
      'sh',
      ['-c', 'exec git "$@" 2>&1', 'git', '-c', 'user.name=Test', '-c', 'user.email=test@localhost', ...args],
      { cwd: source, timeoutMs: 280_000 },
    );
  await git('init', '--quiet', '--initial-branch=main');
  await git('add', '--all');
  await git('commit', '--quiet', '--message=hello');

  const pushed = await git('push', `http://admin:${password}@${registry}/git/team/hello.git`, 'main');

  expect(pushed).toContain(`${registry}/team/hello:main`);
  await login(pool);
  const image = `${pool}/team/hello:main`;
  await docker('pull', '--quiet', image);
  expect(await docker('run', '--rm', image)).toBe('from git push\n');
  // Somebody who may not is told so there, too.
  await docker('logout', pool);
  const refused = await run('docker', ['pull', `${pool}/team/pushed:1`], { env });
  expect(refused.code).not.toBe(0);
});

it('every container runs without root, without capabilities, and on a file system that it cannot write to', async () => {
  const ids = (await compose('ps', '--quiet')).trim().split('\n');
  const format =
    '{{.Name}} {{.Config.User}} {{.HostConfig.ReadonlyRootfs}} {{.HostConfig.CapDrop}} {{gt .HostConfig.Memory 0}}';
  const told = (await docker('inspect', `--format=${format}`, ...ids)).trim().split('\n');

  expect(told.length).toBeGreaterThanOrEqual(7);
  for (const line of told) expect(line).toMatch(/^\S+ (?:app|10001(?::10001)?) true \[ALL\] true$/);
});
