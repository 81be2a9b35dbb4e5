import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { LightMyRequestResponse } from 'fastify';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type AccessFixture, basic, createAccessFixture } from './access-fixture.ts';

let fixture: AccessFixture;
beforeEach(async () => {
  fixture = await createAccessFixture();
});
afterEach(() => fixture.close());

const scope = (repository: string): string => `service=registry.test&scope=repository:${repository}:pull`;
const fetchToken = (authorization?: string, query = scope('team/app')): Promise<LightMyRequestResponse> =>
  fixture.agent({ url: `/token?${query}`, headers: authorization === undefined ? {} : { authorization } });
const postToken = (form: Record<string, string>): Promise<LightMyRequestResponse> =>
  fixture.agent({
    method: 'POST',
    url: '/token',
    headers: { 'content-type': 'application/x-www-form-urlencoded' },
    payload: new URLSearchParams({
      service: 'registry.test',
      scope: 'repository:team/app:pull',
      ...form,
    }).toString(),
  });
const bearer = (answer: LightMyRequestResponse): string => `Bearer ${answer.json<{ token: string }>().token}`;
const alice = basic('alice', 'wonderland');

describe('/token of a pool', () => {
  it("hands out the origin's own tokens, by GET and by POST, also to nobody in particular", async () => {
    const answers = [
      await fetchToken(alice),
      await postToken({ grant_type: 'password', username: 'alice', password: 'wonderland' }),
      await fetchToken(undefined, scope('public/app')),
    ];

    expect(answers.map(({ statusCode }) => statusCode)).toEqual([200, 200, 200]);
    for (const answer of answers) {
      expect(answer.headers['cache-control']).toBe('no-store');
      await fixture.tokens.verify(bearer(answer).slice(7));
    }
  });

  it('passes the refusal of a wrong password on', async () => {
    const answer = await fetchToken(basic('alice', 'guess'));

    expect(answer.statusCode).toBe(401);
    expect(answer.headers['www-authenticate']).toMatch(/^Basic /);
    expect(answer.json()).toMatchObject({ errors: [{ code: 'UNAUTHORIZED' }] });
  });

  it('asks the origin once in ten seconds about a wrong password, however often it is tried', async () => {
    const guess = basic('alice', 'guess');
    const asked = (): number => fixture.origin.asked.filter((question) => question.endsWith('/token')).length;

    const answers = await Promise.all([1, 2, 3].map(() => fetchToken(guess)));
    for (let count = 0; count < 20; count += 1) answers.push(await fetchToken(guess));

    expect(new Set(answers.map(({ statusCode }) => statusCode))).toEqual(new Set([401]));
    expect(asked()).toBeLessThanOrEqual(3);
    fixture.users.set('alice', 'guess');
    fixture.clock.now += 11_000;
    expect((await fetchToken(guess)).statusCode).toBe(200);
  });

  it('gives whoever was let in before a token of its own while the origin is away', async () => {
    await fetchToken(alice);
    await fixture.decide({ authorization: alice, reference: { digest: fixture.layer }, kind: 'blob' });
    fixture.origin.state = 'away';

    const answer = await fetchToken(alice);

    expect(answer.statusCode).toBe(200);
    expect(answer.json()).toMatchObject({ expires_in: 60, token_type: 'Bearer' });
    const authorization = bearer(answer);
    await expect(fixture.tokens.verify(authorization.slice(7))).rejects.toThrow();
    const { layer: digest, foreign } = fixture;
    const ask = { authorization, kind: 'blob' } as const;
    expect(await fixture.decide({ ...ask, reference: { digest } })).toMatchObject({ outcome: 'allowed' });
    expect(await fixture.decide({ ...ask, reference: { digest: foreign } })).toMatchObject({
      outcome: 'unavailable',
    });
    expect(await fixture.decide({ ...ask, repository: 'other/app', reference: { digest } })).toMatchObject({
      outcome: 'unauthenticated',
    });
  });

  it.each(['password', 'refresh token'])('does so for a %s by POST, also after a restart', async (kind) => {
    const first = await postToken({
      grant_type: 'password',
      username: 'alice',
      password: 'wonderland',
      access_type: 'offline',
    });
    const form =
      kind === 'password'
        ? { grant_type: 'password', username: 'alice', password: 'wonderland' }
        : {
            grant_type: 'refresh_token',
            refresh_token: first.json<{ refresh_token: string }>().refresh_token,
          };
    await postToken(form);
    fixture.origin.state = 'away';
    fixture.restart();

    expect((await postToken(form)).json()).toMatchObject({ access_token: expect.any(String) as string });
  });

  it.each([
    ['a wrong password', () => fetchToken(basic('alice', 'guess'))],
    ['another repository', () => fetchToken(alice, scope('other/app'))],
    ['somebody it never saw', () => fetchToken(basic('bob', 'builder'))],
    ['nobody in particular', () => fetchToken()],
    [
      'a form of somebody it never saw',
      () => postToken({ grant_type: 'password', username: 'x', password: 'y' }),
    ],
  ])('answers %s with 503 and Retry-After then, never with a refusal', async (_, ask) => {
    await fetchToken(alice);
    fixture.origin.state = 'away';

    const answer = await ask();

    expect(answer.statusCode).toBe(503);
    expect(Number(answer.headers['retry-after'])).toBeGreaterThan(0);
    expect(answer.json()).toMatchObject({ errors: [{ code: 'UNAVAILABLE' }] });
  });

  it('remembers no longer than the grace, and nothing that the origin took back', async () => {
    await fetchToken(alice);
    fixture.origin.state = 'away';
    fixture.clock.now += 86_400_000;
    expect((await fetchToken(alice)).statusCode).toBe(503);

    fixture.origin.state = 'up';
    await fetchToken(alice);
    fixture.rules([{ repositories: '**', users: ['pool-1'], actions: ['pull'] }]);
    await fetchToken(alice);
    fixture.origin.state = 'away';
    expect((await fetchToken(alice)).statusCode).toBe(503);
  });

  it('remembers nobody whom the origin refuses, or whose token it called void', async () => {
    const authorization = bearer(await fetchToken(alice));
    fixture.users.set('alice', 'changed');
    fixture.clock.now += 20_000;
    expect((await fixture.decide({ authorization })).outcome).toBe('unauthenticated');

    fixture.origin.state = 'away';

    expect((await fetchToken(alice)).statusCode).toBe(503);
  });

  it('gives no token of its own when the origin only refuses to answer this client', async () => {
    await fetchToken(alice);
    fixture.origin.state = 'busy';

    expect((await fetchToken(alice)).statusCode).toBe(503);
  });

  it('keeps no password and no token on disk, and shows nobody else what it keeps', async () => {
    const form = {
      grant_type: 'password',
      username: 'alice',
      password: 'wonderland',
      access_type: 'offline',
    };
    const answers = [await fetchToken(alice), await postToken(form)];
    await fixture.decide({ authorization: alice, reference: { digest: fixture.layer }, kind: 'blob' });

    fixture.restart();

    const names = readdirSync(fixture.folder);
    expect(names.sort()).toEqual(['grants.json', 'memberships', 'origin.json', 'token-key.pem']);
    const secrets = ['wonderland', alice.slice(6), ...answers.map((answer) => bearer(answer).slice(7))];
    for (const name of names) {
      const path = join(fixture.folder, name);
      expect([name, statSync(path).mode & 0o777]).toEqual([name, 0o600]);
      for (const secret of secrets) expect(readFileSync(path, 'utf8')).not.toContain(secret);
    }
  });

  it('wants tokens of its own changed once the origin is back', async () => {
    await fetchToken(alice);
    fixture.origin.state = 'away';
    const authorization = bearer(await fetchToken(alice));
    expect((await fixture.decide({ authorization })).outcome).toBe('allowed');

    fixture.origin.state = 'up';
    fixture.clock.now += 25_000;

    expect(await fixture.decide({ authorization })).toMatchObject({
      outcome: 'unauthenticated',
      challenge: expect.stringContaining('error="invalid_token"') as string,
    });
  });

  it('takes neither a token for a password nor another method', async () => {
    const authorization = bearer(await fetchToken(alice));

    expect((await fetchToken(authorization)).statusCode).toBe(400);
    expect((await fixture.agent({ method: 'DELETE', url: '/token' })).statusCode).toBe(405);
  });
});

describe('/v2/ of a pool', () => {
  const ping = (authorization?: string): Promise<LightMyRequestResponse> =>
    fixture.agent({ url: '/v2/', headers: authorization === undefined ? {} : { authorization } });

  it("has the pool's own realm in its one challenge", async () => {
    const answer = await ping();

    expect(answer.statusCode).toBe(401);
    expect(answer.headers['www-authenticate']).toBe(
      'Bearer realm="https://pool.test/token",service="registry.test"',
    );
    expect(answer.headers['docker-distribution-api-version']).toBe('registry/2.0');
  });

  it('knows a token and a password, and no others', async () => {
    expect((await ping(bearer(await fetchToken(alice)))).statusCode).toBe(200);
    expect((await ping(alice)).statusCode).toBe(200);
    expect((await ping(basic('alice', 'guess'))).statusCode).toBe(401);
    expect((await ping('Bearer abc')).statusCode).toBe(401);
  });

  it('has the same challenge while the origin is away, also after a restart', async () => {
    const { 'www-authenticate': challenge } = (await ping()).headers;
    await ping(alice);
    fixture.origin.state = 'away';
    fixture.restart();

    expect((await ping()).headers['www-authenticate']).toBe(challenge);
    expect((await ping(alice)).statusCode).toBe(200);
    expect((await ping(basic('bob', 'builder'))).statusCode).toBe(503);
  });

  it('is not available when nobody ever knew what the origin wants', async () => {
    fixture.origin.state = 'away';

    const answer = await ping();

    expect(answer.statusCode).toBe(503);
    expect(answer.headers['retry-after']).toBe('5');
  });
});
