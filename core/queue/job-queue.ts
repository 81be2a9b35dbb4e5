import type { JsonValue } from '../object-store/object-store.ts';

/**
 * Work that must be done, kept in the object store: one record per job under `<prefix><id>`, claimed by lease under
 * compare-and-set. A worker that dies lets its lease run out and another takes the job up with a higher fence.
 * Every job ends in a terminal state.
 */
export interface JobQueue {
  /** Durable when the promise resolves. `id` is time-ordered and unique; a second add of the same id is no error and changes nothing. */
  add(job: NewJob): Promise<JobRecord>;
  get(id: string): Promise<JobRecord | undefined>;
  /** Newest first. */
  list(options?: { limit?: number; before?: string }): Promise<JobRecord[]>;
  /** Queued → cancelled at once; running → its handler's signal is aborted soon. Terminal: no change. */
  cancel(id: string, reason: string): Promise<JobRecord | undefined>;
  /** Starts taking jobs, up to `concurrency` at once. `close` stops taking, lets running ones finish or hand back, and returns. */
  work(handler: JobHandler, options: { concurrency: number }): JobWorker;
}

export type JobState = 'queued' | 'running' | 'succeeded' | 'failed' | 'cancelled';

export interface NewJob {
  readonly id: string;
  readonly payload: { readonly [name: string]: JsonValue };
}

export interface JobRecord extends NewJob {
  readonly state: JobState;
  /** ISO 8601. */
  readonly createdAt: string;
  readonly startedAt?: string;
  readonly finishedAt?: string;
  /** How often a worker has taken it up. */
  readonly attempts: number;
  /** What the handler returned. */
  readonly result?: { readonly [name: string]: JsonValue };
  /** Why it failed or was cancelled; written for people. */
  readonly error?: string;
  readonly lease?: { readonly owner: string; readonly fence: number; readonly expiresAt: string };
}

/** Returns the result. Throw JobFailed for a fault of the job itself (not retried); any other error is the farm's fault and is retried, 3 attempts in all. */
export type JobHandler = (
  job: JobRecord,
  context: JobContext,
) => Promise<{ readonly [name: string]: JsonValue }>;

export interface JobContext {
  /** Aborted on cancel (the reason is a JobCancelled), on a lost lease (a LeaseLost), and on shutdown: after these two the job goes on elsewhere. */
  readonly signal: AbortSignal;
  /** Rises with each take-up of this job. */
  readonly fence: number;
  /** Rejects when the lease was lost to another worker: call it right before an effect that must not happen twice. */
  confirmLease(): Promise<void>;
}

export interface JobWorker {
  close(): Promise<void>;
}

export class JobFailed extends Error {
  override readonly name = 'JobFailed';
}

/** Reason of a job's signal when somebody wants it to end for good. */
export class JobCancelled extends Error {
  override readonly name = 'JobCancelled';
}
