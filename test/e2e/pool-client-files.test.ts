import { mkdir, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Finding } from '../../cli/commands/doctor.ts';
import { digestOf } from '../../oci/digest.ts';
import { mediaTypes } from '../../oci/media-types.ts';
import { type AccountOrigin, accountPassword, startAccountOrigin } from '../helpers/account-origin.ts';
import { brickyard } from '../helpers/brickyard-command.ts';
import { startContainerd, type TestContainerd } from '../helpers/containerd.ts';
import { freePort } from '../helpers/free-port.ts';
import { createImage } from '../helpers/image.ts';
import { type RunningProcess, run, startProcess, waitFor } from '../helpers/process.ts';
import { createTempDirectory, type TempDirectory } from '../helpers/temp.ts';

const program = resolve(import.meta.dirname, '../../bin/brickyard.js');

let home: TempDirectory;
let origin: AccountOrigin;
let pool: RunningProcess;
let poolHost: string;
/** As nodes call it: by the registry's own name. */
let image: string;

beforeAll(async () => {
  home = await createTempDirectory('nodes');
  origin = await startAccountOrigin();
  const made = await createImage(
    [[{ type: 'file', path: 'hello', mode: 0o644, content: Buffer.from('hello'), uid: 0, gid: 0 }]],
    { Cmd: ['/hello'] },
  );
  for (const blob of [made.config, ...made.layers]) {
    await origin.registry.putBlob('team/app', digestOf(blob), blob);
  }
  await origin.registry.putManifest('team/app', 'v1', made.manifest, mediaTypes.ociManifest);
  image = `${new URL(origin.url).host}/team/app:v1`;
  poolHost = `127.0.0.1:${await freePort()}`;
  await writeFile(join(home.path, 'account'), `pool:${accountPassword}\n`, { mode: 0o600 });
  await writeFile(
    join(home.path, 'pools.yaml'),
    [
      'pools:',
      '  - name: rack-1',
      `    listen: ${poolHost}`,
      '    engine: embedded',
      `    agent: { listen: 127.0.0.1:${await freePort()} }`,
      `    origin: { urls: ['${origin.url}'], credential: 'file:account' }`,
      '    cache: { maxSize: 1g, minFree: 1m }',
      '',
    ].join('\n'),
  );
  pool = await startProcess(process.execPath, [program, 'serve', 'pool'], {
    cwd: home.path,
    env: { BRICKYARD_LOG_LEVEL: 'warn' },
  });
  await waitFor(() => pool.output().includes('is listening on'), {
    what: 'serve pool',
    gaveUp: () => (pool.child.exitCode === null ? undefined : pool.output()),
  });
  for (const folder of ['etc/containerd', 'etc/containers']) {
    await mkdir(join(home.path, 'node', folder), { recursive: true });
  }
  await command('pool', 'clients', 'rack-1', '--install', '--root', 'node');
});

afterAll(async () => {
  await pool?.stop('SIGTERM');
  await origin?.close();
  await home?.remove();
});

async function command(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await brickyard(args, { home: home.path });
  if (code !== 0) throw new Error(stderr);
  return stdout;
}

describe('nodes with the files that pool clients wrote', () => {
  it('containerd pulls a private image by the registry’s name through the pool, also while the registry is away', async () => {
    const containerd: TestContainerd = await startContainerd();
    const pull = async () => {
      await containerd.ctr('images', 'remove', '--sync', image);
      const hosts = join(home.path, 'node/etc/containerd/certs.d');
      return containerd.pull(image, hosts, '--user', `alice:${accountPassword}`);
    };
    try {
      // What it says beside is its own business: its progress is sometimes cut short with an error that is none.
      expect(await pull()).toMatchObject({ code: 0 });
      await origin.line.set('refused');

      expect(await pull()).toMatchObject({ code: 0 });
    } finally {
      await origin.line.set('none');
      await containerd.stop();
    }
  });

  it('doctor has Podman pull, and tells a pull through the pool from one that went past it in silence', async () => {
    const env = await podmanEnvironment();
    const originHost = new URL(origin.url).host;
    const login = (host: string) =>
      run('podman', ['login', '--tls-verify=false', '--username=alice', '--password-stdin', host], {
        env,
        input: accountPassword,
      });
    const doctor = async (): Promise<Finding | undefined> => {
      const args = ['doctor', '--json', '--pool', 'rack-1', '--root', 'node', '--image', image];
      const { stdout } = await brickyard([...args, '--pull', 'podman'], { home: home.path, env });
      return (JSON.parse(stdout) as Finding[]).find(({ what }) => what === 'podman pull');
    };
    expect(await login(originHost)).toMatchObject({ code: 0 });

    // The pull succeeds: Podman has the registry's account, and none for the pool.
    expect(await doctor()).toMatchObject({ state: 'bad', text: expect.stringContaining('said nothing') });

    expect(await login(poolHost)).toMatchObject({ code: 0 });
    expect(await doctor()).toMatchObject({
      state: 'ok',
      text: expect.stringContaining('came through the pool'),
    });
  });
});

/** Storage, logins and registries of its own; copying instead of mounts. */
async function podmanEnvironment(): Promise<Record<string, string>> {
  const place = join(home.path, 'podman');
  await mkdir(place);
  const storage = [`driver = "vfs"`, `graphroot = "${place}/root"`, `runroot = "${place}/run"`];
  await writeFile(join(place, 'storage.conf'), ['[storage]', ...storage, ''].join('\n'));
  await writeFile(join(place, 'auth.json'), '{}');
  const dropIn = 'etc/containers/registries.conf.d/900-brickyard-pool-rack-1.conf';
  return {
    CONTAINERS_STORAGE_CONF: join(place, 'storage.conf'),
    CONTAINERS_REGISTRIES_CONF: join(home.path, 'node', dropIn),
    REGISTRY_AUTH_FILE: join(place, 'auth.json'),
  };
}
