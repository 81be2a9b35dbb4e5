/*
 * Webhooks as the providers document them, cut down to the fields that say what happened (GitHub: "Webhook events and payloads"; GitLab: "Webhook
 * events"; Gitea: "Webhooks"), with the headers that come along.
 */
import { createHmac } from 'node:crypto';

export interface Sent {
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer;
}

export const secret = 'an old secret of 32 characters..';
export const newSecret = 'the next secret of 32 characters';
export const before = '28e1879d029cb852e4844d9c718537df08844e03';
export const after = 'bffeb74224043ba2feb48d137756c8a9331c449a';
export const zeros = '0'.repeat(40);

type Fields = Readonly<Record<string, unknown>>;

function json(value: unknown): Buffer {
  return Buffer.from(JSON.stringify(value));
}

function hmac(body: Buffer, key: string): string {
  return createHmac('sha256', key).update(body).digest('hex');
}

export function github(event: string, fields: Fields, key = secret): Sent {
  const body = json(fields);
  return {
    body,
    headers: {
      'content-type': 'application/json',
      'user-agent': 'GitHub-Hookshot/044aadd',
      'x-github-event': event,
      'x-github-delivery': '72d3162e-cc78-11e3-81ab-4c9367dc0958',
      'x-github-hook-id': '292430182',
      'x-hub-signature': `sha1=${createHmac('sha1', key).update(body).digest('hex')}`,
      'x-hub-signature-256': `sha256=${hmac(body, key)}`,
    },
  };
}

export const githubPush: Fields = {
  ref: 'refs/heads/main',
  before,
  after,
  created: false,
  deleted: false,
  forced: false,
  base_ref: null,
  compare: 'https://github.com/example/web/compare/28e1879d029c...bffeb7422404',
  commits: [{ id: after, message: 'Update README.md', distinct: true }],
  head_commit: { id: after, message: 'Update README.md' },
  repository: {
    id: 186853002,
    name: 'web',
    full_name: 'example/web',
    clone_url: 'https://github.com/example/web.git',
    ssh_url: 'git@github.com:example/web.git',
    default_branch: 'main',
    private: true,
  },
  pusher: { name: 'octocat', email: 'octocat@example.com' },
  sender: { login: 'octocat', id: 21031067, type: 'User' },
};

export function githubPullRequest(fork: string | undefined, action = 'opened'): Fields {
  const base = { full_name: 'example/web', id: 186853002, fork: false };
  return {
    action,
    number: 12,
    pull_request: {
      number: 12,
      state: 'open',
      head: {
        ref: 'feature',
        sha: after,
        repo:
          fork === undefined
            ? null
            : { full_name: fork, id: 7, fork: true, clone_url: `https://github.com/${fork}.git` },
      },
      base: { ref: 'main', sha: before, repo: base },
    },
    repository: base,
    sender: { login: 'stranger', id: 5 },
  };
}

/** Gitea and Forgejo send each other's headers, and GitHub's names beside their own. */
export function gitea(event: string, fields: Fields, key = secret): Sent {
  const body = json(fields);
  return {
    body,
    headers: {
      'content-type': 'application/json',
      'x-gitea-event': event,
      'x-gitea-delivery': 'f6266f16-1bf3-46a5-9ea4-602e06ead473',
      'x-gitea-signature': hmac(body, key),
      'x-gogs-event': event,
      'x-github-event': event,
      'x-hub-signature-256': `sha256=${hmac(body, key)}`,
    },
  };
}

export const giteaPush: Fields = {
  ref: 'refs/heads/develop',
  before,
  after,
  compare_url: `https://gitea.example.com/group/shop/compare/${before}...${after}`,
  commits: [{ id: after, message: 'Webhooks Yay!' }],
  repository: {
    id: 140,
    name: 'shop',
    full_name: 'group/shop',
    clone_url: 'https://gitea.example.com/group/shop.git',
    default_branch: 'master',
  },
  pusher: { id: 1, login: 'gitea' },
  sender: { id: 1, login: 'gitea' },
};

export function gitlab(event: string, fields: Fields, token = secret): Sent {
  return {
    body: json(fields),
    headers: {
      'content-type': 'application/json',
      'user-agent': 'GitLab/15.5.0-pre',
      'idempotency-key': 'f5e57862-9e9b-4b5c-8a3e-1f8d2c2f6a11',
      'x-gitlab-event': event,
      'x-gitlab-event-uuid': '13792a34-cac6-4fda-95a8-c58e00a3954e',
      'x-gitlab-instance': 'https://gitlab.example.com',
      'x-gitlab-token': token,
    },
  };
}

export const gitlabPush: Fields = {
  object_kind: 'push',
  event_name: 'push',
  before,
  after,
  ref: 'refs/heads/master',
  ref_protected: true,
  checkout_sha: after,
  user_id: 4,
  user_name: 'John Smith',
  user_username: 'jsmith',
  project_id: 15,
  project: {
    id: 15,
    name: 'Diaspora',
    git_ssh_url: 'git@gitlab.example.com:mike/diaspora.git',
    git_http_url: 'https://gitlab.example.com/mike/diaspora.git',
    path_with_namespace: 'mike/diaspora',
    default_branch: 'master',
  },
  commits: [{ id: after, message: 'fixed readme' }],
  total_commits_count: 1,
};

export function gitlabMergeRequest(attributes: Fields): Fields {
  return {
    object_kind: 'merge_request',
    event_type: 'merge_request',
    user: { id: 1, username: 'root' },
    project: gitlabPush['project'],
    object_attributes: {
      id: 90,
      iid: 1,
      target_branch: 'master',
      source_branch: 'ms-viewport',
      source_project_id: 14,
      target_project_id: 14,
      state: 'opened',
      last_commit: { id: after, message: 'fixed readme' },
      action: 'open',
      ...attributes,
    },
  };
}

export function generic(
  fields: Fields,
  options: { key?: string; time?: number; nonce?: string; delivery?: string } = {},
): Sent {
  const {
    key = secret,
    time = Date.now(),
    nonce = `nonce-${Math.random().toString(36).slice(2)}-${Date.now()}`,
    delivery,
  } = options;
  const body = json(fields);
  const timestamp = String(Math.floor(time / 1000));
  const signature = createHmac('sha256', key).update(`${timestamp}.${nonce}.`).update(body).digest('hex');
  return {
    body,
    headers: {
      'content-type': 'application/json',
      'x-brickyard-timestamp': timestamp,
      'x-brickyard-nonce': nonce,
      'x-brickyard-signature': `sha256=${signature}`,
      ...(delivery === undefined ? {} : { 'x-brickyard-delivery': delivery }),
    },
  };
}
