import type { RefUpdate } from './git-host.ts';
import type { StoredRef } from './refs-document.ts';

/** What is announced of a ref that a push has moved. */
export function toUpdate(
  repository: { team: string; app: string },
  ref: string,
  stored: StoredRef,
  head: string,
): RefUpdate {
  return {
    id: stored.id,
    team: repository.team,
    app: repository.app,
    ref,
    commit: stored.commit,
    sequence: stored.sequence,
    defaultBranch: ref === head,
    pusher: stored.pusher,
    pushOptions: stored.options,
  };
}
