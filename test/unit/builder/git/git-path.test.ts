import { describe, expect, it } from 'vitest';
import { parseGitPath, refuseRepository } from '../../../../builder/git/git-path.ts';
import { checkRefName, findRefConflict } from '../../../../builder/git/ref-name.ts';

describe('parseGitPath', () => {
  it('takes the advertisement and the two services', () => {
    expect(parseGitPath('/git/team/app.git/info/refs?service=git-upload-pack', 'GET')).toEqual({
      team: 'team',
      app: 'app',
      service: 'git-upload-pack',
      advertisement: true,
    });
    expect(parseGitPath('/git/team/my-app.v2.git/git-receive-pack', 'POST')).toMatchObject({
      app: 'my-app.v2',
    });
  });

  it.each([
    ['GET', '/git/team/app.git/git-receive-pack', 405],
    ['POST', '/git/team/app.git/info/refs?service=git-receive-pack', 405],
    ['POST', '/git/team/app/git-receive-pack', 404],
    ['POST', '/git/team/app.git/git-receive-pack/', 404],
    ['POST', '/git/a..b/app.git/git-receive-pack', 400],
    ['POST', '/git/team/.git/git-receive-pack', 404],
    ['POST', '/git/te%0aam/app.git/git-receive-pack', 400],
    ['POST', `/git/${'t'.repeat(200)}/app.git/git-receive-pack`, 400],
    ['POST', '/git/baseimages/app.git/git-receive-pack', 403],
  ])('refuses %s %s with %i', (method, url, status) => {
    expect(parseGitPath(url, method)).toMatchObject({ status });
  });
});

describe('ref names', () => {
  it.each([
    'refs/heads/main',
    'refs/heads/refs/heads/x',
    'refs/tags/v1.0',
    'refs/heads/ünï',
    'refs/heads/-x',
  ])('%s is fine', (name) => {
    expect(checkRefName(name)).toBeUndefined();
  });

  it('finds no conflict where names only begin alike', () => {
    expect(findRefConflict(['refs/heads/a', 'refs/heads/ab', 'refs/heads/b/a'])).toBeUndefined();
  });
});

it.each([
  ['a/b', 'app'],
  ['team', 'a/b'],
  ['', 'app'],
])('the team %j with the app %j is refused, though it is the name of an image repository', (team, app) => {
  expect(refuseRepository(team, app)?.status).toBe(400);
});
