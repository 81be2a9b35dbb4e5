import { JobFailed } from '../../../core/queue/job-queue.ts';
import type { ContainerApi } from './container-api.ts';
import type { SandboxLimits } from './sandbox-limits.ts';

/**
 * Asked every two seconds, says when a container has stood at its number of processes two times in a row: a fork bomb would otherwise only
 * be told that it cannot fork, until its time is over. Errors, when asked: JobFailed.
 */
export function createProcessWatch(
  api: Pick<ContainerApi, 'processCount'>,
  container: string,
  limits: Pick<SandboxLimits, 'processes'>,
): (what: string) => Promise<void> {
  let full = false;
  return async (what) => {
    // The kernel keeps the limit itself. An engine that does not say how many there are costs only the better message.
    const count = await api.processCount(container).catch(() => undefined);
    const before = full;
    full = count !== undefined && count >= limits.processes;
    if (full && before) {
      throw new JobFailed(
        `${what} had all of the ${limits.processes} processes and threads that a build may have (builder.sandbox.processes)`,
      );
    }
  };
}
