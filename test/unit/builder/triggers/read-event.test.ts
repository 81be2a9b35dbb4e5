import { describe, expect, it } from 'vitest';
import { mostRefs } from '../../../../builder/triggers/hook-event.ts';
import { readEvent } from '../../../../builder/triggers/read-event.ts';
import {
  after,
  before,
  gitea,
  giteaPush,
  github,
  githubPullRequest,
  githubPush,
  gitlab,
  gitlabMergeRequest,
  gitlabPush,
  type Sent,
  zeros,
} from './payloads.ts';

const githubEvent = ({ headers, body }: Sent) => readEvent('github', headers, body);
const gitlabEvent = ({ headers, body }: Sent) => readEvent('gitlab', headers, body);
const genericEvent = (fields: unknown) => readEvent('generic', {}, Buffer.from(JSON.stringify(fields)));

describe('a webhook of GitHub', () => {
  it('push is a ref with the commit that it is said to have', () => {
    expect(githubEvent(github('push', githubPush))).toEqual({
      kind: 'refs',
      project: 'example/web',
      pusher: 'octocat',
      refs: [{ ref: 'refs/heads/main', commit: after, deleted: false }],
      skip: false,
    });
  });

  it('push of a deleted branch says so by zeros', () => {
    const fields = { ...githubPush, after: zeros, deleted: true, head_commit: null };

    expect(githubEvent(github('push', fields))).toMatchObject({
      refs: [{ ref: 'refs/heads/main', deleted: true }],
    });
  });

  it.each([
    ['create', 'branch', 'refs/heads/feature/x', false],
    ['create', 'tag', 'refs/tags/feature/x', false],
    ['delete', 'branch', 'refs/heads/feature/x', true],
    ['delete', 'tag', 'refs/tags/feature/x', true],
  ])('%s of a %s is %s', (event, type, ref, deleted) => {
    const fields = {
      ref: 'feature/x',
      ref_type: type,
      repository: githubPush['repository'],
      sender: { login: 'octocat' },
    };

    expect(githubEvent(github(event, fields))).toMatchObject({ refs: [{ ref, deleted }] });
  });

  it('create of a tag that is called refs/heads/main is about that tag', () => {
    const fields = { ref: 'refs/heads/main', ref_type: 'tag', repository: githubPush['repository'] };

    expect(githubEvent(github('create', fields))).toMatchObject({
      refs: [{ ref: 'refs/tags/refs/heads/main' }],
    });
  });

  it.each(['opened', 'reopened', 'synchronize'])(
    'pull_request %s of a fork is a change with its number',
    (action) => {
      expect(githubEvent(github('pull_request', githubPullRequest('stranger/web', action)))).toEqual({
        kind: 'change',
        project: 'example/web',
        pusher: 'stranger',
        number: 12,
        commit: after,
      });
    },
  );

  it('pull_request of a fork that is gone is one of a fork', () => {
    expect(githubEvent(github('pull_request', githubPullRequest(undefined)))).toMatchObject({
      kind: 'change',
    });
  });

  it('pull_request within the repository is left to the push of its branch', () => {
    expect(githubEvent(github('pull_request', githubPullRequest('example/web')))).toMatchObject({
      kind: 'ignored',
    });
  });

  it.each(['labeled', 'closed', 'edited', 'assigned'])('pull_request %s moves nothing', (action) => {
    expect(githubEvent(github('pull_request', githubPullRequest('stranger/web', action)))).toMatchObject({
      kind: 'ignored',
    });
  });

  it('ping and what nobody builds of are ignored in words', () => {
    expect(githubEvent(github('ping', { zen: 'Design for failure.', hook_id: 1 }))).toEqual({
      kind: 'ignored',
      message: 'pong',
    });
    expect(githubEvent(github('star', {}))).toEqual({
      kind: 'ignored',
      message: 'nothing is built when "star" happens',
    });
  });
});

describe('a webhook of Gitea', () => {
  it('push is read as GitHub’s is', () => {
    const { headers, body } = gitea('push', giteaPush);

    expect(readEvent('gitea', headers, body)).toMatchObject({
      kind: 'refs',
      project: 'group/shop',
      refs: [{ ref: 'refs/heads/develop', commit: after }],
    });
  });

  it('pull_request synchronized of a fork is a change', () => {
    const { headers, body } = gitea('pull_request', githubPullRequest('stranger/web', 'synchronized'));

    expect(readEvent('gitea', headers, body)).toMatchObject({ kind: 'change', number: 12, commit: after });
  });

  it('of Forgejo names its event under its own header', () => {
    const { body } = gitea('push', giteaPush);

    expect(readEvent('gitea', { 'x-forgejo-event': 'push' }, body)).toMatchObject({ kind: 'refs' });
  });
});

describe('a webhook of GitLab', () => {
  it('push is a ref with its commit', () => {
    expect(gitlabEvent(gitlab('Push Hook', gitlabPush))).toEqual({
      kind: 'refs',
      project: 'mike/diaspora',
      pusher: 'jsmith',
      refs: [{ ref: 'refs/heads/master', commit: after, deleted: false }],
      skip: false,
    });
  });

  it('tag_push of a new and of a deleted tag', () => {
    const tag = { ...gitlabPush, object_kind: 'tag_push', event_name: 'tag_push', ref: 'refs/tags/v1.0.0' };

    expect(gitlabEvent(gitlab('Tag Push Hook', { ...tag, before: zeros }))).toMatchObject({
      refs: [{ ref: 'refs/tags/v1.0.0', commit: after, deleted: false }],
    });
    expect(gitlabEvent(gitlab('Tag Push Hook', { ...tag, after: zeros, checkout_sha: null }))).toMatchObject({
      refs: [{ ref: 'refs/tags/v1.0.0', deleted: true }],
    });
  });

  it('merge_request of a fork is a change when it is opened and when commits come', () => {
    const fork = { source_project_id: 99 };
    const opened = gitlabEvent(gitlab('Merge Request Hook', gitlabMergeRequest(fork)));
    const moved = gitlabMergeRequest({ ...fork, action: 'update', oldrev: before });

    expect(opened).toMatchObject({ kind: 'change', number: 1, commit: after, project: 'mike/diaspora' });
    expect(gitlabEvent(gitlab('Merge Request Hook', moved))).toMatchObject({ kind: 'change', number: 1 });
  });

  it('merge_request that changed a title, was merged, or comes from the repository itself moves nothing', () => {
    for (const attributes of [
      { source_project_id: 99, action: 'update' },
      { source_project_id: 99, action: 'merge' },
      {},
    ]) {
      const event = gitlabEvent(gitlab('Merge Request Hook', gitlabMergeRequest(attributes)));

      expect(event.kind).toBe('ignored');
    }
  });

  it('of anything else is ignored', () => {
    expect(gitlabEvent(gitlab('Pipeline Hook', { object_kind: 'pipeline' }))).toMatchObject({
      kind: 'ignored',
    });
  });
});

describe('a generic webhook', () => {
  it('holds the refs that moved, whose repository it is, and whether to build', () => {
    const fields = {
      repository: 'shop/web',
      pusher: 'alice',
      options: ['build.skip', 7],
      updates: [
        { ref: 'refs/heads/main', old: before, new: after },
        { ref: 'refs/heads/gone', old: before, new: zeros },
        { ref: 'refs/heads/long', old: before, new: 'a'.repeat(64) },
      ],
    };

    expect(genericEvent(fields)).toEqual({
      kind: 'refs',
      app: 'shop/web',
      pusher: 'alice',
      skip: true,
      refs: [
        { ref: 'refs/heads/main', commit: after, deleted: false },
        { ref: 'refs/heads/gone', deleted: true },
        { ref: 'refs/heads/long', commit: 'a'.repeat(64), deleted: false },
      ],
    });
  });

  it(`of ${mostRefs} refs is taken, of more is refused`, () => {
    const updates = Array.from({ length: mostRefs }, (_, index) => ({
      ref: `refs/heads/${index}`,
      old: zeros,
      new: after,
    }));

    expect(genericEvent({ updates })).toMatchObject({ kind: 'refs' });
    expect(() => genericEvent({ updates: [...updates, ...updates] })).toThrow(
      '"updates" must hold 1 to 1000 entries',
    );
  });
});

describe('what is no webhook', () => {
  it.each([
    ['no JSON', 'payload=%7B%7D', /no JSON: choose the content type application\/json/],
    ['no UTF-8', Buffer.from([0x7b, 0xff, 0x7d]), /no JSON/],
    ['a list', '[]', /no JSON object/],
    ['null', 'null', /no JSON object/],
    ['empty', '', /no JSON/],
    ['no updates', '{}', /"updates" is no list/],
    ['updates of something else', '{"updates": [1]}', /something else than objects/],
    ['a ref of another type', '{"updates": [{"ref": 7, "new": "a"}]}', /"ref" is missing/],
    [
      'an id that is none',
      `{"updates": [{"ref": "refs/heads/a", "new": "--upload-pack=x"}]}`,
      /is no commit id/,
    ],
    [
      'an id in upper case',
      `{"updates": [{"ref": "refs/heads/a", "new": "${after.toUpperCase()}"}]}`,
      /is no commit id/,
    ],
    ['a shortened id', `{"updates": [{"ref": "refs/heads/a", "new": "abc"}]}`, /is no commit id/],
    ['nested deeper than a stack', `${'['.repeat(200_000)}`, /no JSON/],
    ['an inherited name', '{"__proto__": {"updates": [{}]}}', /"updates" is no list/],
  ])('%s is refused in words', (_, body, message) => {
    expect(() => readEvent('generic', {}, Buffer.from(body as string))).toThrow(message);
  });

  it('a name that could be taken for something else is left out of the record', () => {
    const fields = { pusher: 'a\nb', updates: [{ ref: 'refs/heads/a', new: after }] };

    expect(genericEvent(fields)).not.toHaveProperty('pusher');
  });
});
