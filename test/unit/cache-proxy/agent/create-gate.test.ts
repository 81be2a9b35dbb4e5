import { afterEach, describe, expect, it } from 'vitest';
import {
  type AccessFixture,
  type AccessFixtureOptions,
  basic,
  createAccessFixture,
} from './access-fixture.ts';

const challenge = (repository: string, error?: string): string =>
  `Bearer realm="https://pool.test/token",service="registry.test",scope="repository:${repository}:pull"${
    error === undefined ? '' : `,error="${error}"`
  }`;
const allowed = { outcome: 'allowed', prewarm: false };
const away = { outcome: 'unavailable', retryAfter: 5 };
const day = 86_400_000;

let fixture: AccessFixture;
afterEach(() => fixture.close());
const setUp = async (options?: AccessFixtureOptions): Promise<AccessFixture> => {
  fixture = await createAccessFixture(options);
  return fixture;
};

describe('the gate', () => {
  it('lets the owner have tag, manifest and layer', async () => {
    const { decide, tokenOf, layer, manifest } = await setUp();
    const authorization = await tokenOf('alice', 'team/app');

    expect(await decide({ authorization })).toEqual(allowed);
    expect(await decide({ authorization, reference: { digest: manifest } })).toEqual(allowed);
    expect(await decide({ authorization, reference: { digest: layer }, kind: 'blob' })).toEqual(allowed);
  });

  it('denies another account what it may not pull', async () => {
    const { decide, tokenOf, layer } = await setUp();
    const authorization = await tokenOf('bob', 'team/app');

    expect(await decide({ authorization, reference: { digest: layer }, kind: 'blob' })).toEqual({
      outcome: 'denied',
    });
    expect(await decide({ authorization: basic('bob', 'builder') })).toEqual({ outcome: 'denied' });
  });

  it('tells nobody in particular how to sign in', async () => {
    const { decide, tokenOf } = await setUp();
    const outcome = 'unauthenticated';

    expect(await decide({})).toEqual({ outcome, challenge: challenge('team/app') });
    const anonymous = await tokenOf('', 'team/app');
    expect(await decide({ authorization: anonymous })).toEqual({
      outcome,
      challenge: challenge('team/app', 'insufficient_scope'),
    });
    expect(await decide({ authorization: 'Digest abc' })).toEqual({
      outcome,
      challenge: challenge('team/app'),
    });
    expect(
      await decide({ authorization: await tokenOf('', 'public/app'), repository: 'public/app' }),
    ).toEqual(allowed);
  });

  it('has a token for one repository changed for one for another', async () => {
    const { decide, tokenOf } = await setUp();
    const authorization = await tokenOf('alice', 'team/app');

    expect(await decide({ authorization, repository: 'team/other' })).toEqual({
      outcome: 'unauthenticated',
      challenge: challenge('team/other', 'insufficient_scope'),
    });
  });

  it('knows no digest of another repository, and no manifest as a blob', async () => {
    const { decide, tokenOf, foreign, manifest } = await setUp();
    const authorization = await tokenOf('alice', 'team/app');

    expect(await decide({ authorization, reference: { digest: foreign }, kind: 'blob' })).toEqual({
      outcome: 'unknown',
    });
    expect(await decide({ authorization, reference: { digest: manifest }, kind: 'blob' })).toEqual({
      outcome: 'unknown',
    });
  });

  it('knows nothing of names that are none, and asks nobody about them', async () => {
    const { decide, tokenOf, origin } = await setUp();
    const authorization = await tokenOf('alice', 'team/app');
    const before = origin.asked.length;
    const names = [
      '..',
      'team/../other/app',
      'team//app',
      'team/app%2f..%2f..%2fother',
      'Team/app',
      'team/app/',
      '',
    ];
    const tags = ['../v1', '', 'v1?x', 'v1/..', 'sha256:00'];

    const verdicts = await Promise.all([
      ...names.map((repository) => decide({ authorization, repository })),
      ...tags.map((tag) => decide({ authorization, reference: { tag } })),
      ...tags.map((digest) => decide({ authorization, reference: { digest }, kind: 'blob' })),
    ]);

    expect(new Set(verdicts.map(({ outcome }) => outcome))).toEqual(new Set(['unknown']));
    expect(origin.asked.length).toBe(before);
  });

  it.each([
    ['forged', (token: string) => `${token.slice(0, -4)}AAAA`],
    ['cut', (token: string) => token.slice(0, -30)],
  ])('refuses a %s token', async (_, change) => {
    const { decide, tokenOf } = await setUp();

    const authorization = change(await tokenOf('alice', 'team/app'));

    expect(await decide({ authorization })).toEqual({
      outcome: 'unauthenticated',
      challenge: challenge('team/app', 'invalid_token'),
    });
  });

  it('refuses a token that has expired, and a refresh token', async () => {
    const { decide, tokenOf, tokens, clock } = await setUp();
    const authorization = await tokenOf('alice', 'team/app');
    const refresh = await tokens.issueRefresh({ name: 'alice', anonymous: false });
    const refused = { outcome: 'unauthenticated', challenge: challenge('team/app', 'invalid_token') };

    expect(await decide({ authorization: `Bearer ${refresh}` })).toEqual(refused);
    clock.now += 920_000;
    expect(await decide({ authorization })).toEqual(refused);
  });

  it("lets the process' own requests through, and marks them", async () => {
    const { decide, access, origin, foreign } = await setUp();

    expect(
      await decide({ authorization: access.authorization, reference: { digest: foreign }, kind: 'blob' }),
    ).toEqual({ outcome: 'allowed', prewarm: true });
    expect(await decide({ authorization: `${access.authorization}x` })).not.toMatchObject({ prewarm: true });
    // Whatever the answer, nobody waits for it: it is for the node that asks when the origin is away.
    expect(origin.asked).toContain(`HEAD /v2/team/app/blobs/${foreign}`);
  });

  it('asks the origin once for any number of clients, and not again for a day', async () => {
    const { decide, tokenOf, layer, origin, clock } = await setUp();
    const question = `HEAD /v2/team/app/blobs/${layer}`;
    const count = (): number => origin.asked.filter((asked) => asked === question).length;
    const ask = { authorization: await tokenOf('alice', 'team/app'), reference: { digest: layer } } as const;

    const verdicts = await Promise.all(Array.from({ length: 20 }, () => decide({ ...ask, kind: 'blob' })));

    expect(verdicts).toEqual(Array.from({ length: 20 }, () => allowed));
    expect(count()).toBe(1);
    clock.now += day - 60_000;
    const authorization = await tokenOf('alice', 'team/app');
    expect(await decide({ ...ask, authorization, kind: 'blob' })).toEqual(allowed);
    expect(count()).toBe(1);
  });

  it('forgets what the origin took away', async () => {
    const { decide, tokenOf, layer, access, registry } = await setUp();
    const ask = { reference: { digest: layer }, kind: 'blob' } as const;
    const authorization = await tokenOf('alice', 'team/app');
    expect(await decide({ ...ask, authorization })).toEqual(allowed);

    await registry.deleteBlob('team/app', layer as never);
    access.forget({ repository: 'team/app', digest: layer });

    expect(await decide({ ...ask, authorization })).toEqual({ outcome: 'unknown' });
  });

  it.each([
    ['password', ({ users }: AccessFixture) => users.set('alice', 'changed')],
    ['account', ({ users }: AccessFixture) => users.delete('alice')],
    [
      'rule',
      ({ rules }: AccessFixture) => rules([{ repositories: '**', users: ['pool-1'], actions: ['pull'] }]),
    ],
  ] as const)('ends a token and a Basic credential within 20 s when the %s is gone', async (_, revoke) => {
    const { decide, tokenOf, clock } = await setUp();
    const token = { authorization: await tokenOf('alice', 'team/app') };
    const password = { authorization: basic('alice', 'wonderland') };
    expect(await decide(token)).toEqual(allowed);
    expect(await decide(password)).toEqual(allowed);

    revoke(fixture);
    clock.now += 20_000;

    expect((await decide(token)).outcome).toBe('unauthenticated');
    expect((await decide(password)).outcome).toMatch(/unauthenticated|denied/);
  });

  it('asks with the token itself where the origin cannot say which are void', async () => {
    const { decide, tokenOf, clock, users, origin } = await setUp({ withoutVoidTokens: true });
    const token = { authorization: await tokenOf('alice', 'team/app') };
    expect(await decide(token)).toEqual(allowed);
    clock.now += 20_000;
    expect(await decide(token)).toEqual(allowed);
    expect(origin.asked).toContain('HEAD /v2/team/app/manifests/v1');

    origin.state = 'away';
    clock.now += 20_000;
    expect(await decide(token)).toEqual(allowed);
    origin.state = 'up';
    users.delete('alice');
    clock.now += 20_000;
    expect((await decide(token)).outcome).toBe('unauthenticated');
  });

  it('asks an origin whose tokens it cannot read, and knows by its answer whom to let in while it is away', async () => {
    const { decide, tokenOf, layer, origin, clock, agent } = await setUp({
      withoutKeys: true,
      withoutVoidTokens: true,
    });
    const blob = { reference: { digest: layer }, kind: 'blob' } as const;
    const authorization = await tokenOf('alice', 'team/app');

    expect(await decide({ ...blob, authorization })).toEqual(allowed);
    expect(origin.asked.filter((asked) => asked === `HEAD /v2/team/app/blobs/${layer}`)).toHaveLength(2);
    expect((await decide({ ...blob, authorization: await tokenOf('bob', 'team/app') })).outcome).toBe(
      'unauthenticated',
    );
    expect((await decide({ ...blob, authorization: 'Bearer abc' })).outcome).toBe('unauthenticated');

    origin.state = 'away';
    clock.now += 60_000;
    expect(await decide({ ...blob, authorization })).toEqual(allowed);
    expect(await decide({ ...blob, authorization: await tokenOf('alice', 'team/app') })).toEqual(allowed);
    expect(await decide({ ...blob, authorization: 'Bearer abc' })).toEqual(away);
    const url = '/token?service=registry.test&scope=repository:team/app:pull';
    const refused = await agent({ url, headers: { authorization: basic('bob', 'builder') } });
    expect(refused.statusCode).toBe(503);
  });

  it('gives everybody the repositories that are for everybody', async () => {
    const pool = {
      auth: { mode: 'token', offlineGrace: day, anonymousRepositories: ['public/**'] },
    } as const;
    const { decide, layer, foreign, origin } = await setUp({ pool });
    const ask = { repository: 'public/app', reference: { digest: layer }, kind: 'blob' } as const;

    expect(await decide(ask)).toEqual(allowed);
    expect(await decide({ ...ask, reference: { digest: foreign } })).toEqual({ outcome: 'unknown' });
    expect((await decide({})).outcome).toBe('unauthenticated');
    origin.state = 'away';
    expect(await decide(ask)).toEqual(allowed);
  });

  it('asks nobody who he is in an open pool, but keeps repositories apart', async () => {
    const pool = { auth: { mode: 'open', offlineGrace: day, anonymousRepositories: [] } } as const;
    const { decide, layer, foreign } = await setUp({ pool });

    expect(await decide({ reference: { digest: layer }, kind: 'blob' })).toEqual(allowed);
    expect(await decide({ reference: { digest: foreign }, kind: 'blob' })).toEqual({ outcome: 'unknown' });
  });

  it('keeps to the patterns of other registries', async () => {
    const upstream = {
      ns: 'docker.io',
      urls: ['http://hub.test'],
      allow: ['library/**', 'team/*'],
      deny: ['team/app'],
    };
    const { decide, layer } = await setUp({ pool: { upstreams: [upstream] } });
    const ns = 'docker.io';

    expect(await decide({ ns, repository: 'library/debian' })).toEqual(allowed);
    expect(await decide({ ns, repository: 'debian' })).toEqual(allowed);
    expect(await decide({ ns, repository: 'team/app' })).toEqual({ outcome: 'denied' });
    expect(await decide({ ns, repository: 'other/app' })).toEqual({ outcome: 'denied' });
    expect(await decide({ ns: 'elsewhere.test', repository: 'library/debian' })).toEqual({
      outcome: 'unknown',
    });
    expect(
      await decide({ ns, repository: 'library/debian', reference: { digest: layer }, kind: 'blob' }),
    ).toEqual({ outcome: 'unknown' });
    expect((await decide({ ns: '10.0.0.1:5000' })).outcome).toBe('unauthenticated');
  });
});

describe('the gate while the origin is away', () => {
  it('goes on with tokens, and with passwords that were right before', async () => {
    const { decide, tokenOf, layer, origin, clock } = await setUp();
    const token = await tokenOf('alice', 'team/app');
    const password = basic('alice', 'wonderland');
    const blob = { reference: { digest: layer }, kind: 'blob' } as const;
    await decide({ ...blob, authorization: token });
    await decide({ ...blob, authorization: password });

    origin.state = 'away';
    clock.now += 60_000;

    expect(await decide({ ...blob, authorization: token })).toEqual(allowed);
    expect(await decide({ ...blob, authorization: password })).toEqual(allowed);
    expect(await decide({ ...blob, authorization: basic('alice', 'guess') })).toEqual(away);
    expect(await decide({ authorization: basic('alice', 'wonderland'), repository: 'other/app' })).toEqual(
      away,
    );
    expect((await decide(blob)).outcome).toBe('unauthenticated');
  });

  it('says "not available" for what nobody asked for before, never "not there"', async () => {
    const { decide, tokenOf, layer, origin } = await setUp();
    const authorization = await tokenOf('alice', 'team/app');

    origin.state = 'away';

    expect(await decide({ authorization, reference: { digest: layer }, kind: 'blob' })).toEqual(away);
  });

  it('goes on after a restart, for as long as the grace', async () => {
    const { decide, tokenOf, layer, origin, restart, clock } = await setUp();
    const blob = { reference: { digest: layer }, kind: 'blob' } as const;
    const password = basic('alice', 'wonderland');
    await decide({ ...blob, authorization: password });
    const authorization = await tokenOf('alice', 'team/app');

    origin.state = 'away';
    restart();

    expect(await decide({ ...blob, authorization })).toEqual(allowed);
    clock.now += day - 1_000;
    expect(await decide({ ...blob, authorization: password })).toEqual(allowed);
    clock.now += 2_000;
    expect(await decide({ ...blob, authorization: password })).toEqual(away);
  });

  it('goes on believing for longer than a day what is in a repository', async () => {
    const { decide, layer, origin, clock } = await setUp();
    const authorization = basic('alice', 'wonderland');
    const blob = { authorization, reference: { digest: layer }, kind: 'blob' } as const;
    await decide(blob);
    clock.now += day - 60_000;
    await decide({ authorization });

    origin.state = 'away';
    clock.now += 120_000;

    expect(await decide(blob)).toEqual(allowed);
  });

  it('uses nothing that it remembers while the origin answers others', async () => {
    const { decide, origin, users, clock } = await setUp();
    const authorization = basic('alice', 'wonderland');
    expect(await decide({ authorization })).toEqual(allowed);

    // As when somebody whose password was changed makes the origin answer 429 with wrong guesses.
    users.set('alice', 'changed');
    origin.state = 'busy';
    clock.now += 20_000;

    expect(await decide({ authorization })).toEqual(away);
  });

  it('forgets a password that the origin refused once', async () => {
    const { decide, origin, users, clock } = await setUp();
    const authorization = basic('alice', 'wonderland');
    await decide({ authorization });
    users.set('alice', 'changed');
    clock.now += 20_000;
    expect((await decide({ authorization })).outcome).toBe('unauthenticated');

    origin.state = 'away';
    clock.now += 20_000;

    expect(await decide({ authorization })).toEqual(away);
  });
});
