import type { JsonValue } from '../object-store/object-store.ts';
import type { JobState } from './job-queue.ts';
import type { StoredJob } from './stored-job.ts';

/**
 * What parts of a queue tell each other over the event bus, only to be quick: `cancelling`, somebody wants it to end; `released`, the dispatcher has chosen
 * a worker for it.
 */
export interface QueueEvent {
  readonly id: string;
  readonly state: JobState | 'cancelling' | 'released';
  readonly worker?: string;
  /** Of a job that waits: what the dispatcher needs to know of it, so that it need not read it. */
  readonly job?: JobHints;
}

/** What decides when and where a job runs. */
export interface JobHints {
  readonly tenant?: string;
  readonly lane?: string;
  readonly group?: string;
  readonly sequence?: number;
  readonly affinity?: string;
  readonly attempts: number;
  readonly strikes: number;
}

export function hintsOf(job: StoredJob): JobHints {
  const { tenant, lane, group, sequence, affinity, attempts, strikes } = job;
  return {
    ...(tenant === undefined ? {} : { tenant }),
    ...(lane === undefined ? {} : { lane }),
    ...(group === undefined ? {} : { group }),
    ...(sequence === undefined ? {} : { sequence }),
    ...(affinity === undefined ? {} : { affinity }),
    attempts,
    strikes,
  };
}

export function stateEvent(job: StoredJob): JsonValue {
  return {
    id: job.id,
    state: job.state,
    ...(job.worker === undefined ? {} : { worker: job.worker }),
    ...(job.state === 'queued' ? { job: { ...hintsOf(job) } } : {}),
  };
}

/** Undefined: it is of another version of this program. */
export function parseQueueEvent(message: JsonValue): QueueEvent | undefined {
  const event = message as Partial<QueueEvent> | null;
  return typeof event?.id === 'string' && typeof event.state === 'string' ? (event as QueueEvent) : undefined;
}
