import { once } from 'node:events';
import { readFile, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type AccountOrigin, accountPassword, startAccountOrigin } from '../helpers/account-origin.ts';
import { brickyard } from '../helpers/brickyard-command.ts';
import { type RegistryClient, sampleFiles, startClient } from '../helpers/clients.ts';
import { startContainerd, type TestContainerd } from '../helpers/containerd.ts';
import { freePort } from '../helpers/free-port.ts';
import { type RunningProcess, startProcess, waitFor } from '../helpers/process.ts';
import { createTempDirectory, type TempDirectory } from '../helpers/temp.ts';

const root = resolve(import.meta.dirname, '../..');

/** `brickyard serve pool`, a process as an operator runs it, in front of a registry with accounts. */
describe.each(['embedded', 'nginx'])('real clients pull a private image through a pool (%s)', (engine) => {
  let origin: AccountOrigin;
  let folder: TempDirectory;
  let pool: RunningProcess;
  let host: string;
  let reference: string;
  let config: string;

  beforeAll(async () => {
    origin = await startAccountOrigin();
    folder = await createTempDirectory('pool');
    host = `127.0.0.1:${await freePort()}`;
    reference = `${host}/team/app:v1`;
    await writeFile(join(folder.path, 'account'), `pool:${accountPassword}\n`, { mode: 0o600 });
    await writeFile(
      join(folder.path, 'pools.yaml'),
      [
        'pools:',
        '  - name: rack-1',
        `    listen: ${host}`,
        `    engine: ${engine}`,
        `    agent: { listen: 127.0.0.1:${await freePort()} }`,
        `    origin: { urls: ['${origin.url}'], credential: 'file:account' }`,
        '    cache: { maxSize: 1g, minFree: 1m }',
        '',
      ].join('\n'),
    );
    pool = await startProcess(process.execPath, [join(root, 'bin/brickyard.js'), 'serve', 'pool'], {
      cwd: folder.path,
      env: { BRICKYARD_LOG_LEVEL: 'warn' },
    });
    await waitFor(() => pool.output().includes('is listening on'), {
      what: 'serve pool',
      gaveUp: () => (pool.child.exitCode === null ? undefined : pool.output()),
    });
    // Pushed through the pool, as people do who know no other name.
    const skopeo = await startClient('skopeo');
    config = await skopeo.createImage('app', sampleFiles());
    expect((await skopeo.login(host, 'alice', accountPassword)).code).toBe(0);
    expect(await skopeo.push('app', reference)).toMatchObject({ code: 0 });
    await skopeo.stop();
  });
  afterAll(async () => {
    await pool?.stop('SIGTERM');
    await origin?.close();
    await folder?.remove();
  });

  it.each(['docker', 'podman', 'skopeo'] as const)('%s, also while the origin is away', async (name) => {
    await origin.line.set('none');
    const client: RegistryClient = await startClient(name);
    try {
      expect(await client.login(host, 'alice', accountPassword)).toMatchObject({ code: 0 });
      expect(await client.pull(reference)).toMatchObject({ code: 0 });

      await origin.line.set('hanging');

      expect(await client.pull(reference)).toMatchObject({ code: 0 });
      expect(await client.pulledConfig(reference)).toBe(config);
    } finally {
      await client.stop();
    }
  });

  it('containerd, also while the origin is away', async () => {
    await origin.line.set('none');
    const containerd: TestContainerd = await startContainerd();
    const pull = async () => {
      await containerd.ctr('images', 'remove', '--sync', reference);
      expect((await containerd.ctr('content', 'ls', '--quiet')).stdout).toBe('');
      const account = `alice:${accountPassword}`;
      return containerd.ctr(
        'images',
        'pull',
        '--plain-http',
        '--snapshotter=native',
        '--user',
        account,
        reference,
      );
    };
    try {
      expect(await pull()).toMatchObject({ code: 0 });
      await origin.line.set('refused');

      expect(await pull()).toMatchObject({ code: 0 });
    } finally {
      await containerd.stop();
    }
  });

  it('reads its configuration again when that changes or it is told to, and keeps the one before where it has a fault', async () => {
    const file = join(folder.path, 'pools.yaml');
    const text = await readFile(file, 'utf8');
    const inForce = (): number => pool.output().split('and is in force').length - 1;

    await writeFile(file, text.replace('maxSize: 1g', 'maxSize: 2g'));
    await waitFor(() => inForce() === 1, { what: 'the changed file' });
    await writeFile(file, text.replace('maxSize', 'maxSiz'));
    await waitFor(() => pool.output().includes('did you mean "maxSize"?'), { what: 'the fault' });
    expect(pool.output()).toContain('the configuration of the pool is as before');
    await writeFile(file, text);
    await waitFor(() => inForce() === 2, { what: 'the file without a fault' });
    pool.child.kill('SIGHUP');
    await waitFor(() => inForce() === 3, { what: 'SIGHUP' });
  });

  it('forgets what pool purge names', async () => {
    const purge = (...references: string[]) =>
      brickyard(['pool', 'purge', 'rack-1', ...references], { home: folder.path });

    const wrong = await purge('quay.io/team/app:v1');
    const done = await purge(reference);
    const again = await purge(reference);

    expect([wrong.code, wrong.stderr]).toEqual([1, expect.stringContaining('caches nothing of quay.io')]);
    expect(done.stdout).toContain(`${reference}: removed, `);
    expect(again.stdout).toBe(`${reference}: was not cached\n`);
  });

  it('ends when it is told to', async () => {
    await origin.line.set('none');

    const ended = once(pool.child, 'exit');
    pool.child.kill('SIGTERM');
    const [code] = (await ended) as [number | null];

    expect(code).toBe(0);
    expect(pool.output()).toContain('stopping');
  });
});
