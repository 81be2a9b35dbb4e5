import type { JobState } from '../../core/queue/job-queue.ts';
import { parseRemoteUrl } from './remote-url.ts';
import type { Provider, Trigger } from './trigger.ts';

/** How a build stands, in the words of one provider. */
export interface StatusRequest {
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer;
}

export interface CommitStatus {
  readonly commit: string;
  /** Full name. */
  readonly ref: string;
  readonly state: JobState;
  /** Why a build failed or was cancelled. */
  readonly reason?: string;
  /** Where people read more. */
  readonly link?: string;
}

type Named = Exclude<Provider, 'generic'>;

/**
 * The providers' words: GitHub knows error, failure, pending and success; Gitea the same; GitLab pending, running, success, failed and
 * canceled. A build that was superseded or cancelled is no fault of the commit: `error`, `canceled`.
 */
const words: Readonly<Record<Named, Readonly<Record<JobState, string>>>> = {
  github: {
    queued: 'pending',
    running: 'pending',
    succeeded: 'success',
    failed: 'failure',
    cancelled: 'error',
    superseded: 'error',
  },
  gitea: {
    queued: 'pending',
    running: 'pending',
    succeeded: 'success',
    failed: 'failure',
    cancelled: 'error',
    superseded: 'error',
  },
  gitlab: {
    queued: 'pending',
    running: 'running',
    succeeded: 'success',
    failed: 'failed',
    cancelled: 'canceled',
    superseded: 'canceled',
  },
};

const descriptions: Readonly<Record<JobState, string>> = {
  queued: 'The image waits to be built',
  running: 'The image is being built',
  succeeded: 'The image is built',
  failed: 'The image could not be built',
  cancelled: 'The build was cancelled',
  superseded: 'A newer push is built instead',
};

/** Characters of a description; GitHub takes 140 and the others more. */
const longestDescription = 140;

/** The request that tells a commit how its build stands; undefined: this trigger tells nobody. */
export function statusRequest(trigger: Trigger, status: CommitStatus): StatusRequest | undefined {
  const { provider, remote } = trigger;
  const remoteUrl = parseRemoteUrl(remote.url, { insecureHttp: true });
  if (trigger.status === undefined || provider === 'generic' || 'fault' in remoteUrl) return undefined;
  const { api, token, context } = trigger.status;
  const state = words[provider][status.state];
  const common = {
    state,
    description: describe(status),
    ...(status.link === undefined ? {} : { target_url: status.link }),
  };
  const json = { 'content-type': 'application/json', 'user-agent': 'brickyard' };
  if (provider === 'gitlab') {
    return {
      url: new URL(`${api}/projects/${encodeURIComponent(remoteUrl.project)}/statuses/${status.commit}`),
      headers: { ...json, accept: 'application/json', 'private-token': token },
      body: Buffer.from(JSON.stringify({ ...common, name: context, ...refName(status.ref) })),
    };
  }
  const path = remoteUrl.project.split('/').slice(-2).map(encodeURIComponent).join('/');
  const headers =
    provider === 'github'
      ? {
          accept: 'application/vnd.github+json',
          authorization: `Bearer ${token}`,
          'x-github-api-version': '2022-11-28',
        }
      : { accept: 'application/json', authorization: `token ${token}` };
  return {
    url: new URL(`${api}/repos/${path}/statuses/${status.commit}`),
    headers: { ...json, ...headers },
    body: Buffer.from(JSON.stringify({ ...common, context })),
  };
}

/** What an answer means: `kept` = the provider has it; `again` = later; `never` = somebody has to change something. */
export function judgeStatusAnswer(
  provider: Provider,
  status: number,
  text: string,
): 'kept' | 'again' | 'never' {
  if (status >= 200 && status < 300) return 'kept';
  // GitLab refuses to go from a state to itself: it has it.
  if (provider === 'gitlab' && status === 400 && /cannot transition/i.test(text)) return 'kept';
  return status === 408 || status === 425 || status === 429 || status >= 500 ? 'again' : 'never';
}

/** The address of a provider's API, from that of the repository. */
export function defaultStatusApi(provider: Provider, remote: string): string | undefined {
  const url = parseRemoteUrl(remote, { insecureHttp: true });
  if ('fault' in url || provider === 'generic') return undefined;
  if (provider === 'github' && url.host === 'github.com') return 'https://api.github.com';
  const path = { github: '/api/v3', gitlab: '/api/v4', gitea: '/api/v1' }[provider];
  if (url.protocol === 'ssh') return `https://${url.host}${path}`;
  return new URL(path, url.href).href;
}

function describe({ state, reason }: CommitStatus): string {
  const line = reason?.split('\n')[0]?.replace(/\p{Cc}/gu, ' ') ?? '';
  const text = line === '' ? descriptions[state] : `${descriptions[state]}: ${line}`;
  return text.length <= longestDescription ? text : `${text.slice(0, longestDescription - 1)}…`;
}

/** GitLab wants to know on which branch or tag; a merge request has none there. */
function refName(ref: string): { ref?: string } {
  const name = /^refs\/(?:heads|tags)\/(.+)$/.exec(ref)?.[1];
  return name === undefined ? {} : { ref: name };
}
