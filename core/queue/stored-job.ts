import { randomUUID } from 'node:crypto';
import { type ObjectStore, PreconditionFailed } from '../object-store/object-store.ts';
import type { JobRecord, JobState } from './job-queue.ts';

/** What is in the store: the record and what only the queue itself needs. */
export interface StoredJob extends JobRecord {
  /** Rises with each take-up, also over times without a lease. */
  readonly fence: number;
  /** Faults of the farm so far: errors that were not the job's, workers that died. */
  readonly strikes: number;
  /** Why it is to be cancelled; the worker that holds it does so. */
  readonly cancelReason?: string;
}

/** A job as it was read or written last, with the version to compare against and the nonce of that write. */
export interface VersionedJob {
  readonly job: StoredJob;
  readonly etag: string;
  readonly nonce: string;
}

const TERMINAL: readonly JobState[] = ['succeeded', 'failed', 'cancelled', 'superseded'];
const STATES: readonly string[] = ['queued', 'running', ...TERMINAL];

export function isTerminal(state: JobState): boolean {
  return TERMINAL.includes(state);
}

export async function readJob(store: ObjectStore, key: string): Promise<VersionedJob | undefined> {
  const object = await store.get(key);
  if (object === undefined) return undefined;
  const { nonce, ...job } = parse(object.body, key);
  return { job, etag: object.etag, nonce };
}

/** Undefined: somebody else wrote first. `previous` undefined: only if there is none yet. */
export async function writeJob(
  store: ObjectStore,
  key: string,
  job: StoredJob,
  previous: VersionedJob | undefined,
): Promise<VersionedJob | undefined> {
  const nonce = randomUUID();
  // State and nonce first: equal content must never have an equal ETag.
  const { state, ...rest } = job;
  const body = Buffer.from(JSON.stringify({ state, nonce, ...rest }));
  try {
    const condition = previous === undefined ? { ifNoneMatch: '*' as const } : { ifMatch: previous.etag };
    const { etag } = await store.put(key, body, condition);
    return { job, etag, nonce };
  } catch (error) {
    if (error instanceof PreconditionFailed) return undefined;
    throw error;
  }
}

/** What callers of the queue see. */
export function publicRecord(job: StoredJob): JobRecord {
  const { fence: _, strikes: __, cancelReason: ___, ...record } = job;
  return record;
}

/** Only this queue writes here; what cannot be read is damage, and must not look like "no such job". */
function parse(body: Buffer, key: string): StoredJob & { readonly nonce: string } {
  const value = JSON.parse(body.toString()) as StoredJob & { readonly nonce: string };
  if (!STATES.includes(value.state) || typeof value.id !== 'string' || typeof value.nonce !== 'string') {
    throw new Error(`the job record ${key} is damaged`);
  }
  return value;
}
