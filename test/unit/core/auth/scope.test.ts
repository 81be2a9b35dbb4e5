import { describe, expect, it } from 'vitest';
import { createAuthorizer } from '../../../../core/auth/access-rules.ts';
import { anonymous, mayList, openAuthorizer } from '../../../../core/auth/authorizer.ts';
import { formatScopes, grantScopes, parseScopes, withinScopes } from '../../../../core/auth/scope.ts';

const alice = { name: 'alice', anonymous: false };

describe('scopes', () => {
  it('reads several parameters and one with blanks alike (GitLab #425045)', () => {
    const expected = [
      { type: 'repository', name: 'a/b', actions: ['pull', 'push'] },
      { type: 'repository', name: 'c', actions: ['pull'] },
    ];

    expect(parseScopes(['repository:a/b:pull,push', 'repository:c:pull'])).toEqual(expected);
    expect(parseScopes('repository:a/b:pull,push repository:c:pull')).toEqual(expected);
    expect(parseScopes(['repository:a/b:pull repository:c:pull', 'repository:a/b:push'])).toEqual(expected);
  });

  it.each([
    '',
    ' ',
    ':',
    'repository',
    'repository:a',
    'repository::pull',
    'repository:a:',
    'repository:A:pull',
    'repository:../a:pull',
    'repository:a//../b:pull',
    'repository:*:pull',
    'repository:**:*',
    'repository:a:own',
    'registry:catalog:pull',
    'registry:server:*',
    'unknown:a:pull',
    `repository:${'a'.repeat(256)}:pull`,
  ])('"%s" asks for nothing', (scope) => {
    expect(parseScopes(scope)).toEqual([]);
  });

  it('leaves out actions that are none, and reads the class of a repository', () => {
    expect(parseScopes('repository(plugin):a:pull,fly')).toEqual([
      { type: 'repository', name: 'a', actions: ['pull'] },
    ]);
  });

  it('reads no more than a hundred', () => {
    const many = Array.from({ length: 5000 }, (_, index) => `repository:a${index}:pull`);

    expect(parseScopes(many)).toHaveLength(100);
  });

  it('grants what is asked and allowed', () => {
    const rules = createAuthorizer([{ repositories: 'a/**', users: ['alice'], actions: ['pull', 'push'] }]);
    const asked = parseScopes('repository:a/b:pull,push,delete repository:c:pull');

    expect(formatScopes(grantScopes(asked, alice, rules))).toBe('repository:a/b:pull,push');
    expect(grantScopes(asked, anonymous, rules)).toEqual([]);
  });

  it('action * becomes the actions that are allowed, never more', () => {
    const rules = createAuthorizer([{ repositories: 'a/**', users: ['alice'], actions: ['pull'] }]);

    expect(grantScopes(parseScopes('repository:a/b:*'), alice, rules)).toEqual([
      { type: 'repository', name: 'a/b', actions: ['pull'] },
    ]);
  });

  it('a token does what both its scopes and the rules say', () => {
    const within = withinScopes(openAuthorizer, parseScopes('repository:a/b:pull'));
    const refused = withinScopes(createAuthorizer([]), parseScopes('repository:a/b:pull'));

    expect(within.may(alice, 'pull', 'a/b')).toBe(true);
    expect(within.may(alice, 'push', 'a/b')).toBe(false);
    expect(within.may(alice, 'pull', 'a/c')).toBe(false);
    expect(within.may(alice, 'admin', '*')).toBe(false);
    expect(refused.may(alice, 'pull', 'a/b')).toBe(false);
  });

  it('a token for the catalog lists what its owner may pull, and reads nothing', () => {
    const rules = createAuthorizer([{ repositories: 'a/**', users: ['alice'], actions: ['pull'] }]);
    const within = withinScopes(rules, parseScopes('registry:catalog:*'));

    expect(mayList(within, alice, 'a/b')).toBe(true);
    expect(mayList(within, alice, 'c/d')).toBe(false);
    expect(mayList(within, anonymous, 'a/b')).toBe(false);
    expect(within.may(alice, 'pull', 'a/b')).toBe(false);
  });
});
