import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { createEventBus } from '../../../core/events.ts';
import { createFilesystemStore, type FilesystemStore } from '../../../core/object-store/filesystem.ts';
import { createEmbeddedQueue } from '../../../core/queue/embedded.ts';
import type { JobQueue, JobRecord } from '../../../core/queue/job-queue.ts';
import { jobQueueSuite, suitePolicy } from '../../suites/job-queue.ts';
import { createChildPrograms } from './child-program.ts';

jobQueueSuite('the embedded queue over files', () => {
  const root = mkdtempSync(join(tmpdir(), 'brickyard-queue-'));
  const store = createFilesystemStore({ root });
  const events = createEventBus();
  return {
    open: () =>
      createEmbeddedQueue({
        store,
        events,
        prefix: 'builds/',
        owner: 'x',
        leaseMs: 300,
        pollMs: 50,
        retryMs: 10,
        policy: suitePolicy,
      }),
    close() {
      store.close();
      rmSync(root, { recursive: true });
    },
  };
});

describe('the embedded queue among processes', () => {
  const children = createChildPrograms();
  let root: string;
  let store: FilesystemStore;
  let queue: JobQueue;
  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), 'brickyard-queue-'));
    store = createFilesystemStore({ root: join(root, 'store') });
    queue = createEmbeddedQueue({ store, prefix: 'builds/', events: createEventBus(), owner: 'test' });
  });
  afterEach(async () => {
    await children.killAll();
    store.close();
    rmSync(root, { recursive: true });
  });

  async function startWorker(owner: string, ...lease: string[]) {
    const worker = children.start('queue-child.ts', [root, owner, ...lease]);
    expect(await worker.nextLine()).toBe('ready');
    return worker;
  }
  const until = (id: string, state: JobRecord['state']): Promise<JobRecord> =>
    vi.waitFor(
      async () => {
        const job = await queue.get(id);
        if (job?.state !== state) throw new Error(`${id} is ${job?.state}`);
        return job;
      },
      { timeout: 20_000, interval: 20 },
    );
  const runs = (): string[] => readFileSync(join(root, 'runs'), 'utf8').trim().split('\n');

  it('has another worker take up the job of one that was killed, and end it once', async () => {
    const first = await startWorker('first');
    await queue.add({ id: 'a', payload: { hang: 'first' } });
    expect(await first.nextLine()).toEqual({ started: 'a' });

    await first.kill();
    await startWorker('second');

    expect(await until('a', 'succeeded')).toMatchObject({
      result: { owner: 'second', fence: 2 },
      attempts: 2,
    });
    expect(runs()).toEqual(['a', 'a']);
    await vi.waitFor(async () => expect((await store.list({ prefix: 'queue/builds/' })).objects).toEqual([]));
  });

  it('knows at once that a process of this machine died, whatever its leases say', async () => {
    const first = await startWorker('first', '3600000');
    await queue.add({ id: 'a', payload: { hang: 'first' } });
    expect(await first.nextLine()).toEqual({ started: 'a' });
    await queue.add({ id: 'b', payload: {} });
    await until('b', 'succeeded');

    await first.kill();
    await startWorker('second', '3600000');

    expect(await until('a', 'succeeded')).toMatchObject({ result: { owner: 'second' }, attempts: 2 });
  });

  it('stops a job that another process cancels', async () => {
    const worker = await startWorker('first');
    await queue.add({ id: 'a', payload: { hang: 'first' } });
    expect(await worker.nextLine()).toEqual({ started: 'a' });

    expect(await queue.cancel('a', 'enough')).toMatchObject({ state: 'running' });

    expect(await worker.nextLine()).toEqual({ aborted: 'a' });
    expect(await until('a', 'cancelled')).toMatchObject({ error: 'enough' });
  });

  it('ends every job once while workers are killed and others come', async () => {
    const ids = Array.from({ length: 30 }, (_, index) => `job-${String(index).padStart(2, '0')}`);
    await Promise.all(
      ids.map((id, index) => queue.add({ id, payload: { hang: index % 10 === 3 ? 'doomed' : '' } })),
    );

    const doomed = await startWorker('doomed');
    await Promise.all([startWorker('b'), startWorker('c')]);
    await vi.waitFor(async () =>
      expect((await queue.list()).some((job) => job.state === 'succeeded')).toBe(true),
    );
    await doomed.kill();

    for (const id of ids) expect((await until(id, 'succeeded')).result?.['owner']).toBeDefined();
    const attempts = (await queue.list()).reduce((sum, job) => sum + job.attempts, 0);
    expect(runs().length).toBeLessThanOrEqual(attempts);
    expect(new Set(runs())).toEqual(new Set(ids));
  });
});
