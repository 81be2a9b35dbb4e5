import type { NewJob } from '../../core/queue/job-queue.ts';
import { parseBuildRequest } from './build-request.ts';
import type { BuildLane } from './dispatch-settings.ts';

/**
 * The job of a build. Its team pays for it; a newer push of the ref makes it needless while it waits, as the newer one's image holds its changes; and it
 * likes the worker that has the repository on its disk.
 */
export function buildJob(id: string, payload: NewJob['payload'], lane: BuildLane): NewJob {
  const { team, app, ref, sequence, wave } = parseBuildRequest(payload);
  return {
    id,
    payload,
    tenant: team,
    lane,
    affinity: `${team}/${app}`,
    // A wave waits for just this build of an image that exists.
    ...(wave === undefined ? { group: `${team}/${app} ${ref}`, sequence } : {}),
  };
}
