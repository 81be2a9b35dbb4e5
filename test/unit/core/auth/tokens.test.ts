import { randomBytes } from 'node:crypto';
import { base64url, exportJWK, generateKeyPair, importJWK, SignJWT } from 'jose';
import { describe, expect, it } from 'vitest';
import { InvalidCredentials } from '../../../../core/auth/authenticator.ts';
import { anonymous } from '../../../../core/auth/authorizer.ts';
import { createSigningKeys, type SigningAlgorithm } from '../../../../core/auth/signing-keys.ts';
import { createTokens } from '../../../../core/auth/tokens.ts';
import { createMemoryStore } from '../../../../core/object-store/memory.ts';

const alice = { name: 'alice', anonymous: false };
const access = [{ type: 'repository', name: 'team/app', actions: ['pull'] }];

function setUp(algorithm: SigningAlgorithm = 'EdDSA') {
  const clock = { now: Date.UTC(2026, 0, 1) };
  const now = (): number => clock.now;
  const store = createMemoryStore();
  const users = new Map([['alice', 'stored hash']]);
  const keys = createSigningKeys({ store, algorithm, now });
  const passwords = { find: (name: string) => users.get(name), cost: () => 10 };
  const tokens = createTokens({ keys, passwords, service: 'registry.test', ttl: 300, now });
  return { clock, now, store, users, keys, passwords, tokens };
}

type SetUp = ReturnType<typeof setUp>;

/** A token that differs in one point from a good one. */
async function forge(
  { keys, clock }: SetUp,
  change: { claims?: Record<string, unknown>; header?: Record<string, unknown>; drop?: string },
): Promise<string> {
  const key = await keys.current();
  const seconds = Math.floor(clock.now / 1000);
  const claims: Record<string, unknown> = {
    iss: 'registry.test',
    aud: 'registry.test',
    sub: '',
    iat: seconds,
    nbf: seconds,
    exp: seconds + 300,
    access,
    ...change.claims,
  };
  if (change.drop !== undefined) delete claims[change.drop];
  return new SignJWT(claims)
    .setProtectedHeader({ alg: key.algorithm, kid: key.kid, typ: 'JWT', ...change.header })
    .sign(key.privateKey);
}

function rewriteHeader(token: string, change: Record<string, unknown>): string {
  const [header = '', ...rest] = token.split('.');
  const parsed = JSON.parse(Buffer.from(header, 'base64url').toString()) as object;
  return [base64url.encode(JSON.stringify({ ...parsed, ...change })), ...rest].join('.');
}

describe('tokens', () => {
  it.each(['EdDSA', 'ES256'] as const)('%s tokens carry principal and access', async (algorithm) => {
    const { tokens } = setUp(algorithm);

    const { token, expiresIn } = await tokens.issue(alice, access);

    expect(expiresIn).toBe(300);
    expect(await tokens.verify(token)).toEqual({ principal: alice, access });
    expect(JSON.parse(Buffer.from(token.split('.')[0] ?? '', 'base64url').toString())).toMatchObject({
      alg: algorithm,
      kid: 'key-000001',
    });
  });

  it('an anonymous token belongs to nobody', async () => {
    const { tokens } = setUp();

    expect(await tokens.verify((await tokens.issue(anonymous, access)).token)).toEqual({
      principal: anonymous,
      access,
    });
  });

  it('the forging helper makes a token that is accepted when nothing is changed', async () => {
    const parts = setUp();

    await expect(parts.tokens.verify(await forge(parts, {}))).resolves.toMatchObject({
      principal: anonymous,
    });
  });

  it('alg none is refused', async () => {
    const { tokens } = setUp();
    const [, payload] = (await tokens.issue(alice, access)).token.split('.');
    const header = base64url.encode(JSON.stringify({ alg: 'none', typ: 'JWT', kid: 'key-000001' }));

    await expect(tokens.verify(`${header}.${payload}.`)).rejects.toThrow(InvalidCredentials);
  });

  it('an HMAC made with the public key is refused', async () => {
    const { tokens, keys, clock } = setUp();
    const { publicJwk } = await keys.current();
    const forged = await new SignJWT({ access, sub: 'alice' })
      .setProtectedHeader({ alg: 'HS256', kid: 'key-000001', typ: 'JWT' })
      .setIssuer('registry.test')
      .setAudience('registry.test')
      .setIssuedAt(clock.now / 1000)
      .setNotBefore(clock.now / 1000)
      .setExpirationTime(clock.now / 1000 + 300)
      .sign(Buffer.concat([Buffer.from(publicJwk.x ?? '', 'base64url')]));

    await expect(tokens.verify(forged)).rejects.toThrow(InvalidCredentials);
  });

  it("a stranger's key under our kid is refused, with and without an embedded jwk (CVE-2025-24976)", async () => {
    const { tokens, clock } = setUp();
    await tokens.issue(alice, access);
    const stranger = await generateKeyPair('EdDSA', { crv: 'Ed25519', extractable: true });
    const seconds = clock.now / 1000;
    for (const extra of [{}, { jwk: await exportJWK(stranger.publicKey) }]) {
      const forged = await new SignJWT({ access, sub: '', iat: seconds, nbf: seconds, exp: seconds + 300 })
        .setProtectedHeader({ alg: 'EdDSA', kid: 'key-000001', typ: 'JWT', ...extra })
        .setIssuer('registry.test')
        .setAudience('registry.test')
        .sign(stranger.privateKey);

      await expect(tokens.verify(forged)).rejects.toThrow(InvalidCredentials);
    }
  });

  it.each(['key-000002', '../keys/key-000001', '', 'key-1', '__proto__', 7, undefined])(
    'a token with the kid %s is refused',
    async (kid) => {
      const { tokens } = setUp();
      const { token } = await tokens.issue(alice, access);

      await expect(tokens.verify(rewriteHeader(token, { kid }))).rejects.toThrow(InvalidCredentials);
    },
  );

  it('a key verifies its own algorithm only', async () => {
    const parts = setUp('ES256');
    const { token } = await parts.tokens.issue(alice, access);

    await expect(parts.tokens.verify(rewriteHeader(token, { alg: 'EdDSA' }))).rejects.toThrow(
      InvalidCredentials,
    );
  });

  it.each([
    ['another audience', { claims: { aud: 'other.test' } }],
    ['no audience', { drop: 'aud' }],
    ['another issuer', { claims: { iss: 'other.test' } }],
    ['no issuer', { drop: 'iss' }],
    ['an end that has passed', { claims: { exp: Date.UTC(2026, 0, 1) / 1000 - 60 } }],
    ['no end', { drop: 'exp' }],
    ['a beginning yet to come', { claims: { nbf: Date.UTC(2026, 0, 1) / 1000 + 60 } }],
    ['no beginning', { drop: 'nbf' }],
    ['no subject', { drop: 'sub' }],
    ['another type', { header: { typ: 'refresh+jwt' } }],
    ['an account but not its version', { claims: { sub: 'alice' } }],
    ['an end that is text', { claims: { exp: '9999999999' } }],
  ])('a properly signed token with %s is refused', async (_what, change) => {
    const parts = setUp();

    const token = await forge(parts, change);

    await expect(parts.tokens.verify(token)).rejects.toThrow(InvalidCredentials);
    await expect(parts.tokens.verify((await parts.tokens.issue(alice, access)).token)).resolves.toBeDefined();
  });

  it('a changed payload or signature is refused', async () => {
    const { tokens } = setUp();
    const { token } = await tokens.issue(alice, access);
    const [header, payload = '', signature = ''] = token.split('.');
    const claims = JSON.parse(Buffer.from(payload, 'base64url').toString()) as object;
    const more = base64url.encode(
      JSON.stringify({ ...claims, access: [{ type: 'repository', name: 'team/app', actions: ['admin'] }] }),
    );

    await expect(tokens.verify(`${header}.${more}.${signature}`)).rejects.toThrow(InvalidCredentials);
    await expect(
      tokens.verify(`${header}.${payload}.${signature.startsWith('A') ? 'B' : 'A'}${signature.slice(1)}`),
    ).rejects.toThrow(InvalidCredentials);
  });

  it.each(['', 'x', '..', 'a.b.c', 'a.b.c.d.e', `${'a'.repeat(20_000)}.b.c`, '\0', 'e30.e30.e30'])(
    'what is no token at all is refused',
    async (text) => {
      const { tokens } = setUp();

      await expect(tokens.verify(text)).rejects.toThrow(InvalidCredentials);
    },
  );

  it('a token ends at its time, also when it was verified before', async () => {
    const { tokens, clock } = setUp();
    const { token } = await tokens.issue(alice, access);
    await tokens.verify(token);

    clock.now += 310_000;

    await expect(tokens.verify(token)).rejects.toThrow(InvalidCredentials);
  });

  it('removing the account or changing its password ends its tokens at once (CVE-2025-23208)', async () => {
    const { tokens, users } = setUp();
    const { token } = await tokens.issue(alice, access);
    const refresh = (await tokens.issueRefresh(alice)) ?? '';
    await tokens.verify(token);

    users.set('alice', 'other hash');
    await expect(tokens.verify(token)).rejects.toThrow(InvalidCredentials);
    await expect(tokens.verifyRefresh(refresh)).rejects.toThrow(InvalidCredentials);
    users.delete('alice');
    await expect(tokens.verify(token)).rejects.toThrow(InvalidCredentials);
  });

  it('a refresh token is no access token, nor the other way round', async () => {
    const { tokens } = setUp();
    const refresh = (await tokens.issueRefresh(alice)) ?? '';
    const { token } = await tokens.issue(alice, access);

    await expect(tokens.verify(refresh)).rejects.toThrow(InvalidCredentials);
    await expect(tokens.verifyRefresh(token)).rejects.toThrow(InvalidCredentials);
    expect(await tokens.verifyRefresh(refresh)).toEqual(alice);
  });

  it('access claims of a wrong shape grant nothing', async () => {
    const parts = setUp();
    for (const odd of ['all', [null, 7, { type: 'repository' }, { type: 1, name: 'a', actions: [] }]]) {
      const token = await forge(parts, { claims: { access: odd } });

      expect((await parts.tokens.verify(token)).access).toEqual([]);
    }
  });
});

describe('signing keys', () => {
  it('processes that start together share one key', async () => {
    const { store, now } = setUp();
    const many = Array.from({ length: 8 }, () => createSigningKeys({ store, now }));

    const kids = await Promise.all(many.map(async (keys) => (await keys.current()).kid));

    expect(new Set(kids)).toEqual(new Set(['key-000001']));
    expect((await store.list({ prefix: 'auth/keys/' })).objects).toHaveLength(1);
  });

  it('what is published holds no private part', async () => {
    for (const algorithm of ['EdDSA', 'ES256'] as const) {
      const { keys, store } = setUp(algorithm);
      await keys.current();
      const stored = JSON.parse((await store.get('auth/keys/key-000001'))?.body.toString() ?? '') as {
        jwk: { d: string };
      };

      const published = await keys.publicKeys();

      expect(stored.jwk.d).toMatch(/^[\w-]{43}$/);
      expect(JSON.stringify(published)).not.toContain(stored.jwk.d);
      expect(published.keys[0]).not.toHaveProperty('d');
      await expect(importJWK(published.keys[0] ?? {}, algorithm)).resolves.toBeDefined();
    }
  });

  it('after a rotation old tokens go on, and the new key signs once every process can know it', async () => {
    const parts = setUp();
    const other = createSigningKeys({ store: parts.store, now: parts.now });
    const old = (await parts.tokens.issue(alice, access)).token;
    await other.current();

    await parts.keys.rotate();

    expect((await parts.keys.current()).kid).toBe('key-000001');
    parts.clock.now += 121_000;
    expect((await parts.keys.current()).kid).toBe('key-000002');
    expect((await other.current()).kid).toBe('key-000002');
    await expect(parts.tokens.verify(old)).resolves.toMatchObject({ principal: alice });
  });

  it('another algorithm in the configuration makes a key of its own and keeps the old one for verifying', async () => {
    const parts = setUp('EdDSA');
    const old = (await parts.tokens.issue(alice, access)).token;
    const keys = createSigningKeys({ store: parts.store, algorithm: 'ES256', now: parts.now });
    const tokens = createTokens({ ...parts, keys, service: 'registry.test' });

    expect(await keys.current()).toMatchObject({ kid: 'key-000002', algorithm: 'ES256' });
    await expect(tokens.verify(old)).resolves.toMatchObject({ principal: alice });
  });

  it.each([
    '',
    '{}',
    'null',
    '{"version":1}',
    '{"version":2,"kid":"key-000001"}',
    randomBytes(100).toString('hex'),
  ])('an object that is no key is passed over: %s', async (text) => {
    const { store, keys } = setUp();
    await store.put('auth/keys/key-000001', Buffer.from(text));

    expect((await keys.current()).kid).toBe('key-000002');
  });

  it('unknown kids do not make it read the store again and again', async () => {
    const { store, now } = setUp();
    let lists = 0;
    const counting = {
      ...store,
      list: (options: Parameters<typeof store.list>[0]) => {
        lists += 1;
        return store.list(options);
      },
    };
    const keys = createSigningKeys({ store: counting, now });
    await keys.current();
    const before = lists;

    await Promise.all(
      Array.from({ length: 50 }, (_, index) => keys.find(`key-${String(index + 100).padStart(6, '0')}`)),
    );

    expect(lists - before).toBe(0);
  });
});
