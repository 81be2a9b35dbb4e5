import { randomUUID } from 'node:crypto';
import { inspect } from 'node:util';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { type BullmqChannel, createBullmqChannel } from '../../../core/queue/bullmq.ts';
import type { ChannelListener } from '../../../core/queue/dispatch-channel.ts';
import { startRedis, type TestRedis } from '../../helpers/redis.ts';
import { dispatchChannelSuite } from '../../suites/dispatch-channel.ts';

let redis: TestRedis;
beforeAll(async () => {
  redis = await startRedis();
});
afterAll(() => redis.stop());

function openChannel(prefix: string, errors: unknown[] = []): BullmqChannel {
  return createBullmqChannel({
    url: redis.url,
    prefix,
    name: 'builds',
    onError: (error) => errors.push(error),
  });
}

dispatchChannelSuite('BullMQ', () => {
  const prefix = randomUUID();
  const channels: BullmqChannel[] = [];
  return {
    open() {
      channels.push(openChannel(prefix));
      return channels.at(-1) as BullmqChannel;
    },
    async close() {
      await Promise.all(channels.map((channel) => channel.close()));
    },
  };
});

describe('BullMQ as a dispatch channel', () => {
  let prefix: string;
  let errors: unknown[];
  let channel: BullmqChannel;
  let listeners: ChannelListener[];
  beforeEach(() => {
    prefix = randomUUID();
    errors = [];
    channel = openChannel(prefix, errors);
    listeners = [];
  });
  afterEach(async () => {
    redis.resume();
    await Promise.all(listeners.map((listener) => listener.close()));
    await channel.close();
    await redis.command('REPLICAOF', 'NO', 'ONE').catch(() => redis.restart());
  });

  const listen = (onJob: (id: string) => Promise<void> = async () => {}): string[] => {
    const heard: string[] = [];
    listeners.push(
      channel.listen('worker-1', (id) => {
        heard.push(id);
        return onJob(id);
      }),
    );
    return heard;
  };
  /** Releases again and again, as the dispatcher does, until the worker has heard it. */
  const untilHeard = (heard: string[], id: string): Promise<void> =>
    vi.waitFor(
      async () => {
        await channel.release('worker-1', id);
        expect(heard).toContain(id);
      },
      { timeout: 40_000, interval: 200 },
    );

  it.each([
    ['flushed', () => redis.flush()],
    ['killed and started again', () => redis.restart()],
  ])('is heard again after Redis was %s', async (_, harm) => {
    const heard = listen();
    await untilHeard(heard, 'before');
    await channel.release('worker-of-yesterday', 'lost');

    await harm();

    await untilHeard(heard, 'after');
    expect((await channel.released()).filter(({ id }) => id === 'lost')).toEqual([]);
  });

  it('keeps what an append-only file has kept', async () => {
    await using durable = await startRedis({ appendOnly: true });
    const own = createBullmqChannel({ url: durable.url, prefix, name: 'builds', onError: () => {} });
    await own.release('worker-1', 'a');

    await durable.restart();

    await vi.waitFor(async () => expect(await own.released()).toEqual([{ worker: 'worker-1', id: 'a' }]), {
      timeout: 20_000,
    });
    await own.close();
  });

  it('says that Redis is away, once, and fails at once', async () => {
    const heard = listen();
    await untilHeard(heard, 'before');

    await redis.kill();
    await vi.waitFor(() => expect(errors.length).toBeGreaterThan(0), { timeout: 10_000 });
    const begun = performance.now();
    for (let n = 0; n < 20; n++)
      await expect(channel.release('worker-1', `job-${n}`)).rejects.toThrow(/away/);
    await expect(channel.released()).rejects.toThrow(/away/);
    expect(performance.now() - begun).toBeLessThan(5_000);

    await redis.restart();
    await untilHeard(heard, 'after');
    expect(new Set(errors.map(String)).size).toBe(errors.length);
  });

  it('tells that it may not sign in, without the password', async () => {
    await using locked = await startRedis({ password: 'right' });
    const told: unknown[] = [];
    const own = createBullmqChannel({
      url: locked.url.replace('right', 'wrong'),
      prefix,
      name: 'builds',
      onError: (error) => told.push(error),
    });
    const listener = own.listen('worker-1', async () => {});

    await vi.waitFor(() => expect(own.release('worker-1', 'a')).rejects.toThrow(/away: .*WRONGPASS/), {
      timeout: 10_000,
    });
    await listener.close();
    await own.close();

    expect(told.length).toBeGreaterThan(0);
    expect(inspect(told, { depth: 9, showHidden: true })).not.toMatch(/wrong/);
  });

  it('does not wait for a Redis that does not answer', async () => {
    const heard = listen();
    await untilHeard(heard, 'before');

    redis.pause();
    const begun = performance.now();
    for (let n = 0; n < 20; n++) await expect(channel.release('worker-1', `job-${n}`)).rejects.toThrow();
    const took = performance.now() - begun;
    redis.resume();

    // A second for the first one, none for those after it.
    expect(took).toBeLessThan(10_000);
    await vi.waitFor(() => channel.release('worker-1', 'after'), { timeout: 20_000, interval: 200 });
    await vi.waitFor(() => expect(heard).toContain('after'), { timeout: 30_000 });
  });

  it('does not stop for a Redis that became a replica and takes no writes, and goes on when it is a master', async () => {
    const heard = listen();
    await untilHeard(heard, 'before');
    await using master = await startRedis();

    await redis.command('REPLICAOF', '127.0.0.1', String(master.port));
    await vi.waitFor(() => expect(channel.release('worker-1', 'lost')).rejects.toThrow(), {
      timeout: 10_000,
    });
    await redis.command('REPLICAOF', 'NO', 'ONE');

    await vi.waitFor(() => untilHeard(heard, 'after'), { timeout: 40_000 });
  });

  it('drops what others have put into its queues', async () => {
    const heard = listen();
    await untilHeard(heard, 'before');
    await redis.command('SADD', `${prefix}:builds:workers`, '../x', 'worker-1');
    await redis.command('LPUSH', `${prefix}:builds:worker-1:wait`, 'job-../../x');
    await redis.command(
      'HSET',
      `${prefix}:builds:worker-1:job-../../x`,
      'name',
      'job',
      'data',
      '{',
      'opts',
      '{}',
    );

    await untilHeard(heard, 'after');

    expect(heard.filter((id) => id !== 'before' && id !== 'after')).toEqual([]);
    expect((await channel.released()).filter(({ id }) => id !== 'after')).toEqual([]);
  });

  it('leaves nothing behind for ever', async () => {
    const heard = listen();
    for (let n = 0; n < 200; n++) await channel.release('worker-1', `job-${n}`);
    await vi.waitFor(() => expect(heard).toHaveLength(200), { timeout: 20_000 });
    await vi.waitFor(async () => expect(await channel.released()).toEqual([]), { timeout: 10_000 });
    await channel.release('worker-of-yesterday', 'a');

    const keys = (await redis.command('KEYS', `${prefix}:*`)).split('\n');
    const lives = await Promise.all(keys.map(async (key) => [key, Number(await redis.command('TTL', key))]));

    expect(keys.length).toBeLessThan(20);
    expect(lives.filter(([, ttl]) => Number(ttl) < 0)).toEqual([]);
  });
});
