import { ended, leaseOf, MAX_STRIKES } from './run-job.ts';
import type { StoredJob } from './stored-job.ts';

/** The record of a waiting job that a worker takes up now. */
export function takenUp(
  job: StoredJob,
  by: { readonly owner: string; readonly worker: string; readonly now: number; readonly leaseMs: number },
): StoredJob {
  const { error: _, ...rest } = job;
  const next = { ...rest, fence: job.fence + 1, attempts: job.attempts + 1 };
  return {
    ...next,
    state: 'running',
    worker: by.worker,
    startedAt: job.startedAt ?? new Date(by.now).toISOString(),
    lease: { ...leaseOf(next, by.now + by.leaseMs), owner: by.owner },
  };
}

/** The record of a job whose worker died: it waits again, or ends because it was to be cancelled or has cost too many workers. */
export function abandoned(job: StoredJob, now: number): StoredJob {
  if (job.cancelReason !== undefined) return { ...ended(job, 'cancelled', now), error: job.cancelReason };
  const strikes = job.strikes + 1;
  if (strikes >= MAX_STRIKES) {
    const error = `workers died or lost contact ${strikes} times while they ran this job`;
    return { ...ended(job, 'failed', now), strikes, error };
  }
  const { lease: _, ...rest } = job;
  return { ...rest, state: 'queued', strikes };
}

export function superseded(job: StoredJob, by: string, now: number): StoredJob {
  return { ...ended(job, 'superseded', now), error: `superseded by ${by}` };
}
