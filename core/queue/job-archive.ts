import type { ObjectStore } from '../object-store/object-store.ts';
import { createJobKeys } from './job-keys.ts';
import type { JobRecord } from './job-queue.ts';
import { isTerminal, publicRecord, readJob } from './stored-job.ts';

/** The jobs of a queue as a store keeps them, for who decides how long they stay. */
export interface JobArchive {
  /** All jobs, newest first, some of them together. Errors: ObjectStoreUnavailable. */
  walk(): AsyncGenerator<readonly ArchivedJob[]>;
  /**
   * Removes a job that has ended, and a place in the order that no job is behind. False: it has not ended. May be repeated, also after a death in the
   * middle: the place in the order goes last. Errors: ObjectStoreUnavailable.
   */
  forget(id: string): Promise<boolean>;
}

export interface ArchivedJob {
  readonly id: string;
  /** Undefined: a place in the order without a job, left by somebody who died, or whose job is just being added. */
  readonly job?: JobRecord;
  /** The record is there and cannot be read. */
  readonly damaged?: unknown;
}

const together = 32;

/** `prefix`: of the queue, as in `createEmbeddedQueue`. */
export function createJobArchive(store: ObjectStore, prefix: string): JobArchive {
  const keys = createJobKeys(prefix);

  async function read(id: string): Promise<ArchivedJob> {
    const found = await readJob(store, keys.record(id));
    return found === undefined ? { id } : { id, job: publicRecord(found.job) };
  }

  return {
    async *walk() {
      let startAfter: string | undefined;
      do {
        const page = await store.list({
          prefix: keys.orderPrefix,
          ...(startAfter !== undefined && { startAfter }),
        });
        const ids = page.objects.map(({ key }) => keys.idOfOrder(key));
        for (let first = 0; first < ids.length; first += together) {
          const some = ids.slice(first, first + together);
          const found = await Promise.allSettled(some.map(read));
          yield found.map((outcome, index): ArchivedJob => {
            if (outcome.status === 'fulfilled') return outcome.value;
            // A record that is no JSON is its own trouble; a store that does not answer is everybody's.
            if (!isDamage(outcome.reason)) throw outcome.reason;
            return { id: some[index] ?? '', damaged: outcome.reason };
          });
        }
        startAfter = page.next;
      } while (startAfter !== undefined);
    },

    async forget(id) {
      const found = await readJob(store, keys.record(id));
      if (found !== undefined && !isTerminal(found.job.state)) return false;
      await store.deleteMany([keys.record(id), keys.open(id)]);
      await store.delete(keys.order(id));
      return true;
    },
  };
}

function isDamage(error: unknown): boolean {
  return error instanceof SyntaxError || (error instanceof Error && error.message.endsWith('is damaged'));
}
