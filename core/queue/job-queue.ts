import type { JsonValue } from '../object-store/object-store.ts';

/**
 * Work that must be done, kept in the object store: one record per job under `<prefix><id>`, claimed by lease under
 * compare-and-set. A worker that dies lets its lease run out and another takes the job up with a higher fence.
 * Every job ends in a terminal state. Which job is next is decided by one dispatcher among all workers (fair-share.ts).
 */
export interface JobQueue {
  /** Durable when the promise resolves. `id` is time-ordered and unique; a second add of the same id is no error and changes nothing. */
  add(job: NewJob): Promise<JobRecord>;
  get(id: string): Promise<JobRecord | undefined>;
  /** Newest first. */
  list(options?: { limit?: number; before?: string }): Promise<JobRecord[]>;
  /** Queued → cancelled at once; running → its handler's signal is aborted soon. Terminal: no change. */
  cancel(id: string, reason: string): Promise<JobRecord | undefined>;
  /** Starts taking jobs, up to `concurrency` at once. */
  work(handler: JobHandler, options: WorkOptions): JobWorker;
  /** Workers that said lately that they live, by id; one that was killed is still among them for up to twice the lease. */
  workers(): Promise<WorkerInfo[]>;
  /** What waits, as the dispatcher counted it last; undefined: there is no dispatcher. */
  waiting(): Promise<Waiting | undefined>;
}

/** `superseded`: a newer job of its group came before it had begun. */
export type JobState = 'queued' | 'running' | 'succeeded' | 'failed' | 'cancelled' | 'superseded';

export interface NewJob {
  readonly id: string;
  readonly payload: { readonly [name: string]: JsonValue };
  /** Whose share of the workers it uses; default: one share for all that name none. */
  readonly tenant?: string;
  /** One of the queue's lanes; default and for an unknown name: the first one. */
  readonly lane?: string;
  /** Of jobs of one group only that with the highest `sequence` is wanted: older ones that still wait end as superseded. Default: none. */
  readonly group?: string;
  /** Order within the group; without it the job supersedes nothing and is not superseded. */
  readonly sequence?: number;
  /** Jobs of equal affinity like to run on the same worker, because of what it keeps. Default: any worker will do. */
  readonly affinity?: string;
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
  /** Why it failed, was cancelled or superseded; written for people. */
  readonly error?: string;
  /** Id of the worker that runs it, or did last. */
  readonly worker?: string;
  readonly lease?: { readonly owner: string; readonly fence: number; readonly expiresAt: string };
}

export interface WorkOptions {
  /** Jobs at once, from 1. */
  readonly concurrency: number;
  /** What people should know of this worker, e.g. its machine; shown by `workers()`. */
  readonly labels?: { readonly [name: string]: string };
}

export interface WorkerInfo {
  readonly id: string;
  /** Names its process, as in leases. */
  readonly owner: string;
  /** Jobs that it takes at once; 0 while it takes none. */
  readonly slots: number;
  readonly busy: number;
  /** Why it takes fewer jobs than it could: it drains, its disk is full. */
  readonly reason?: string;
  readonly labels: { readonly [name: string]: string };
  /** When it said so, ISO 8601, by its own clock. */
  readonly at: string;
}

/** The backlog at a glance, for metrics and for whoever adds workers. */
export interface Waiting {
  /** At most the 100 largest. */
  readonly flows: readonly {
    readonly tenant: string;
    readonly lane: string;
    readonly jobs: number;
    /** How long the oldest of them has waited, as the dispatcher saw it. Milliseconds. */
    readonly oldestMs: number;
  }[];
  /** All jobs that wait, and those that run. */
  readonly jobs: number;
  readonly running: number;
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
  /** As in `JobRecord.worker` and `WorkerInfo.id`. */
  readonly id: string;
  /** From now on at most so many at once; those that run go on. 0: takes none, and says why in `workers()`. */
  setSlots(slots: number, reason?: string): void;
  /** Takes nothing new; resolves when what ran has ended, or `signal` aborts. Call `close` afterwards. */
  drain(signal?: AbortSignal): Promise<void>;
  /** Aborts what runs; it is handed back unless it ends at once. Returns when nothing runs any more. */
  close(): Promise<void>;
}

export class JobFailed extends Error {
  override readonly name = 'JobFailed';
}

/** Reason of a job's signal when somebody wants it to end for good. */
export class JobCancelled extends Error {
  override readonly name = 'JobCancelled';
}
