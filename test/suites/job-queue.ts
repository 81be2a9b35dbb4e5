import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { DispatchPolicy } from '../../core/queue/dispatch-policy.ts';
import {
  JobFailed,
  type JobHandler,
  type JobQueue,
  type JobRecord,
  type JobWorker,
} from '../../core/queue/job-queue.ts';

export interface QueueUnderTest {
  /**
   * Lease 300 ms, retries after 10 ms, the lanes of `suitePolicy`. Every call gives another view of one queue, as another process would have it.
   */
  open(): JobQueue;
  close(): Promise<void> | void;
}

/** Three lanes, the last of them in the background; jobs wait 200 ms for their favourite worker. */
export const suitePolicy: DispatchPolicy = {
  lanes: [
    { name: 'interactive', weight: 6, share: 1, background: false },
    { name: 'branch', weight: 3, share: 1, background: false },
    { name: 'rebuild', weight: 1, share: 0.5, background: true },
  ],
  tenantSlots: 0,
  reserve: 0.2,
  ageMs: 60_000,
  preferMs: 200,
};

/** What every job queue must do within a process; job-queue-processes.test.ts has what takes several. */
export function jobQueueSuite(name: string, create: () => Promise<QueueUnderTest> | QueueUnderTest): void {
  describe(`${name} is a job queue`, () => {
    let opened: QueueUnderTest;
    let queue: JobQueue;
    let workers: JobWorker[];
    beforeEach(async () => {
      opened = await create();
      queue = opened.open();
      workers = [];
    });
    afterEach(async () => {
      await Promise.all(workers.map((worker) => worker.close()));
      await opened.close();
    });

    const work = (handler: JobHandler, concurrency = 1, on = queue): JobWorker => {
      const worker = on.work(handler, { concurrency });
      workers.push(worker);
      return worker;
    };
    const until = (id: string, ...states: JobRecord['state'][]): Promise<JobRecord> =>
      vi.waitFor(
        async () => {
          const job = await queue.get(id);
          if (job === undefined || !states.includes(job.state)) throw new Error(`${id} is ${job?.state}`);
          return job;
        },
        { timeout: 8_000, interval: 5 },
      );
    const forever: JobHandler = (_, { signal }) =>
      new Promise((_resolve, reject) => {
        if (signal.aborted) reject(signal.reason);
        signal.addEventListener('abort', () => reject(signal.reason));
      });

    it('runs a job and keeps its result', async () => {
      const added = await queue.add({ id: 'job-1', payload: { text: 'hello' } });
      work(async (job) => ({ echo: job.payload['text'] ?? '' }));

      const job = await until('job-1', 'succeeded');

      expect(added).toMatchObject({ id: 'job-1', state: 'queued', attempts: 0 });
      expect(job).toMatchObject({ payload: { text: 'hello' }, result: { echo: 'hello' }, attempts: 1 });
      expect(Date.parse(job.finishedAt ?? '')).toBeGreaterThanOrEqual(Date.parse(job.startedAt ?? ''));
      expect(job.lease).toBeUndefined();
    });

    it('tells a waiting worker at once', async () => {
      let startedAt = 0;
      work(async () => {
        startedAt = performance.now();
        return {};
      });
      await queue.add({ id: 'first', payload: {} });
      await until('first', 'succeeded');

      const addedAt = performance.now();
      await queue.add({ id: 'second', payload: {} });
      await until('second', 'succeeded');

      expect(startedAt - addedAt).toBeLessThan(200);
    });

    it('ignores a second add of the same id', async () => {
      await queue.add({ id: 'job-1', payload: { n: 1 } });
      const again = await queue.add({ id: 'job-1', payload: { n: 2 } });
      expect(again.payload).toEqual({ n: 1 });
      work(async () => ({}));
      await until('job-1', 'succeeded');

      expect((await queue.add({ id: 'job-1', payload: { n: 3 } })).state).toBe('succeeded');
      expect(await queue.list()).toHaveLength(1);
    });

    it('knows nothing of other ids', async () => {
      expect(await queue.get('nothing')).toBeUndefined();
      expect(await queue.get('../x')).toBeUndefined();
      expect(await queue.cancel('nothing', 'why')).toBeUndefined();
    });

    it('takes jobs from the oldest to the newest', async () => {
      for (const id of ['b', 'd', 'a', 'c']) await queue.add({ id, payload: {} });
      const order: string[] = [];
      work(async (job) => {
        order.push(job.id);
        return {};
      });

      await until('d', 'succeeded');

      expect(order).toEqual(['a', 'b', 'c', 'd']);
    });

    it('lists the newest first, page by page', async () => {
      for (const id of ['01', '02', '02b', '03', '1']) await queue.add({ id, payload: {} });

      const ids = async (options?: Parameters<JobQueue['list']>[0]) =>
        (await queue.list(options)).map((job) => job.id);

      expect(await ids()).toEqual(['1', '03', '02b', '02', '01']);
      expect(await ids({ limit: 2 })).toEqual(['1', '03']);
      expect(await ids({ limit: 2, before: '03' })).toEqual(['02b', '02']);
      expect(await ids({ before: '01' })).toEqual([]);
    });

    it('runs as many at once as it was told, and no more', async () => {
      let now = 0;
      let most = 0;
      const gates: (() => void)[] = [];
      work(async () => {
        most = Math.max(most, ++now);
        await new Promise<void>((resolve) => gates.push(resolve));
        now--;
        return {};
      }, 2);
      for (const id of ['a', 'b', 'c', 'd']) await queue.add({ id, payload: {} });

      await vi.waitFor(() => expect(gates).toHaveLength(2));
      await vi.waitFor(async () => {
        for (const open of gates.splice(0)) open();
        expect((await queue.list()).every((job) => job.state === 'succeeded')).toBe(true);
      });

      expect(most).toBe(2);
    });

    it('gives each job to one of many workers', async () => {
      const runs: string[] = [];
      for (let index = 0; index < 4; index++) {
        work(
          async (job) => {
            runs.push(job.id);
            return {};
          },
          2,
          opened.open(),
        );
      }
      const ids = Array.from({ length: 20 }, (_, index) => `job-${String(index).padStart(2, '0')}`);
      await Promise.all(ids.map((id) => queue.add({ id, payload: {} })));
      for (const id of ids) await until(id, 'succeeded');

      expect(runs.toSorted()).toEqual(ids);
    });

    it('does not retry a fault of the job itself', async () => {
      let runs = 0;
      work(async () => {
        runs++;
        throw new JobFailed('App.yaml line 3 is wrong');
      });
      await queue.add({ id: 'a', payload: {} });

      const job = await until('a', 'failed');

      expect(job.error).toBe('App.yaml line 3 is wrong');
      expect(runs).toBe(1);
    });

    it('retries a fault of the farm, with a higher fence, and keeps the last word', async () => {
      const fences: number[] = [];
      work(async (_, { fence }) => {
        fences.push(fence);
        throw new Error('the engine went away');
      });
      await queue.add({ id: 'a', payload: {} });

      const job = await until('a', 'failed');

      expect(job).toMatchObject({ error: 'the engine went away', attempts: 3 });
      expect(fences).toHaveLength(3);
      expect(fences.every((fence, index) => index === 0 || fence > (fences[index - 1] ?? 0))).toBe(true);
    });

    it('forgets the fault once a retry succeeds', async () => {
      let runs = 0;
      work(async () => {
        if (++runs === 1) throw new Error('the engine went away');
        return { runs };
      });
      await queue.add({ id: 'a', payload: {} });

      const job = await until('a', 'succeeded');

      expect(job.result).toEqual({ runs: 2 });
      expect(job.error).toBeUndefined();
    });

    it('cancels what waits', async () => {
      await queue.add({ id: 'a', payload: {} });

      const cancelled = await queue.cancel('a', 'changed my mind');
      let runs = 0;
      work(async () => ({ runs: ++runs }));
      await queue.add({ id: 'b', payload: {} });
      await until('b', 'succeeded');

      expect(cancelled).toMatchObject({ state: 'cancelled', error: 'changed my mind' });
      expect(runs).toBe(1);
      expect(await queue.cancel('b', 'too late')).toMatchObject({ state: 'succeeded' });
    });

    it('aborts what runs, from wherever it is cancelled', async () => {
      work(forever);
      await queue.add({ id: 'a', payload: {} });
      await until('a', 'running');

      await opened.open().cancel('a', 'enough');

      expect(await until('a', 'cancelled')).toMatchObject({ error: 'enough' });
    });

    it('renews the lease of a long job', async () => {
      let finish: () => void = () => {};
      work(async () => {
        await new Promise<void>((resolve) => {
          finish = resolve;
        });
        return {};
      });
      let stolen = 0;
      await queue.add({ id: 'a', payload: {} });
      const first = await until('a', 'running');
      work(async () => ({ stolen: ++stolen }), 1, opened.open());

      await vi.waitFor(
        async () => {
          const renewed = Date.parse((await queue.get('a'))?.lease?.expiresAt ?? '');
          expect(renewed - Date.parse(first.lease?.expiresAt ?? '')).toBeGreaterThan(900);
        },
        { timeout: 5_000 },
      );
      finish();

      expect(await until('a', 'succeeded')).toMatchObject({ attempts: 1 });
      expect(stolen).toBe(0);
    });

    it('confirms a lease that is held', async () => {
      work(async (_, context) => {
        await context.confirmLease();
        return {};
      });
      await queue.add({ id: 'a', payload: {} });

      expect(await until('a', 'succeeded')).toMatchObject({ attempts: 1 });
    });

    it('hands a job back when its worker closes, and that is no fault', async () => {
      for (let round = 0; round < 4; round++) {
        const worker = work(forever);
        if (round === 0) await queue.add({ id: 'a', payload: {} });
        await until('a', 'running');
        await worker.close();
        expect(await queue.get('a')).toMatchObject({ state: 'queued' });
      }
      work(async () => ({ done: true }));

      expect(await until('a', 'succeeded')).toMatchObject({ result: { done: true } });
    });

    it('lets teams take turns, however much one of them has submitted', async () => {
      for (let index = 0; index < 12; index++) await queue.add({ id: `a${index}`, payload: {}, tenant: 'a' });
      for (const tenant of ['b', 'c']) await queue.add({ id: tenant, payload: {}, tenant });
      const order: string[] = [];
      work(async (job) => {
        order.push(job.id);
        return {};
      });

      await until('b', 'succeeded');
      await until('c', 'succeeded');

      expect(Math.max(order.indexOf('b'), order.indexOf('c'))).toBeLessThan(4);
    });

    it('leaves a slot to people while a background lane is full', async () => {
      for (let index = 0; index < 5; index++)
        await queue.add({ id: `r${index}`, payload: {}, lane: 'rebuild' });
      const gate = Promise.withResolvers<void>();
      const order: string[] = [];
      work(async (job) => {
        order.push(job.id);
        if (job.lane === 'rebuild') await gate.promise;
        return {};
      }, 3);
      await vi.waitFor(() => expect(order).toHaveLength(2));

      await queue.add({ id: 'push', payload: {}, lane: 'interactive' });
      await until('push', 'succeeded');
      const began = [...order];
      gate.resolve();

      expect(began.toSorted()).toEqual(['push', 'r0', 'r1']);
      for (let index = 0; index < 5; index++) await until(`r${index}`, 'succeeded');
    });

    it('ends waiting jobs of a group for which a newer one came, and lets the running one go on', async () => {
      const gate = Promise.withResolvers<void>();
      const ran: string[] = [];
      work(async (job) => {
        ran.push(job.id);
        if (job.id === 'v1') await gate.promise;
        return {};
      });
      const add = (id: string, sequence: number, group = 'shop main') =>
        queue.add({ id, payload: {}, group, sequence });
      await add('v1', 1);
      await until('v1', 'running');
      await add('other', 1, 'shop feature');
      await add('v2', 2);
      await add('v3', 3);

      const old = await until('v2', 'superseded');
      gate.resolve();
      await until('v3', 'succeeded');
      await until('other', 'succeeded');

      expect(old).toMatchObject({ error: expect.stringContaining('v3') as string, attempts: 0 });
      expect(old.finishedAt).toBeDefined();
      expect((await queue.get('v1'))?.state).toBe('succeeded');
      expect(ran.toSorted()).toEqual(['other', 'v1', 'v3']);
    });

    it('tries a job again on another worker', async () => {
      const ran: string[] = [];
      const both = Promise.withResolvers<void>();
      let warm = 0;
      const failOnce: JobHandler = async (job) => {
        if (job.id.startsWith('warm')) {
          if (++warm === 2) both.resolve();
          await both.promise;
          return {};
        }
        ran.push(job.worker ?? '');
        if (ran.length === 1) throw new Error('the engine went away');
        return {};
      };
      work(failOnce, 1);
      work(failOnce, 1, opened.open());
      for (const id of ['warm-1', 'warm-2']) await queue.add({ id, payload: {} });
      for (const id of ['warm-1', 'warm-2']) await until(id, 'succeeded');
      await queue.add({ id: 'a', payload: {} });

      await until('a', 'succeeded');

      expect(new Set(ran).size).toBe(2);
    });

    it('gives jobs of equal affinity to one worker', async () => {
      const ran = new Map<string, Set<string>>();
      const handler: JobHandler = async (job) => {
        const app = job.affinity ?? '';
        ran.set(app, (ran.get(app) ?? new Set()).add(job.worker ?? ''));
        return {};
      };
      for (let index = 0; index < 3; index++) work(handler, 4, opened.open());
      await vi.waitFor(async () => expect(await queue.workers()).toHaveLength(3));
      for (let round = 0; round < 4; round++) {
        for (const app of ['a', 'b', 'c', 'd']) {
          const id = `${app}${round}`;
          await queue.add({ id, payload: {}, affinity: app });
          await until(id, 'succeeded');
        }
      }

      // A worker that answers late loses a job to another.
      expect([...ran.values()].reduce((sum, workers) => sum + workers.size, 0)).toBeLessThanOrEqual(6);
    });

    it('counts what waits', async () => {
      work(forever, 1);
      await queue.add({ id: 'a', payload: {}, tenant: 'shop' });
      await until('a', 'running');
      await queue.add({ id: 'b', payload: {}, tenant: 'shop', lane: 'branch' });

      await vi.waitFor(
        async () =>
          expect(await queue.waiting()).toMatchObject({
            flows: [{ tenant: 'shop', lane: 'branch', jobs: 1 }],
            jobs: 1,
            running: 1,
          }),
        { timeout: 5_000 },
      );
    });

    it('goes on when the worker that dispatches stops', async () => {
      const first = work(async () => ({}), 1);
      await queue.add({ id: 'a', payload: {} });
      await until('a', 'succeeded');
      work(async () => ({}), 1, opened.open());
      await first.close();

      await queue.add({ id: 'b', payload: {} });

      await until('b', 'succeeded');
    });

    it('says who works, and with how much', async () => {
      const worker = queue.work(forever, { concurrency: 2, labels: { machine: 'one' } });
      workers.push(worker);
      work(forever, 3, opened.open());

      await vi.waitFor(async () => expect(await queue.workers()).toHaveLength(2));
      expect(await queue.workers()).toContainEqual({
        id: worker.id,
        owner: expect.any(String) as string,
        slots: 2,
        busy: 0,
        labels: { machine: 'one' },
        at: expect.any(String) as string,
      });
      await worker.close();

      expect(await opened.open().workers()).toMatchObject([{ slots: 3 }]);
    });

    it('keeps what a job says of itself, and which worker ran it', async () => {
      const job = {
        id: 'a',
        payload: {},
        tenant: 'shop',
        lane: 'interactive',
        group: 'shop/web main',
        sequence: 7,
        affinity: 'shop/web',
      };
      const worker = work(async () => ({}));

      expect(await queue.add(job)).toMatchObject(job);
      expect(await until('a', 'succeeded')).toMatchObject({ ...job, worker: worker.id });
    });

    it('takes nothing while it has no slots, and says why', async () => {
      const worker = work(async () => ({}));
      worker.setSlots(0, 'its disk is full');
      await queue.add({ id: 'a', payload: {} });
      await vi.waitFor(async () =>
        expect(await queue.workers()).toMatchObject([{ slots: 0, reason: 'its disk is full' }]),
      );
      expect(await queue.get('a')).toMatchObject({ state: 'queued' });

      worker.setSlots(1);

      await until('a', 'succeeded');
    });

    it('drains: what runs may end, and nothing else begins', async () => {
      const finish = Promise.withResolvers<void>();
      const worker = work(async () => {
        await finish.promise;
        return {};
      }, 2);
      await queue.add({ id: 'a', payload: {} });
      await until('a', 'running');

      const drained = worker.drain();
      await queue.add({ id: 'b', payload: {} });
      finish.resolve();
      await drained;

      expect((await queue.list()).map(({ id, state }) => [id, state])).toEqual([
        ['b', 'queued'],
        ['a', 'succeeded'],
      ]);
    });

    it('drains no longer than it may', async () => {
      const worker = work(forever);
      await queue.add({ id: 'a', payload: {} });
      await until('a', 'running');
      const enough = new AbortController();
      const drained = worker.drain(enough.signal);
      enough.abort();
      await drained;
      await worker.close();

      expect(await queue.get('a')).toMatchObject({ state: 'queued' });
    });

    it('lets a job that is nearly done finish when its worker closes', async () => {
      const started = Promise.withResolvers<void>();
      const worker = work((_, { signal }) => {
        started.resolve();
        return new Promise((resolve) => signal.addEventListener('abort', () => resolve({ pushed: true })));
      });
      await queue.add({ id: 'a', payload: {} });
      await started.promise;

      await worker.close();

      expect(await queue.get('a')).toMatchObject({ state: 'succeeded', result: { pushed: true } });
    });
  });
}
