import type { NewJob } from '../../core/queue/job-queue.ts';
import { parseBuildRequest } from './build-request.ts';
import type { BuildLane } from './dispatch-settings.ts';

/**
 * The job of a build. Its team pays for it; a newer push of the ref makes it needless while it waits, as the newer one's image holds its changes; and it
 * likes the worker that has the repository on its disk.
 */
export function buildJob(
  id: string,
  payload: NewJob['payload'],
  lane: BuildLane,
  /** Wanted for itself: it neither gives way to newer pushes of its ref nor ends older ones. Default: only a wave's. */
  options: { readonly alone?: boolean } = {},
): NewJob {
  const { team, app, ref, sequence, wave } = parseBuildRequest(payload);
  // A wave waits for just this build of an image that exists.
  const { alone = wave !== undefined } = options;
  return {
    id,
    payload,
    tenant: team,
    lane,
    affinity: `${team}/${app}`,
    ...(alone ? {} : { group: `${team}/${app} ${ref}`, sequence }),
  };
}
