import { setTimeout as delay } from 'node:timers/promises';
import type { ObjectStore } from '../object-store/object-store.ts';
import { createJobLease, LeaseLost } from './job-lease.ts';
import { JobCancelled, type JobContext, JobFailed, type JobHandler, type JobState } from './job-queue.ts';
import { publicRecord, type StoredJob, type VersionedJob } from './stored-job.ts';

/** Faults of the farm that a job survives, this one not. */
export const MAX_STRIKES = 3;

export interface RunOptions {
  readonly store: ObjectStore;
  readonly key: string;
  readonly leaseMs: number;
  /** Milliseconds since 1970. */
  readonly now: () => number;
  /** Aborted when this worker closes. */
  readonly shutdown: AbortSignal;
}

export interface JobRun {
  /** Looks at the record now rather than at the next renewal: somebody said that it changed. */
  readonly look: () => void;
  /** The job as it was left; undefined when it was lost to another worker. Errors: ObjectStoreUnavailable. */
  readonly done: Promise<StoredJob | undefined>;
}

type Stop = 'cancelled' | 'lost' | 'shutdown';

/** Runs one job that this worker has just taken up, and writes how it ended. */
export function runJob(options: RunOptions, taken: VersionedJob, handler: JobHandler): JobRun {
  const { leaseMs, now, shutdown } = options;
  const lease = createJobLease(options.store, options.key, taken);
  const abort = new AbortController();
  let stop: Stop | undefined;
  let renewed = performance.now();

  const end = (why: Stop): void => {
    stop ??= why;
    abort.abort(new errors[stop](reasons[stop]));
  };
  const renew = async (): Promise<void> => {
    const asked = performance.now();
    try {
      await lease.update((job) => ({ ...job, lease: leaseOf(job, now() + leaseMs) }));
      renewed = asked;
    } catch (error) {
      // Not knowing is the same as having lost it, once the others may think so.
      if (error instanceof LeaseLost || performance.now() - renewed > leaseMs) end('lost');
      throw error;
    }
    if (lease.job.cancelReason !== undefined) end('cancelled');
  };
  const renewQuietly = (): void => void renew().catch(() => {});
  const context: JobContext = {
    signal: abort.signal,
    fence: taken.job.fence,
    async confirmLease() {
      if (stop !== undefined) throw new LeaseLost(reasons[stop]);
      await renew();
      abort.signal.throwIfAborted();
    },
  };

  async function run(): Promise<StoredJob | undefined> {
    const timer = setInterval(renewQuietly, leaseMs / 3);
    const close = (): void => end('shutdown');
    shutdown.addEventListener('abort', close);
    if (shutdown.aborted) close();
    let change: (job: StoredJob) => StoredJob;
    try {
      abort.signal.throwIfAborted();
      const result = await handler(publicRecord(taken.job), context);
      change = (job) => ({ ...ended(job, 'succeeded', now()), result });
    } catch (error) {
      change = (job) => afterError(job, error, stop, options);
    } finally {
      clearInterval(timer);
      shutdown.removeEventListener('abort', close);
    }
    return leave(change);
  }

  async function leave(change: (job: StoredJob) => StoredJob): Promise<StoredJob | undefined> {
    for (;;) {
      try {
        await lease.update(change);
        return lease.job;
      } catch (error) {
        if (error instanceof LeaseLost) return undefined;
        if (performance.now() - renewed > leaseMs) throw error;
        await delay(leaseMs / 20);
      }
    }
  }

  return { look: renewQuietly, done: run() };
}

const reasons: Record<Stop, string> = {
  cancelled: 'the job was cancelled',
  lost: 'the lease was lost to another worker',
  shutdown: 'this worker is shutting down',
};

const errors: Record<Stop, new (message: string) => Error> = {
  cancelled: JobCancelled,
  lost: LeaseLost,
  shutdown: Error,
};

export function leaseOf(job: StoredJob, expiresAt: number): NonNullable<StoredJob['lease']> {
  return { owner: job.lease?.owner ?? '', fence: job.fence, expiresAt: new Date(expiresAt).toISOString() };
}

/** In a terminal state, without a lease. */
export function ended(
  job: StoredJob,
  state: Exclude<JobState, 'queued' | 'running'>,
  now: number,
): StoredJob {
  const { lease: _, cancelReason: __, error: ___, ...rest } = job;
  return { ...rest, state, finishedAt: new Date(now).toISOString() };
}

function afterError(job: StoredJob, error: unknown, stop: Stop | undefined, options: RunOptions): StoredJob {
  const { now } = options;
  const text = error instanceof Error ? error.message : String(error);
  if (job.cancelReason !== undefined) return { ...ended(job, 'cancelled', now()), error: job.cancelReason };
  const { lease: _, ...waiting } = job;
  // Whatever was thrown after the signal may only be its echo: the next worker starts afresh.
  if (stop !== undefined) return { ...waiting, state: 'queued' };
  if (error instanceof JobFailed) return { ...ended(job, 'failed', now()), error: text };
  const strikes = job.strikes + 1;
  if (strikes >= MAX_STRIKES) return { ...ended(job, 'failed', now()), strikes, error: text };
  return { ...waiting, state: 'queued', strikes, error: text };
}
