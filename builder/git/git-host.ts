import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Identity } from '../../core/auth/authenticator.ts';
import type { SourceTree } from '../plan/source-tree.ts';
import type { FetchRefs } from './fetch-target.ts';
import type { ImportCommit } from './import-commit.ts';

/**
 * `/git/<team>/<app>.git`: git over smart HTTP. Refs and packs are durable in the object store before a push is acknowledged;
 * the bare repository on disk is a cache that is rebuilt from the store when it is missing or behind.
 */
export interface GitHost {
  /** Serves one smart-HTTP request whose path starts with `/git/`; the raw body is streamed, never buffered. Rights were decided in `identity`. */
  handle(request: IncomingMessage, response: ServerResponse, identity: Identity): Promise<void>;
  /** Reads a commit's files. Errors: UserError when the repository or the commit does not exist. */
  openTree(team: string, app: string, commit: string): Promise<CommitTree>;
  /** Where a ref points now, straight from the store; undefined when the repository or the ref is not there. */
  resolveRef(team: string, app: string, ref: string): Promise<ResolvedRef | undefined>;
  /** Makes one commit of files that did not come by git, durable and announced as a push is, and moves a new ref to it. */
  readonly importCommit: ImportCommit;
  /** Makes refs what they are in a repository elsewhere, durable and announced as a push is. */
  readonly fetchRefs: FetchRefs;
  /** Announces again what was pushed but, because a process died, perhaps never reached the listener. */
  recover(): Promise<void>;
  /** Removes copies of repositories from this machine's disk, the longest unused first, until `enough` says so. Those in use stay. */
  clearCache(enough: () => Promise<boolean>): Promise<void>;
  close(): Promise<void>;
}

/** A commit's files, and the commit itself (also where an annotated tag was asked for). */
export interface CommitTree extends SourceTree {
  readonly commit: string;
  /** The committer's clock. */
  readonly committedAt: Date;
}

export interface ResolvedRef {
  readonly commit: string;
  readonly sequence: number;
}

/** One ref that a push moved; deletions are not announced. */
export interface RefUpdate {
  /** Time-ordered and unique. An update that is announced twice (after a crash) has the same id both times. */
  readonly id: string;
  readonly team: string;
  readonly app: string;
  /** Full name, e.g. `refs/heads/main`. */
  readonly ref: string;
  /** The commit, or the tag object of an annotated tag. */
  readonly commit: string;
  /** Rises with every push to the repository: a build with a lower sequence never overwrites the tag of a higher one. */
  readonly sequence: number;
  readonly defaultBranch: boolean;
  readonly pusher: string;
  readonly pushOptions: readonly string[];
  /** `host[:port]` under which the pusher reached this server, where that is known. */
  readonly host?: string;
}

/**
 * What the builder does with an accepted push. `accepted` is called after refs and packs are durable and before the push is
 * acknowledged; `follow` writes lines for the pusher's terminal until the builds it started have ended or `signal` aborts
 * (the client left: builds go on).
 */
export interface PushListener {
  accepted(updates: readonly RefUpdate[]): Promise<void>;
  follow(updates: readonly RefUpdate[], write: (line: string) => void, signal: AbortSignal): Promise<void>;
}
