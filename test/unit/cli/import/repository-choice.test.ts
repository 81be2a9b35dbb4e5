import { describe, expect, it } from 'vitest';
import { parseRepositoryChoice } from '../../../../cli/import/repository-choice.ts';

describe('which repositories are wanted', () => {
  it.each([
    [undefined, ['a', 'team/app'], []],
    ['team/app', ['team/app'], ['team/app2', 'a/team/app']],
    ['team/*', ['team/app', 'team/x.y'], ['team', 'team/a/b', 'steam/app']],
    ['team/**', ['team/app', 'team/a/b'], ['team']],
    ['*-old', ['app-old'], ['team/app-old', 'app']],
    ['a.b/*', ['a.b/c'], ['aXb/c']],
    ['# comment\nteam/app, team/web # both\n\nother', ['team/app', 'team/web', 'other'], ['comment', 'both']],
  ])('%j', (text, wanted, others) => {
    const choice = parseRepositoryChoice(text);

    for (const name of wanted) expect([name, choice.matches(name)]).toEqual([name, true]);
    for (const name of others) expect([name, choice.matches(name)]).toEqual([name, false]);
  });

  it('knows all names where there is no pattern, so that nothing has to be listed', () => {
    expect(parseRepositoryChoice('b,a,a').names).toEqual(['b', 'a']);
    expect(parseRepositoryChoice('a,b*').names).toBeUndefined();
    expect(parseRepositoryChoice(undefined).names).toBeUndefined();
  });

  it.each(['', ' , ', '../x', 'Team', 'team/', 'a(b)*', '/x'])('"%s" is refused', (text) => {
    expect(() => parseRepositoryChoice(text)).toThrow(/repository/);
  });
});
