import type { ObjectStore } from '../object-store/object-store.ts';
import { readJob, type StoredJob, type VersionedJob, writeJob } from './stored-job.ts';

/** Another worker has the job by now, or it has ended. */
export class LeaseLost extends Error {
  override readonly name = 'LeaseLost';
}

/** The right to write a job's record, for as long as its fence is the latest. */
export interface JobLease {
  /** The record as this holder saw it last. */
  readonly job: StoredJob;
  /** Writes a changed record. Errors: LeaseLost, ObjectStoreUnavailable. */
  update(change: (job: StoredJob) => StoredJob): Promise<void>;
}

/** `held`: the record with which the job was taken up. */
export function createJobLease(store: ObjectStore, key: string, held: VersionedJob): JobLease {
  const { fence } = held.job;
  let current = held;
  let queue = Promise.resolve();

  async function update(change: (job: StoredJob) => StoredJob): Promise<void> {
    for (;;) {
      const written = await writeJob(store, key, change(current.job), current);
      if (written !== undefined) {
        current = written;
        return;
      }
      // A request to cancel, or an own write whose answer was lost, changes the record and leaves the fence.
      const found = await readJob(store, key);
      if (found === undefined || found.job.state !== 'running' || found.job.fence !== fence) {
        throw new LeaseLost('another worker took the job up, or it has ended');
      }
      current = found;
    }
  }

  return {
    get job() {
      return current.job;
    },
    update(change) {
      // One at a time: two own writes would only fail each other's comparison.
      const run = queue.then(() => update(change));
      queue = run.catch(() => {});
      return run;
    },
  };
}
