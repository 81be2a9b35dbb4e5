import { afterEach, describe, expect, it, vi } from 'vitest';
import { createEventBus } from '../../../../core/events.ts';
import { createMemoryStore } from '../../../../core/object-store/memory.ts';
import { type ObjectStore, ObjectStoreUnavailable } from '../../../../core/object-store/object-store.ts';
import type { DispatchChannel } from '../../../../core/queue/dispatch-channel.ts';
import { createEmbeddedQueue } from '../../../../core/queue/embedded.ts';
import type { JobQueue, JobWorker } from '../../../../core/queue/job-queue.ts';
import { jobQueueSuite, suitePolicy } from '../../../suites/job-queue.ts';

const settings = { prefix: 'builds/', leaseMs: 300, pollMs: 50, retryMs: 10, policy: suitePolicy };

jobQueueSuite('the embedded queue', () => {
  const store = createMemoryStore();
  const events = createEventBus();
  let owners = 0;
  return {
    open: () => createEmbeddedQueue({ ...settings, store, events, owner: `process-${++owners}` }),
    close() {},
  };
});

jobQueueSuite('the embedded queue without events', () => {
  const store = createMemoryStore();
  return {
    open: () => createEmbeddedQueue({ ...settings, store, events: createEventBus(), owner: 'x' }),
    close() {},
  };
});

describe('the embedded queue', () => {
  let workers: JobWorker[] = [];
  afterEach(async () => {
    await Promise.all(workers.map((worker) => worker.close()));
    workers = [];
  });
  const queueOn = (store: ObjectStore): JobQueue =>
    createEmbeddedQueue({ ...settings, store, events: createEventBus(), owner: 'x' });
  /** Without what workers say of themselves. */
  const keysOf = async (store: ObjectStore) =>
    (await store.list({ prefix: '' })).objects
      .map((object) => object.key)
      .filter((key) => !key.startsWith('queue/builds-'));

  it('needs no look around to start a job that was added in the same service', async () => {
    const queue = createEmbeddedQueue({
      ...settings,
      pollMs: 600_000,
      store: createMemoryStore(),
      events: createEventBus(),
      owner: 'x',
    });
    workers.push(queue.work(async () => ({}), { concurrency: 1 }));
    for (const id of ['a', 'b', 'c']) {
      await queue.add({ id, payload: {} });
      await vi.waitFor(async () => expect((await queue.get(id))?.state).toBe('succeeded'), { interval: 5 });
    }
  });

  it('leaves only the record and its place in the order behind', async () => {
    const store = createMemoryStore();
    const queue = queueOn(store);
    await queue.add({ id: 'a', payload: {} });
    expect(await keysOf(store)).toEqual(['builds/a', 'queue-order/builds/9e~', 'queue/builds/a']);

    workers.push(queue.work(async () => ({}), { concurrency: 1 }));

    await vi.waitFor(async () => expect(await keysOf(store)).toEqual(['builds/a', 'queue-order/builds/9e~']));
    const body = (await store.get('builds/a'))?.body.toString() ?? '';
    expect(body).toMatch(/^\{"state":"succeeded","nonce":"[0-9a-f-]{36}"/);
    expect(body.length).toBeGreaterThan(64);
  });

  it('finds a job whose add died before it could tell anybody, and cleans up after a worker that died after the end', async () => {
    const store = createMemoryStore();
    const queue = queueOn(store);
    await queue.add({ id: 'a', payload: {} });
    await queue.add({ id: 'b', payload: {} });
    await queue.cancel('b', 'x');
    await store.put('queue/builds/b', Buffer.alloc(0));
    workers.push(queue.work(async () => ({}), { concurrency: 1 }));

    await vi.waitFor(async () => expect((await store.list({ prefix: 'queue/builds/' })).objects).toEqual([]));
    expect((await queue.get('a'))?.state).toBe('succeeded');
    expect((await queue.get('b'))?.state).toBe('cancelled');
  });

  it('takes up the job of a worker that fell silent; the old one may no longer write', async () => {
    const store = createMemoryStore();
    let cutOff = false;
    const flaky: ObjectStore = {
      ...store,
      put: async (...args) => {
        if (cutOff) throw new ObjectStoreUnavailable('cut off');
        return store.put(...args);
      },
    };
    const silent = queueOn(flaky);
    const outcome = Promise.withResolvers<unknown>();
    const confirmed = Promise.withResolvers<unknown>();
    workers.push(
      silent.work(
        async (_, context) => {
          cutOff = true;
          await new Promise((resolve) => context.signal.addEventListener('abort', resolve));
          outcome.resolve(context.signal.reason);
          context.confirmLease().catch(confirmed.resolve);
          return { from: 'the silent one' };
        },
        { concurrency: 1 },
      ),
    );
    await silent.add({ id: 'a', payload: {} });
    await vi.waitFor(() => expect(cutOff).toBe(true));
    const queue = queueOn(store);
    workers.push(queue.work(async (_, { fence }) => ({ fence }), { concurrency: 1 }));

    await vi.waitFor(async () => expect((await queue.get('a'))?.state).toBe('succeeded'), { timeout: 5_000 });
    cutOff = false;

    expect(String(await outcome.promise)).toContain('lease was lost');
    expect(String(await confirmed.promise)).toContain('lease was lost');
    expect(await queue.get('a')).toMatchObject({ state: 'succeeded', result: { fence: 2 }, attempts: 2 });
  });

  it.each([-2, 2])('leaves a running job alone, with a clock that is %i hours ahead', async (hours) => {
    const store = createMemoryStore();
    const finish = Promise.withResolvers<void>();
    const queue = queueOn(store);
    workers.push(queue.work(() => finish.promise.then(() => ({ by: 'the first' })), { concurrency: 1 }));
    await queue.add({ id: 'a', payload: {} });
    const leases = new Set<string>();
    const other = createEmbeddedQueue({
      ...settings,
      store: {
        ...store,
        get: async (key, options) => {
          const found = await store.get(key, options);
          if (found !== undefined) leases.add(found.etag);
          return found;
        },
      },
      events: createEventBus(),
      owner: 'y',
      now: () => Date.now() + hours * 3_600_000,
    });
    let stolen = 0;
    workers.push(other.work(async () => ({ stolen: ++stolen }), { concurrency: 1 }));

    // The other has looked while the lease was renewed several times.
    await vi.waitFor(() => expect(leases.size).toBeGreaterThan(4), { timeout: 10_000 });
    finish.resolve();

    await vi.waitFor(async () => expect((await queue.get('a'))?.state).toBe('succeeded'), { timeout: 5_000 });
    expect(await queue.get('a')).toMatchObject({ result: { by: 'the first' }, attempts: 1 });
    expect(stolen).toBe(0);
  });

  it('gives up a job that kills its workers', async () => {
    const store = createMemoryStore();
    const queue = queueOn(store);
    await queue.add({ id: 'a', payload: {} });
    const record = JSON.parse((await store.get('builds/a'))?.body.toString() ?? '');
    const expiresAt = new Date(Date.now() - 60_000).toISOString();
    const dead = {
      ...record,
      state: 'running',
      strikes: 2,
      fence: 3,
      attempts: 3,
      lease: { owner: 'x', fence: 3, expiresAt },
    };
    await store.put('builds/a', Buffer.from(JSON.stringify(dead)));
    let runs = 0;

    workers.push(queue.work(async () => ({ runs: ++runs }), { concurrency: 1 }));

    await vi.waitFor(async () => expect((await queue.get('a'))?.state).toBe('failed'), { timeout: 5_000 });
    expect((await queue.get('a'))?.error).toContain('workers died');
    expect(runs).toBe(0);
  });

  it('goes on when one record is damaged, and says so', async () => {
    const store = createMemoryStore();
    const errors: unknown[] = [];
    const queue = createEmbeddedQueue({
      ...settings,
      store,
      events: createEventBus(),
      owner: 'x',
      onError: (error) => errors.push(error),
    });
    await store.put('queue/builds/a', Buffer.alloc(0));
    await store.put('builds/a', Buffer.from('{"state":"odd"}'));
    await queue.add({ id: 'b', payload: {} });
    workers.push(queue.work(async () => ({}), { concurrency: 1 }));

    await vi.waitFor(async () => expect((await queue.get('b'))?.state).toBe('succeeded'));
    expect(String(errors[0])).toContain('builds/a is damaged');
  });

  it('ends every job, also when the way to other workers loses everything', async () => {
    const store = createMemoryStore();
    const lost: string[] = [];
    const channel: DispatchChannel = {
      release: async (_, id) => {
        lost.push(id);
      },
      withdraw: async () => {},
      released: async () => [],
      listen: () => ({ close: async () => {} }),
    };
    const open = (): JobQueue =>
      createEmbeddedQueue({ ...settings, store, channel, events: createEventBus(), owner: 'x' });
    const queue = open();
    for (const each of [queue, open(), open()]) workers.push(each.work(async () => ({}), { concurrency: 2 }));
    await vi.waitFor(async () => expect(await queue.workers()).toHaveLength(3));
    for (let index = 0; index < 30; index++) {
      await queue.add({ id: `job-${index}`, payload: {}, affinity: `app-${index % 5}` });
    }

    await vi.waitFor(
      async () => expect((await queue.list()).every(({ state }) => state === 'succeeded')).toBe(true),
      { timeout: 10_000 },
    );
    // Else nothing was lost on the way.
    expect(lost.length).toBeGreaterThan(0);
  });

  it('gives the jobs of a worker that is gone to others, and forgets it', async () => {
    const store = createMemoryStore();
    const queue = queueOn(store);
    const dead = { id: 'dead', owner: 'y', slots: 50, busy: 0, labels: {}, at: '2026-01-01T00:00:00.000Z' };
    await store.put('queue/builds-workers/dead', Buffer.from(JSON.stringify(dead)));
    for (let index = 0; index < 10; index++) {
      await queue.add({ id: `job-${index}`, payload: {}, affinity: `app-${index}` });
    }
    workers.push(queue.work(async () => ({}), { concurrency: 1 }));
    // Else it was never asked.
    await vi.waitFor(async () =>
      expect((await store.list({ prefix: 'queue/builds-released/dead/' })).objects).not.toEqual([]),
    );

    await vi.waitFor(
      async () => expect((await queue.list()).every(({ state }) => state === 'succeeded')).toBe(true),
      { timeout: 10_000 },
    );
    await vi.waitFor(async () => expect((await queue.workers()).map(({ id }) => id)).not.toContain('dead'), {
      timeout: 5_000,
    });
    await vi.waitFor(
      async () => expect((await store.list({ prefix: 'queue/builds-released/' })).objects).toEqual([]),
      { timeout: 5_000 },
    );
  });

  it('ends every job when its channel says that it is broken', async () => {
    const store = createMemoryStore();
    const broken = async (): Promise<never> => Promise.reject(new Error('the channel is broken'));
    const channel: DispatchChannel = {
      release: broken,
      withdraw: broken,
      released: broken,
      listen: () => ({ close: async () => {} }),
    };
    const errors: unknown[] = [];
    const events = createEventBus();
    const queue = createEmbeddedQueue({
      ...settings,
      store,
      channel,
      events,
      owner: 'x',
      onError: (error) => errors.push(error),
    });
    workers.push(queue.work(async () => ({}), { concurrency: 1 }));

    for (const id of ['a', 'b', 'c']) await queue.add({ id, payload: {} });

    await vi.waitFor(
      async () => expect((await queue.list()).every(({ state }) => state === 'succeeded')).toBe(true),
      { timeout: 10_000 },
    );
    expect(String(errors[0])).toContain('the channel is broken');
  });

  it.each(['', 'a/b', 'a:b', '-a', 'x'.repeat(121)])('refuses the id %j', async (id) => {
    await expect(queueOn(createMemoryStore()).add({ id, payload: {} })).rejects.toThrow(TypeError);
  });
});
