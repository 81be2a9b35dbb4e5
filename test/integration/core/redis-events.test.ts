import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import type { EventRelay } from '../../../core/events.ts';
import type { JsonValue } from '../../../core/object-store/object-store.ts';
import { createRedisEvents } from '../../../core/redis/redis-events.ts';
import { startRedis, type TestRedis } from '../../helpers/redis.ts';

interface Machine extends EventRelay {
  /** What other machines said, oldest first. */
  readonly heard: (readonly [topic: string, message: JsonValue])[];
  /** Lines for its operator. */
  readonly said: string[];
}

describe('events between machines over Redis', () => {
  let redis: TestRedis;
  const machines: Machine[] = [];
  beforeAll(async () => {
    redis = await startRedis({ password: 'a/b?c' });
  });
  afterEach(async () => {
    await Promise.all(machines.splice(0).map((machine) => machine.close()));
  });
  afterAll(() => redis.stop());

  const join = (options: { url?: string; prefix?: string } = {}): Machine => {
    const heard: Machine['heard'] = [];
    const said: string[] = [];
    const relay = createRedisEvents({
      url: redis.url,
      prefix: 'test',
      ...options,
      deliver: (topic, message) => heard.push([topic, message]),
      say: (line) => said.push(line),
    });
    machines.push({ ...relay, heard, said });
    return machines.at(-1) as Machine;
  };
  /** Says `text` again and again until the other machine hears it: until both are connected nothing is kept. */
  const meet = (from: Machine, to: Machine, text: string): Promise<void> =>
    vi.waitFor(
      () => {
        from.publish('meet', text);
        expect(to.heard).toContainEqual(['meet', text]);
      },
      { timeout: 30_000, interval: 50 },
    );

  it('reach every other machine once, in order, and not the one that spoke', async () => {
    const [a, b, c, other] = [join(), join(), join(), join({ prefix: 'other' })];
    for (const [from, to] of [
      [a, b],
      [a, c],
      [b, a],
    ] as const)
      await meet(from, to, 'hello');

    for (let n = 0; n < 100; n++) a.publish('count', { n, text: 'ü\n\0' });

    const all = Array.from({ length: 100 }, (_, n) => ['count', { n, text: 'ü\n\0' }]);
    const counted = ({ heard }: Machine) => heard.filter(([topic]) => topic !== 'meet');
    await vi.waitFor(() => expect([b, c].map(counted)).toEqual([all, all]), { timeout: 10_000 });
    expect([a, other].map(counted)).toEqual([[], []]);
  });

  it('take junk and messages of any size without harm, and leave out the big ones', async () => {
    const [a, b] = [join(), join()];
    await meet(a, b, 'hello');

    for (const junk of ['', 'x', '{}', '[1,2]', '["x",7,{}]', 'null']) {
      await redis.command('PUBLISH', 'test:events', junk);
    }
    a.publish('log', 'x'.repeat(300_000));
    a.publish('log', 'x'.repeat(200_000));
    a.publish('log', 'end');

    await vi.waitFor(() => expect(b.heard.at(-1)).toEqual(['log', 'end']), { timeout: 10_000 });
    expect(b.heard.filter(([topic]) => topic !== 'meet')).toHaveLength(2);
  });

  it('go on after Redis was killed and started again, which is said once', async () => {
    const [a, b] = [join(), join()];
    await meet(a, b, 'before');

    await redis.kill();
    await vi.waitFor(() => expect(a.said).toHaveLength(1), { timeout: 10_000 });
    a.publish('lost', 'nobody hears it');
    await redis.restart();
    await meet(a, b, 'after');
    await meet(b, a, 'after');

    await vi.waitFor(() => expect(a.said).toHaveLength(2), { timeout: 10_000 });
    expect(a.said[0]).toMatch(/Redis at 127\.0\.0\.1:\d+ cannot be used .*going on without it/);
    expect(a.said[1]).toMatch(/answers again/);
    expect(a.said.join()).not.toContain('a/b?c');
    expect(b.heard).not.toContainEqual(['lost', 'nobody hears it']);
  });

  it('wait for a Redis that is not there yet, and tell a wrong password without showing it', async () => {
    await redis.kill();
    const [a, b] = [join(), join()];
    const wrong = join({ url: redis.url.replace('a%2Fb%3Fc', 'wrong') });
    a.publish('meet', 'nobody hears it');
    await vi.waitFor(() => expect(a.said).toHaveLength(1), { timeout: 10_000 });

    await redis.restart();
    await meet(a, b, 'at last');

    await vi.waitFor(() => expect(a.said).toHaveLength(2), { timeout: 10_000 });
    expect(wrong.said).toHaveLength(1);
    expect(wrong.said.join()).not.toContain('wrong');
    expect(wrong.heard).toEqual([]);
  });

  it('are dropped, not piled up, while Redis answers nothing', async () => {
    const [a, b] = [join(), join()];
    await meet(a, b, 'before');
    const before = process.memoryUsage();

    redis.pause();
    const text = 'x'.repeat(100_000);
    for (let n = 0; n < 2_000; n++) a.publish('log', text);
    const after = process.memoryUsage();
    redis.resume();

    expect(a.said).toEqual([expect.stringMatching(/answers too slowly; messages .* are dropped/)]);
    // 200 MB were said; what waits is bounded by 4 MiB, here with room for what is not collected yet.
    expect(after.external - before.external).toBeLessThan(64 * 1024 * 1024);
    await meet(a, b, 'after');
  });

  it('go on when Redis ends their connections', async () => {
    const [a, b] = [join(), join()];
    await meet(a, b, 'before');

    await redis.command('CLIENT', 'KILL', 'TYPE', 'pubsub');
    await redis.command('CLIENT', 'KILL', 'TYPE', 'normal');

    await meet(a, b, 'after');
    await meet(b, a, 'after');
  });
});
