import { describe, expect, it } from 'vitest';
import { compileRepositoryGlob } from '../../../../core/auth/repository-glob.ts';

const matches = (pattern: string, repository: string): boolean | undefined =>
  compileRepositoryGlob(pattern)?.(repository);

describe('patterns over repository names', () => {
  it.each([
    ['team/app', 'team/app', true],
    ['team/app', 'team/app2', false],
    ['team/app', 'other/team/app', false],
    ['team/*', 'team/app', true],
    ['team/*', 'team/sub/app', false],
    ['team/*', 'team', false],
    ['team-*/app', 'team-a/app', true],
    ['team-*/app', 'team-/app', true],
    ['team-*/app', 'teams/app', false],
    ['*-web-*', 'a-web-web-b', true],
    ['*b*b', 'abcb', true],
    ['team/**', 'team', true],
    ['team/**', 'team/app', true],
    ['team/**', 'team/a/b/c', true],
    ['team/**', 'team2/app', false],
    ['**/app', 'app', true],
    ['**/app', 'a/b/app', true],
    ['**/app', 'a/app/b', false],
    ['a/**/z', 'a/z', true],
    ['a/**/m/**/z', 'a/x/m/y/m/z', true],
    ['a/**/m/**/z', 'a/x/z', false],
    ['**', 'anything/at/all', true],
    ['*', 'single', true],
    ['*', 'two/parts', false],
    ['a.b', 'axb', false],
  ])('%s on %s is %s', (pattern, repository, expected) => {
    expect(matches(pattern, repository)).toBe(expected);
  });

  it.each(['', '/', 'a//b', '/a', 'a/', 'a**', '**a/b', 'Team/*', 'a b', 'a?', '[a]', 'a/***'])(
    '"%s" is no pattern',
    (pattern) => {
      expect(compileRepositoryGlob(pattern)).toBeUndefined();
    },
  );

  it('only ** answers for the whole server', () => {
    expect(['*', '*/**', 'a/**', '**/*'].filter((pattern) => matches(pattern, '*'))).toEqual([]);
    expect(matches('**', '*')).toBe(true);
  });

  it('takes no exponential time on a hostile pattern and name', () => {
    const pattern = `${'*a'.repeat(60)}b`;
    const deep = `${'**/a/'.repeat(50)}b`;
    const started = performance.now();

    expect(matches(pattern, 'a'.repeat(255))).toBe(false);
    expect(matches(deep, Array(127).fill('a').join('/'))).toBe(false);

    expect(performance.now() - started).toBeLessThan(500);
  });
});
