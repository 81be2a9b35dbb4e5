import { describe, expect, it } from 'vitest';
import {
  type AccessRule,
  checkAccessRules,
  createAuthorizer,
  rulesWithoutRules,
} from '../../../../core/auth/access-rules.ts';
import { anonymous, mayList, openAuthorizer } from '../../../../core/auth/authorizer.ts';

const alice = { name: 'alice', anonymous: false };
const bob = { name: 'bob', anonymous: false };

const rules: AccessRule[] = [
  { repositories: 'team-a/**', users: ['alice'], actions: ['pull', 'push', 'build'] },
  { repositories: ['shared/*', 'base'], users: ['*'], actions: ['pull'] },
  { repositories: 'public/**', users: ['anonymous'], actions: ['pull'] },
  { repositories: '**', users: ['root'], actions: ['admin'] },
];

describe('access rules', () => {
  const authorizer = createAuthorizer(rules);

  it.each([
    [alice, 'push', 'team-a/app', true],
    [alice, 'delete', 'team-a/app', false],
    [bob, 'pull', 'team-a/app', false],
    [bob, 'pull', 'shared/lib', true],
    [bob, 'pull', 'base', true],
    [bob, 'push', 'shared/lib', false],
    [anonymous, 'pull', 'shared/lib', false],
    [anonymous, 'pull', 'public/app', true],
    [bob, 'pull', 'public/app', true],
    [anonymous, 'push', 'public/app', false],
    [{ name: 'root', anonymous: false }, 'delete', 'team-a/app', true],
    [{ name: 'root', anonymous: false }, 'admin', '*', true],
    [alice, 'admin', '*', false],
    [alice, 'pull', '*', false],
  ] as const)('%o may %s in %s: %s', (principal, action, repository, expected) => {
    expect(authorizer.may(principal, action, repository)).toBe(expected);
  });

  it('a signed-in account called like a group has no more rights than its name', () => {
    expect(authorizer.may({ name: '*', anonymous: true }, 'pull', 'shared/lib')).toBe(false);
  });

  it('an anonymous principal does not match an account of the same name', () => {
    expect(authorizer.may({ name: 'alice', anonymous: true }, 'push', 'team-a/app')).toBe(false);
  });

  it('tells which rule decided', () => {
    expect(authorizer.explain(bob, 'pull', 'base')).toEqual({ allowed: true, rule: 1 });
    expect(authorizer.explain(bob, 'push', 'base')).toEqual({ allowed: false });
  });

  it('without rules an account may do everything and anonymous nothing', () => {
    const without = createAuthorizer(rulesWithoutRules);

    expect(without.may(alice, 'admin', '*')).toBe(true);
    expect(without.may(alice, 'delete', 'team-a/app')).toBe(true);
    expect(without.may(anonymous, 'pull', 'team-a/app')).toBe(false);
  });

  it('listings follow the right to pull', () => {
    expect(mayList(authorizer, bob, 'shared/lib')).toBe(true);
    expect(mayList(authorizer, bob, 'team-a/app')).toBe(false);
    expect(mayList(openAuthorizer, anonymous, 'team-a/app')).toBe(true);
  });

  it('faults name the place: patterns that match nothing, and more than pull for anonymous', () => {
    const faults = checkAccessRules([
      { repositories: 'Team/**', users: ['alice'], actions: ['pull'] },
      { repositories: ['a', 'b//c'], users: ['anonymous'], actions: ['pull', 'push'] },
    ]);

    expect(faults.map((fault) => fault.path)).toEqual([
      [0, 'repositories'],
      [1, 'repositories', 1],
      [1, 'actions'],
    ]);
  });
});
