import { isRepositoryName } from '../../oci/reference.ts';

export type GitService = 'git-upload-pack' | 'git-receive-pack';

export interface GitRequestPath {
  readonly team: string;
  readonly app: string;
  readonly service: GitService;
  /** The advertisement (GET …/info/refs) rather than the service itself. */
  readonly advertisement: boolean;
}

/** Teams whose repositories are made by the server itself. */
const reservedTeams = new Set(['baseimages']);

/**
 * Takes `/git/<team>/<app>.git/info/refs?service=…` and `/git/<team>/<app>.git/<service>` apart. Team and app form an image
 * repository's name, so they follow its rules, which leaves no `.`, `..`, `-x`, `%` or upper case to think about.
 * Returns the reason in words when the path is none of these: only the smart protocol's two services are served.
 */
export function parseGitPath(
  url: string,
  method: string,
): GitRequestPath | { refused: string; status: number } {
  const question = url.indexOf('?');
  const path = question < 0 ? url : url.slice(0, question);
  const query = question < 0 ? '' : url.slice(question + 1);
  const match = /^\/git\/([^/]+)\/([^/]+)\.git\/(info\/refs|git-upload-pack|git-receive-pack)$/.exec(path);
  if (match === null) return { refused: 'not a git address: expected /git/<team>/<app>.git', status: 404 };
  const [, team = '', app = '', action = ''] = match;
  const unfit = refuseRepository(team, app);
  if (unfit !== undefined) return unfit;
  if (action !== 'info/refs') {
    if (method !== 'POST') return { refused: 'this address takes POST only', status: 405 };
    return { team, app, service: action as GitService, advertisement: false };
  }
  if (method !== 'GET') return { refused: 'this address takes GET only', status: 405 };
  const service = new URLSearchParams(query).get('service');
  if (service !== 'git-upload-pack' && service !== 'git-receive-pack') {
    return { refused: 'only the smart HTTP protocol is served; update your git', status: 403 };
  }
  return { team, app, service, advertisement: true };
}

/** Why nobody can have a git repository of this name, with the status to answer; undefined when it is fine. */
export function refuseRepository(team: string, app: string): { refused: string; status: number } | undefined {
  // As one part each: `%2F` in an address of the management API would make a team of two parts.
  const parts = [team, app].every((part) => part.length <= 100 && !part.includes('/'));
  if (!parts || !isRepositoryName(`${team}/${app}`)) {
    return {
      refused: `invalid repository name: team and app are lower-case letters and digits, joined by '.', '_' or '-'`,
      status: 400,
    };
  }
  return reservedTeams.has(team) ? { refused: `the team "${team}" is reserved`, status: 403 } : undefined;
}
