import type { JsonValue } from '../../core/object-store/object-store.ts';
import type { RefUpdate } from '../git/git-host.ts';
import type { PackageNote } from '../package/package-note.ts';

/** Payload of a build's job: small, versioned JSON. */
export interface BuildRequest {
  readonly version: 1;
  readonly team: string;
  readonly app: string;
  readonly ref: string;
  /** A commit, or an annotated tag's object. */
  readonly commit: string;
  readonly sequence: number;
  readonly defaultBranch: boolean;
  readonly pusher: string;
  /** `-o tag=…` of a working-tree build. */
  readonly tag?: string;
  /** The commit was made of this package. */
  readonly package?: PackageNote;
  /** False: the source is a fork's or an unprotected ref's, so it gets no secrets and leaves nothing in caches of others. Default true. */
  readonly trusted?: boolean;
  /** Somebody asks for the commands to be run again, whatever earlier builds of the same files made. */
  readonly fresh?: boolean;
  /** `host[:port]` that the pusher used, for the reference that is shown. */
  readonly host?: string;
  /** The base image changed, and a rebase will not do: the image is made again, and the wave moves its tags. */
  readonly wave?: {
    readonly id: string;
    /** The one image that it is about, where the commit holds several applications. */
    readonly repository: string;
    /** Eight hex digits that name the base: the image is tagged `<commit>-<baseKey>`, as `<commit>` never moves. */
    readonly baseKey: string;
  };
}

export function toPayload(
  update: RefUpdate,
  { tag, note }: { readonly tag?: string; readonly note?: PackageNote } = {},
): { readonly [name: string]: JsonValue } {
  const { team, app, ref, commit, sequence, defaultBranch, pusher, host } = update;
  return {
    version: 1,
    team,
    app,
    ref,
    commit,
    sequence,
    defaultBranch,
    pusher,
    ...(tag === undefined ? {} : { tag }),
    ...(note === undefined ? {} : { package: { ...note } }),
    ...(host === undefined ? {} : { host }),
  };
}

/** Whether somebody without any right here brought it: pull requests of forks live under names of their own, so nothing on the way can forget it. */
export function isForkRef(ref: string): boolean {
  return ref.startsWith('refs/brickyard/pr-');
}

/** Errors: the payload is of another version or damaged. */
export function parseBuildRequest(payload: { readonly [name: string]: JsonValue }): BuildRequest {
  const texts = ['team', 'app', 'ref', 'commit', 'pusher'];
  if (
    payload['version'] !== 1 ||
    texts.some((name) => typeof payload[name] !== 'string') ||
    typeof payload['sequence'] !== 'number'
  ) {
    throw new Error('build request cannot be read');
  }
  const request = payload as unknown as BuildRequest;
  // Whoever queued it, and whoever repeats it: what a stranger wrote stays a stranger's.
  return isForkRef(request.ref) ? { ...request, trusted: false } : request;
}

/** The image repository's default name and whose rights count: `<team>/<app>`. */
export function repositoryOf(request: Pick<BuildRequest, 'team' | 'app'>): string {
  return `${request.team}/${request.app}`;
}
