import type { JsonValue } from '../../core/object-store/object-store.ts';
import type { JobRecord } from '../../core/queue/job-queue.ts';

// What a worker and the processes that run its builds say to each other, over the channel of node:child_process.

/** From the worker to the process of a build. */
export type ToBuildProcess =
  /** One at a time: the next comes when the last has ended. */
  | { readonly type: 'run'; readonly job: JobRecord; readonly fence: number }
  | { readonly type: 'abort'; readonly cause: AbortCause; readonly reason: string }
  /** Answer to `confirm`; `lost`: why the lease is this worker's no more. */
  | { readonly type: 'confirmed'; readonly number: number; readonly lost?: string }
  | { readonly type: 'stop' };

/** Which error the build's signal is aborted with: JobCancelled, LeaseLost, or another. */
export type AbortCause = 'cancelled' | 'lost' | 'other';

/** From the process of a build to its worker. */
export type FromBuildProcess =
  | { readonly type: 'ready' }
  /** It cannot start. */
  | { readonly type: 'unable'; readonly reason: string }
  /** What was handed to the log's writer, one text for each call. */
  | { readonly type: 'log'; readonly texts: readonly string[] }
  | { readonly type: 'log-end'; readonly end: boolean }
  | { readonly type: 'confirm'; readonly number: number }
  | { readonly type: 'event'; readonly topic: string; readonly message: JsonValue }
  | { readonly type: 'done'; readonly result: { readonly [name: string]: JsonValue } }
  /** `final`: a fault of the job itself (JobFailed). */
  | { readonly type: 'failed'; readonly final: boolean; readonly message: string };
