import { beforeEach, describe, expect, it } from 'vitest';
import { createLeaseRoutes, leaseSeconds } from '../../../../cache-proxy/controller/leases.ts';
import { createIsPool } from '../../../../cache-proxy/controller/pool-caller.ts';
import { createPopularityRoutes } from '../../../../cache-proxy/controller/popularity.ts';
import type { Authenticator } from '../../../../core/auth/authenticator.ts';
import { anonymous } from '../../../../core/auth/authorizer.ts';
import { createHttpServer } from '../../../../core/http/http-server.ts';
import { createSilentLogger } from '../../../../core/log.ts';
import { createMetrics } from '../../../../core/metrics.ts';
import { createMemoryStore } from '../../../../core/object-store/memory.ts';
import type { ObjectStore } from '../../../../core/object-store/object-store.ts';

const day = 86_400_000;
const digest = (letter: string): string => `sha256:${letter.repeat(64)}`;

let store: ObjectStore;
let clock: { now: number };

beforeEach(() => {
  store = createMemoryStore();
  clock = { now: Date.UTC(2030, 0, 1) };
});

/** One request to a replica of the registry; all of them have the store and nothing else in common. */
async function ask(
  caller: string | undefined,
  method: 'GET' | 'PUT' | 'POST',
  url: string,
  payload?: object,
): Promise<{ status: number; body: never }> {
  const authenticator: Authenticator = {
    required: true,
    identify: async () => ({
      principal: caller === undefined ? anonymous : { name: caller, anonymous: false },
      authorizer: { may: (_principal, action, name) => action === 'pull' && !name.startsWith('secret/') },
    }),
  };
  const isPool = createIsPool(['east', 'west'], authenticator);
  const http = createHttpServer({ log: createSilentLogger(), metrics: createMetrics() });
  const now = (): number => clock.now;
  const deps = { store, authenticator, http, isPool, now };
  await http.app.register(createLeaseRoutes({ ...deps, egress: 100 }));
  await http.app.register(createPopularityRoutes(deps));
  const answer = await http.app.inject({
    method,
    url: `/api/v1/pools/${url}`,
    ...(payload === undefined ? {} : { payload }),
  });
  await http.app.close();
  return { status: answer.statusCode, body: answer.json() as never };
}

describe('POST /api/v1/pools/<name>/leases', () => {
  const lease = async (caller: string, name: string, bitsPerSecond: number): Promise<unknown> =>
    (await ask(caller, 'POST', `${name}/leases`, { bitsPerSecond })).body;

  it('shares the link out among pools, whichever replica they ask', async () => {
    expect(await lease('east', 'e1', 80)).toEqual({ bitsPerSecond: 80, seconds: leaseSeconds });
    expect(await lease('west', 'w1', 80)).toEqual({ bitsPerSecond: 20, seconds: leaseSeconds });
    expect(await lease('east', 'e1', 80)).toEqual({ bitsPerSecond: 50, seconds: leaseSeconds });
  });

  it('takes pools of one name of two accounts for two', async () => {
    await lease('east', 'p', 80);

    expect(await lease('west', 'p', 80)).toMatchObject({ bitsPerSecond: 20 });
  });

  it('has it back when the pool says so, or says nothing any more', async () => {
    await lease('east', 'e1', 80);
    await lease('east', 'e1', 0);
    expect(await lease('west', 'w1', 100)).toMatchObject({ bitsPerSecond: 100 });

    clock.now += leaseSeconds * 1000 + 1;
    expect(await lease('east', 'e1', 100)).toMatchObject({ bitsPerSecond: 100 });
  });

  it('grants no more than there is to many who ask at once', async () => {
    const answers = await Promise.all(Array.from({ length: 8 }, (_, pool) => lease('east', `p${pool}`, 30)));

    const sum = (answers as { bitsPerSecond: number }[]).reduce(
      (total, each) => total + each.bitsPerSecond,
      0,
    );
    expect(sum).toBeLessThanOrEqual(100);
    expect(sum).toBeGreaterThan(0);
  });

  it('is for pools alone, and for names that pools have', async () => {
    expect((await ask('alice', 'POST', 'e1/leases', { bitsPerSecond: 1 })).status).toBe(403);
    expect((await ask(undefined, 'POST', 'e1/leases', { bitsPerSecond: 1 })).status).toBe(401);
    expect((await ask('east', 'POST', '..%2fx/leases', { bitsPerSecond: 1 })).status).toBe(400);
    expect((await ask('east', 'POST', 'e1/leases', { bitsPerSecond: -1 })).status).toBe(400);
  });
});

describe('/api/v1/pools/<name>/popularity', () => {
  const snapshot = (...images: readonly object[]) => ({
    version: 1,
    time: clock.now,
    halfLife: 3 * day,
    images,
  });

  it('tells a pool the sum of what the others pull, the most pulled first', async () => {
    const app = { repository: 'team/app', digest: digest('a') };
    const web = { repository: 'team/web', digest: digest('b') };
    await ask('east', 'PUT', 'e1/popularity', snapshot({ ...app, count: 2 }, { ...web, count: 3 }));
    await ask('west', 'PUT', 'w1/popularity', snapshot({ ...app, count: 5 }));
    await ask('west', 'PUT', 'w2/popularity', snapshot({ ...web, count: 100 }));

    const { body } = await ask('west', 'GET', 'w2/popularity');

    expect(body).toMatchObject({ pools: 2, images: [app, web] });
    expect((body as { images: { count: number }[] }).images.map(({ count }) => Math.round(count))).toEqual([
      7, 3,
    ]);
  });

  it('does not tell of repositories that the pool may not pull', async () => {
    const secret = { repository: 'secret/app', digest: digest('c'), count: 9 };
    await ask('east', 'PUT', 'e1/popularity', snapshot(secret));

    expect((await ask('west', 'GET', 'w1/popularity')).body).toMatchObject({ pools: 1, images: [] });
  });

  it('lets pulls of the past fade', async () => {
    await ask(
      'east',
      'PUT',
      'e1/popularity',
      snapshot({ repository: 'team/app', digest: digest('a'), count: 8 }),
    );
    clock.now += 6 * day;

    const { body } = await ask('west', 'GET', 'w1/popularity');

    expect((body as { images: { count: number }[] }).images[0]?.count).toBeCloseTo(2);
  });

  it('refuses what is no snapshot, with the place of the fault', async () => {
    const answer = await ask('east', 'PUT', 'e1/popularity', snapshot({ repository: '../x' }));

    expect(answer).toMatchObject({
      status: 400,
      body: { error: { code: 'SNAPSHOT_INVALID', message: expect.stringContaining('images[0]') } },
    });
    expect((await ask('east', 'PUT', 'e1/popularity')).status).toBe(400);
  });

  it('takes the largest snapshot that a pool sends', async () => {
    const images = Array.from({ length: 5000 }, (_, index) => ({
      repository: `team/${'a'.repeat(240)}${index}`,
      digest: digest('a'),
      count: 1 / 3,
    }));

    expect((await ask('east', 'PUT', 'e1/popularity', snapshot(...images))).status).toBe(200);
    const { body } = await ask('west', 'GET', 'w1/popularity');
    expect((body as { images: unknown[] }).images).toHaveLength(3000);
  });

  it('is for pools alone', async () => {
    expect((await ask('alice', 'PUT', 'e1/popularity', snapshot())).status).toBe(403);
    expect((await ask('alice', 'GET', 'e1/popularity')).status).toBe(403);
    expect((await ask(undefined, 'GET', 'e1/popularity')).status).toBe(401);
  });
});
