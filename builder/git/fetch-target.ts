import type { RefUpdate } from './git-host.ts';

/** Which refs of a repository elsewhere become which of ours. */
export interface FetchTarget {
  readonly team: string;
  readonly app: string;
  readonly pusher: string;
  /** Kept with the refs, as those of a push. */
  readonly options: readonly string[];
  readonly refs: readonly WantedRef[];
}

export interface WantedRef {
  /** Full names; both were checked. */
  readonly from: string;
  readonly to: string;
  /** A commit that must be reachable from it: what somebody said that the ref has. */
  readonly commit?: string;
}

/** The repository elsewhere, as git is told of it. */
export interface FetchSource {
  /** Checked; never begins with a dash. */
  readonly url: string;
  /** Settings of git for this one exchange, by their names; secrets among them reach git by its environment. */
  readonly settings: readonly (readonly [name: string, value: string])[];
  readonly variables: Readonly<Record<string, string>>;
  readonly limits: FetchLimits;
}

export interface FetchLimits {
  /** Of what arrives. */
  readonly bytes: number;
  readonly objects: number;
  readonly milliseconds: number;
}

/**
 * `moved`: it points elsewhere now, or is new. `unchanged`: it was there already, since the update of this id. `deleted`: it is gone there, and here now
 * too. `missing`: it is not there, or the commit is not reachable from it. `refused`: it cannot be kept here.
 */
export interface FetchedRef extends WantedRef {
  readonly outcome: 'moved' | 'unchanged' | 'deleted' | 'missing' | 'refused';
  /** Why, in words. */
  readonly detail?: string;
  readonly update?: RefUpdate;
  readonly id?: string;
  /** The commit that it points to, through an annotated tag. */
  readonly tip?: string;
}

/** The other side or what it sent is at fault: the same again would end the same. The message is for people. */
export class FetchRefused extends Error {
  override readonly name = 'FetchRefused';
}

/**
 * One result for each wanted ref, in their order. Errors: FetchRefused; the signal's reason; anything else may heal by itself.
 */
export type FetchRefs = (
  target: FetchTarget,
  source: FetchSource,
  signal: AbortSignal,
) => Promise<readonly FetchedRef[]>;
