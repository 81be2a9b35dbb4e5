import { describe, expect, it } from 'vitest';
import { createAuthorizer } from '../../../../core/auth/access-rules.ts';
import { InvalidCredentials } from '../../../../core/auth/authenticator.ts';
import { type Action, anonymous } from '../../../../core/auth/authorizer.ts';
import { basicChallenge, bearerChallenge } from '../../../../core/auth/challenge.ts';
import { createAuthenticator, createOpenAuthenticator } from '../../../../core/auth/create-authenticator.ts';
import { parseAuthorization } from '../../../../core/auth/credentials.ts';
import { createSigningKeys } from '../../../../core/auth/signing-keys.ts';
import { createTokens } from '../../../../core/auth/tokens.ts';
import { createMemoryStore } from '../../../../core/object-store/memory.ts';

const alice = { name: 'alice', anonymous: false };
const basic = (text: string): string => `Basic ${Buffer.from(text).toString('base64')}`;

function setUp() {
  const granted: Action[] = ['pull', 'push'];
  const rules = { repositories: 'team/**', users: ['alice'], actions: granted };
  // Rebuilt with each question, as a changed configuration would be.
  const authorizer = {
    may: (...question: Parameters<ReturnType<typeof createAuthorizer>['may']>) =>
      createAuthorizer([rules]).may(...question),
  };
  const tokens = createTokens({
    keys: createSigningKeys({ store: createMemoryStore() }),
    passwords: { find: (name) => (name === 'alice' ? 'stored hash' : undefined), cost: () => 10 },
    service: 'registry.test',
  });
  const authenticator = createAuthenticator({
    tokens,
    authorizer,
    passwords: {
      check: (user, password) =>
        user === 'alice' && password === 'se:cret'
          ? Promise.resolve()
          : Promise.reject(new InvalidCredentials('wrong')),
    },
  });
  return { authenticator, tokens, granted };
}

describe('authenticator', () => {
  it('without a header the request is anonymous and sees nothing private', async () => {
    const { authenticator } = setUp();

    const { principal, authorizer } = await authenticator.identify(undefined);

    expect(principal).toEqual(anonymous);
    expect(authorizer.may(principal, 'pull', 'team/app')).toBe(false);
  });

  it('Basic, with a colon in the password and whatever case the scheme has', async () => {
    const { authenticator } = setUp();

    for (const header of [basic('alice:se:cret'), basic('alice:se:cret').replace('Basic', 'bAsIc')]) {
      const { principal, authorizer } = await authenticator.identify(header);
      expect(principal).toEqual(alice);
      expect(authorizer.may(principal, 'push', 'team/app')).toBe(true);
      expect(authorizer.may(principal, 'delete', 'team/app')).toBe(false);
    }
  });

  it('Bearer is cut down to the scopes of the token', async () => {
    const { authenticator, tokens } = setUp();
    const { token } = await tokens.issue(alice, [
      { type: 'repository', name: 'team/app', actions: ['pull'] },
    ]);

    const { principal, authorizer } = await authenticator.identify(`Bearer ${token}`);

    expect(authorizer.may(principal, 'pull', 'team/app')).toBe(true);
    expect(authorizer.may(principal, 'push', 'team/app')).toBe(false);
    expect(authorizer.may(principal, 'pull', 'team/other')).toBe(false);
  });

  it('a right that was taken back is gone for tokens that were issued before', async () => {
    const { authenticator, tokens, granted } = setUp();
    const { token } = await tokens.issue(alice, [
      { type: 'repository', name: 'team/app', actions: ['push'] },
    ]);
    granted.pop();

    const { principal, authorizer } = await authenticator.identify(`Bearer ${token}`);

    expect(authorizer.may(principal, 'push', 'team/app')).toBe(false);
  });

  it.each([
    '',
    'Basic',
    'Basic ',
    'Basic !!!',
    'Bearer',
    'Bearer a b',
    'Digest x',
    basic('alice'),
    basic(':secret'),
    basic('ali\0ce:x'),
    basic('alice:wrong'),
    'Bearer x.y.z',
    `Bearer ${'a'.repeat(40_000)}`,
    `${basic('alice:se:cret')}, ${basic('bob:x')}`,
  ])('the header %j is refused, not anonymous', async (header) => {
    const { authenticator } = setUp();

    await expect(authenticator.identify(header)).rejects.toThrow(InvalidCredentials);
  });

  it('reads names and passwords as UTF-8 (RFC 7617)', () => {
    expect(parseAuthorization(basic('alice:pässwörd'))).toEqual({
      kind: 'basic',
      user: 'alice',
      password: 'pässwörd',
    });
  });

  it('open mode asks for nothing and lets everybody do everything', async () => {
    const open = createOpenAuthenticator();

    for (const header of [undefined, basic('any:thing'), 'nonsense']) {
      const { principal, authorizer } = await open.identify(header);
      expect(principal).toEqual(anonymous);
      expect(authorizer.may(principal, 'admin', '*')).toBe(true);
    }
    expect(open.required).toBe(false);
  });
});

describe('challenges', () => {
  it('name realm, service, scope and error', () => {
    expect(
      bearerChallenge({
        realm: 'https://r.test/token',
        service: 'r.test',
        scope: 'repository:a/b:pull,push',
        error: 'insufficient_scope',
      }),
    ).toBe(
      'Bearer realm="https://r.test/token",service="r.test",scope="repository:a/b:pull,push",error="insufficient_scope"',
    );
    expect(bearerChallenge({ realm: 'r', service: 's' })).toBe('Bearer realm="r",service="s"');
    expect(basicChallenge('brickyard')).toBe('Basic realm="brickyard", charset="UTF-8"');
  });

  it('nothing in a value can end the header or its quotes', () => {
    const value = bearerChallenge({ realm: 'a"b\\c\r\nSet-Cookie: x', service: 's' });

    expect(value).toBe('Bearer realm="a\\"b\\\\cSet-Cookie: x",service="s"');
  });
});
