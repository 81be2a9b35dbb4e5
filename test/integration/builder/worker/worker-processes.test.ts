import { readdir, readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { createEventBus } from '../../../../core/events.ts';
import { createFilesystemStore } from '../../../../core/object-store/filesystem.ts';
import { createEmbeddedQueue } from '../../../../core/queue/embedded.ts';
import type { JobQueue, JobRecord, JobState } from '../../../../core/queue/job-queue.ts';
import { createRegistryClient } from '../../../../oci/client.ts';
import { digestOf } from '../../../../oci/digest.ts';
import { mediaTypes } from '../../../../oci/media-types.ts';
import { startDockerd, type TestDockerd } from '../../../helpers/dockerd.ts';
import { type RunningProcess, runOk, startProcess, waitFor } from '../../../helpers/process.ts';
import { startServer, type TestServer } from '../../../helpers/server.ts';
import { createTempDirectory, type TempDirectory } from '../../../helpers/temp.ts';
import { createBusyboxImage } from '../docker-fixtures.ts';
import { commitFiles, createWork } from '../farm-fixture.ts';
import { git } from '../git-fixture.ts';

const program = resolve(import.meta.dirname, '../../../../bin/brickyard.js');
/** Ends when somebody touches the file. */
const appYaml = `base: busybox:latest
build:
  commands: ['echo begun', 'while [ ! -e /tmp/go ]; do sleep 0.1; done']
  network: none
entrypoints:
  web:
    cmd: sh
`;

describe('workers on their own', () => {
  let directory: TempDirectory;
  let dockerd: TestDockerd;
  let server: TestServer;
  let queue: JobQueue;
  let work: string;
  const workers = new Set<RunningProcess>();

  beforeAll(async () => {
    directory = await createTempDirectory('workers');
    [dockerd, server] = await Promise.all([
      startDockerd(),
      startServer({
        data: join(directory.path),
        args: ['registry', 'builder'],
        env: { BRICKYARD_PROCESSES: '1' },
      }),
    ]);
    queue = createEmbeddedQueue({
      store: createFilesystemStore({ root: join(directory.path, 'store') }),
      prefix: 'builds/',
      events: createEventBus(),
      owner: 'test',
    });
    const image = await createBusyboxImage();
    const registry = createRegistryClient({ url: server.url });
    for (const blob of [image.config, ...image.layers])
      await registry.putBlob('baseimages/busybox', digestOf(blob), blob);
    await registry.putManifest('baseimages/busybox', 'latest', image.manifest, mediaTypes.ociManifest);
    registry.close();
    work = await createWork(join(directory.path, 'work'), { 'App.yaml': appYaml });
  });
  afterEach(async () => {
    await Promise.all([...workers].map((worker) => worker.stop('SIGTERM', 15_000)));
    workers.clear();
  });
  afterAll(async () => {
    await server.stop();
    await dockerd.stop();
    await directory.remove();
  });

  async function startWorker(env: Readonly<Record<string, string>> = {}): Promise<RunningProcess> {
    const worker = await startProcess(process.execPath, [program, 'serve', 'worker'], {
      cwd: directory.path,
      env: {
        BRICKYARD_DATA: directory.path,
        BRICKYARD_BUILDER_ENGINE: dockerd.socketPath,
        // Nobody may listen there: a worker does not.
        BRICKYARD_LISTEN: '0.0.0.0:1',
        ...env,
      },
    });
    workers.add(worker);
    await waitFor(() => worker.output().includes('building, data in'), {
      what: 'the worker',
      timeoutMs: 90_000,
      gaveUp: () => (worker.child.exitCode === null ? undefined : worker.output()),
    });
    return worker;
  }

  /** Pushes to a repository of its own, with a file of its own: equal files would be built once. Returns the build's id. */
  async function push(name: string): Promise<string> {
    await commitFiles(work, { name });
    const pushed = await git(
      work,
      'push',
      '-q',
      '-o',
      'build.nowait',
      `${server.url}/git/team/${name}.git`,
      'HEAD:main',
    );
    const id = /build (\S+) is queued/.exec(pushed.stderr)?.[1];
    if (id === undefined) throw new Error(pushed.stderr);
    return id;
  }

  function reach(id: string, state: JobState): Promise<JobRecord> {
    return waitFor(
      async () => {
        const job = await queue.get(id);
        return job?.state === state ? job : undefined;
      },
      { what: `build ${id} ${state}`, timeoutMs: 90_000 },
    );
  }
  const containers = async (): Promise<string[]> =>
    (await runOk('docker', ['ps', '--quiet'], { env: dockerd.env })).split('\n').filter((id) => id !== '');
  const begun = (count: number): Promise<string[]> =>
    waitFor(
      async () => {
        const ids = await containers();
        return ids.length === count ? ids : undefined;
      },
      { what: `${count} containers`, timeoutMs: 90_000 },
    ).catch(async (error: unknown) => {
      const logs = await Promise.all(
        (await queue.list()).map(async ({ id, state }) => `${state} ${await log(id)}`),
      );
      throw new Error([String(error), ...logs, ...[...workers].map((worker) => worker.output())].join('\n'));
    });
  async function letGo(): Promise<void> {
    for (const id of await containers()) {
      await runOk('docker', ['exec', id, 'touch', '/tmp/go'], { env: dockerd.env });
    }
  }
  const log = (id: string): Promise<string> =>
    fetch(`${server.url}/api/v1/builds/${id}/log`).then((answer) => answer.text());

  it('share the work, and a cancelled build is gone within seconds, with its container and volume', async () => {
    await Promise.all([startWorker(), startWorker()]);
    const ids = [await push('one'), await push('two')];
    const running = await Promise.all(ids.map((id) => reach(id, 'running')));
    await begun(2);
    expect(new Set(running.map(({ worker }) => worker)).size).toBe(2);

    const asked = performance.now();
    for (const id of ids) {
      await fetch(`${server.url}/api/v1/builds/${id}/cancel`, { method: 'POST' });
    }
    await Promise.all(ids.map((id) => reach(id, 'cancelled')));

    // Up to five seconds until a worker on its own looks, and three until a build is killed that does not end; three times that for a busy machine.
    expect(performance.now() - asked).toBeLessThan(24_000);
    await begun(0);
    expect(await runOk('docker', ['volume', 'ls', '--quiet'], { env: dockerd.env })).toBe('');
  });

  it('drain when they are told to: nothing new is taken, and what runs may end', async () => {
    const worker = await startWorker({ BRICKYARD_BUILDER_DRAIN_SECONDS: '600' });
    const first = await push('drained');
    await begun(1);

    worker.child.kill('SIGTERM');
    await waitFor(() => worker.output().includes('stopping'), { what: 'the word of it' });
    const second = await push('later');
    await waitFor(async () => (await queue.workers()).every(({ slots }) => slots === 0), {
      what: 'the heartbeat that says so',
    });
    await letGo();
    await worker.ended;

    expect(worker.child.exitCode).toBe(0);
    expect(await queue.get(first)).toMatchObject({ state: 'succeeded', attempts: 1 });
    expect(await queue.get(second)).toMatchObject({ state: 'queued', attempts: 0 });
    await queue.cancel(second, 'not needed');
  });

  it('hand their builds back when they are told twice, and another goes on without a fault on record', async () => {
    const worker = await startWorker({ BRICKYARD_BUILDER_DRAIN_SECONDS: '600' });
    const id = await push('handed');
    await begun(1);
    worker.child.kill('SIGTERM');
    await waitFor(() => worker.output().includes('stopping'), { what: 'the word of it' });

    worker.child.kill('SIGTERM');
    await worker.ended;

    expect(worker.child.exitCode).toBe(130);
    expect(await queue.get(id)).toMatchObject({ state: 'queued', attempts: 1 });
    expect((await queue.get(id))?.error).toBeUndefined();
    await startWorker();
    await begun(1);
    await letGo();
    expect(await reach(id, 'succeeded')).toMatchObject({ attempts: 2 });
    expect(await log(id)).toContain('this worker lets go of the build; it is taken up again');
  });

  it('take nothing while their disks have less room than they are to leave, and say so', async () => {
    await startWorker({
      BRICKYARD_BUILDER_DISK_LOW: String(2 ** 52),
      BRICKYARD_BUILDER_DISK_HIGH: String(2 ** 52),
    });

    const [worker] = await waitFor(
      async () => {
        const refusing = (await queue.workers()).filter(({ reason }) => reason?.includes('disk.low'));
        return refusing.length === 1 ? refusing : undefined;
      },
      { what: 'the heartbeat that says so', timeoutMs: 90_000 },
    );

    expect(worker).toMatchObject({ slots: 0, reason: expect.stringContaining('are free on the disk of /') });
    const id = await push('waiting');
    expect(await queue.get(id)).toMatchObject({ state: 'queued', attempts: 0 });
    await queue.cancel(id, 'not needed');
  });

  it('go on when the process of a build is killed: why is in its log, its container goes, and it is tried again', async () => {
    const worker = await startWorker({ BRICKYARD_BUILDER_CONCURRENCY: '2' });
    const [killed, neighbour] = [await push('killed'), await push('neighbour')];
    const ids = await begun(2);
    const [victim] = await buildProcesses(worker.pid);

    process.kill(victim ?? 0, 'SIGKILL');

    await waitFor(
      async () => {
        const now = await containers();
        return now.length === 2 && now.some((id) => !ids.includes(id));
      },
      { what: 'the container of another attempt in place of that of the first', timeoutMs: 90_000 },
    );
    await letGo();
    const ended = await Promise.all([killed, neighbour].map((id) => reach(id, 'succeeded')));
    const again = ended.find(({ attempts }) => attempts === 2)?.id ?? '';
    expect(ended.filter(({ id }) => id !== again)).toMatchObject([{ attempts: 1 }]);
    expect(await log(again)).toMatch(
      /begun\n[^✗]*! the build's own process ended: it was killed \(SIGKILL\)/,
    );
    expect(worker.output()).not.toContain('process ended (');
  });
});

/** Processes below the supervisor's children. */
async function buildProcesses(supervisor: number): Promise<number[]> {
  const parents = new Map<number, number>();
  const busy: number[] = [];
  for (const name of await readdir('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    const stat = await readFile(`/proc/${name}/stat`, 'latin1').catch(() => '');
    const command = await readFile(`/proc/${name}/cmdline`, 'latin1').catch(() => '');
    const parent = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
    parents.set(Number(name), parent);
    if (command.includes('build-child')) busy.push(Number(name));
  }
  return busy.filter((pid) => parents.get(parents.get(pid) ?? 0) === supervisor).toSorted((a, b) => a - b);
}
