import type { LightMyRequestResponse } from 'fastify';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  type AccessFixture,
  type AccessFixtureOptions,
  basic,
  createAccessFixture,
} from './access-fixture.ts';

const alice = basic('alice', 'wonderland');
const pull = 'service=registry.test&scope=repository:team/app:pull';

let fixture: AccessFixture;
let release = (): void => {};
beforeEach(async () => {
  fixture = await createAccessFixture();
});
afterEach(async () => {
  release();
  await fixture.close();
});
const startWith = async (options: AccessFixtureOptions): Promise<void> => {
  await fixture.close();
  fixture = await createAccessFixture(options);
};

/** Nothing gets to the origin before `release`, and the pool knows that waiting is long. */
function crawl(): void {
  const { promise, resolve } = Promise.withResolvers<void>();
  fixture.origin.hurry = 1;
  fixture.origin.line = promise;
  release = () => {
    resolve();
    fixture.origin.line = Promise.resolve();
  };
}
const fetchToken = (authorization?: string, query = pull): Promise<LightMyRequestResponse> =>
  fixture.agent({ url: `/token?${query}`, headers: authorization === undefined ? {} : { authorization } });
const bearer = (answer: LightMyRequestResponse): string => `Bearer ${answer.json<{ token: string }>().token}`;
const asked = (path: string): number => fixture.origin.asked.filter((each) => each.endsWith(path)).length;
const untilAsked = (path: string, times: number): Promise<void> =>
  expect.poll(() => asked(path), { timeout: 10_000, interval: 5 }).toBeGreaterThanOrEqual(times);

describe('a token over a line that crawls', () => {
  it('is that of the last time, for the same request with the same password', async () => {
    const first = await fetchToken(alice);
    crawl();
    fixture.clock.now += 60_000;

    const again = await fetchToken(alice);

    expect(bearer(again)).toBe(bearer(first));
    expect(again.headers['cache-control']).toBe('no-store');
    const issued = Date.parse(again.json<{ issued_at: string }>().issued_at);
    const lives = first.json<{ expires_in: number }>().expires_in;
    expect([issued, again.json<{ expires_in: number }>().expires_in]).toEqual([
      fixture.clock.now,
      lives - 60,
    ]);
  });

  it.each([
    ['another password', () => fetchToken(basic('alice', 'guess'))],
    ['nobody in particular', () => fetchToken()],
    ['another repository', () => fetchToken(alice, pull.replace('team', 'other'))],
    ['pushing', () => fetchToken(alice, `${pull},push`)],
    ['signing in', () => fetchToken(alice, 'service=registry.test')],
    ['a token for long', () => fetchToken(alice, `${pull}&offline_token=true`)],
  ])('is asked of the origin for %s', async (_, ask) => {
    const first = await fetchToken(alice);
    await ask();
    const before = asked('/token');
    crawl();

    const answer = ask();
    release();

    const given = await answer;
    if (given.statusCode === 200) {
      expect(asked('/token')).toBe(before + 1);
      expect(bearer(given)).not.toBe(bearer(first));
    } else expect(given.statusCode).toBe(401);
  });

  it('is renewed behind the backs of those who ask, and never given past half of its life', async () => {
    const first = await fetchToken(alice);
    crawl();
    fixture.clock.now += 300_000;
    const before = asked('/token');

    expect(bearer(await fetchToken(alice))).toBe(bearer(first));
    expect(bearer(await fetchToken(alice))).toBe(bearer(first));
    release();
    await untilAsked('/token', before + 1);
    await expect
      .poll(async () => bearer(await fetchToken(alice)), { timeout: 10_000 })
      .not.toBe(bearer(first));
    expect(asked('/token')).toBe(before + 1);

    fixture.clock.now += 500_000;
    expect(bearer(await fetchToken(alice))).not.toBe(bearer(first));
    expect(asked('/token')).toBe(before + 2);
  });

  it.each([
    ['password', (): unknown => fixture.users.set('alice', 'changed')],
    ['account', (): unknown => fixture.users.delete('alice')],
    ['rule', (): unknown => fixture.rules([{ repositories: '**', users: ['pool-1'], actions: ['pull'] }])],
  ] as const)('opens nothing 16 seconds after the %s is gone, and is not given again', async (_, revoke) => {
    const first = await fetchToken(alice);
    expect((await fixture.decide({ authorization: bearer(first) })).outcome).toBe('allowed');
    fixture.origin.hurry = 1;
    revoke();

    fixture.clock.now += 16_000;

    const again = bearer(await fetchToken(alice));
    expect((await fixture.decide({ authorization: again })).outcome).toBe('unauthenticated');
    const refused = await fetchToken(alice);
    if (refused.statusCode === 200) {
      expect((await fixture.decide({ authorization: bearer(refused) })).outcome).toBe('denied');
    } else expect(refused.statusCode).toBe(401);
  });

  it('that grants nothing is not given again: the right may be there by now', async () => {
    const bob = basic('bob', 'builder');
    await fetchToken(bob);
    fixture.origin.hurry = 1;
    fixture.rules([{ repositories: '**', users: ['bob', 'pool-1'], actions: ['pull'] }]);

    expect(await fixture.decide({ authorization: bearer(await fetchToken(bob)) })).toMatchObject({
      outcome: 'allowed',
    });
  });

  it('that only the origin can read is given for twenty seconds', async () => {
    await startWith({ withoutKeys: true, withoutVoidTokens: true });
    const first = await fetchToken(alice);
    fixture.origin.hurry = 1;

    fixture.clock.now += 19_000;
    expect(bearer(await fetchToken(alice))).toBe(bearer(first));
    fixture.clock.now += 20_000;
    expect(bearer(await fetchToken(alice))).not.toBe(bearer(first));
  });
});

describe('a password over a line that crawls', () => {
  const question = '/v2/team/app/manifests/v1';

  it('counts for twenty seconds, with the question under way, and not a second longer', async () => {
    expect((await fixture.decide({ authorization: alice })).outcome).toBe('allowed');
    crawl();
    fixture.clock.now += 19_000;
    expect((await fixture.decide({ authorization: alice })).outcome).toBe('allowed');
    expect((await fixture.decide({ authorization: alice })).outcome).toBe('allowed');
    expect(asked(question)).toBe(2);

    fixture.users.set('alice', 'changed');
    fixture.clock.now += 1_000;
    const late = fixture.decide({ authorization: alice });
    release();

    expect((await late).outcome).toBe('unauthenticated');
  });

  it('that was refused meanwhile is not let in while the origin is away', async () => {
    await fixture.decide({ authorization: alice });
    crawl();
    fixture.rules([{ repositories: '**', users: ['pool-1'], actions: ['pull'] }]);
    fixture.clock.now += 11_000;
    expect((await fixture.decide({ authorization: alice })).outcome).toBe('allowed');

    release();
    await expect
      .poll(async () => (await fixture.decide({ authorization: alice })).outcome, { timeout: 10_000 })
      .toBe('denied');
    fixture.origin.hurry = undefined;
    fixture.origin.state = 'away';
    fixture.clock.now += 5_000;

    expect((await fixture.decide({ authorization: alice })).outcome).toBe('unavailable');
  });
});

describe('a digest over a line that crawls', () => {
  it('that was there a day ago is there until the origin says otherwise', async () => {
    const { decide, layer, registry, clock } = fixture;
    const blob = { authorization: alice, reference: { digest: layer }, kind: 'blob' } as const;
    expect((await decide(blob)).outcome).toBe('allowed');
    clock.now += 86_400_000;
    await fixture.decide({ authorization: alice });
    await registry.deleteBlob('team/app', layer as never);
    crawl();

    expect((await decide(blob)).outcome).toBe('allowed');

    release();
    await expect.poll(async () => (await decide(blob)).outcome, { timeout: 10_000 }).toBe('unknown');
  });
});
