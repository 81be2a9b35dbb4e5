import type { EventBus } from '../events.ts';
import type { ObjectStore } from '../object-store/object-store.ts';
import { isProcessGone, processIdentity } from '../process-identity.ts';
import type { DispatchChannel } from './dispatch-channel.ts';
import { type DispatchPolicy, plainPolicy } from './dispatch-policy.ts';
import { readWaiting } from './dispatcher-lease.ts';
import { createEmbeddedWorker } from './embedded-worker.ts';
import { createJobKeys, isJobId } from './job-keys.ts';
import type { JobQueue, JobRecord } from './job-queue.ts';
import { stateEvent } from './queue-event.ts';
import { ended } from './run-job.ts';
import { createStoreChannel } from './store-channel.ts';
import { isTerminal, publicRecord, readJob, type StoredJob, writeJob } from './stored-job.ts';
import { createWorkerDirectory } from './worker-directory.ts';

export interface EmbeddedQueueOptions {
  readonly store: ObjectStore;
  /** Ends in `/`; records lie at `<prefix><id>`, markers below `queue/` and `queue-order/`. */
  readonly prefix: string;
  readonly events: EventBus;
  /** Names this process in leases; default and best: process-identity.ts, by which others see that it is gone. */
  readonly owner?: string;
  /** How workers are shared out; default: one lane, tenants take turns. */
  readonly policy?: DispatchPolicy;
  /** Carries released jobs to workers in other processes; default: the store itself. */
  readonly channel?: DispatchChannel;
  /** Milliseconds since 1970. */
  readonly now?: () => number;
  /** How long a worker may be silent before another takes its job; renewed at a third. Default 15 s. */
  readonly leaseMs?: number;
  /** How often workers look for jobs that no event told them of. Default 1 s. */
  readonly pollMs?: number;
  /** Wait before the second attempt, doubled before the third. Default 1 s. */
  readonly retryMs?: number;
  /** Told of what a worker could not do and will try again: for the log. */
  readonly onError?: (error: unknown) => void;
}

/**
 * A queue that needs nothing but the object store. Every change of a job is one compare-and-set of its record, so two workers cannot both have
 * it; markers and events only make it quick to find.
 */
export function createEmbeddedQueue(options: EmbeddedQueueOptions): JobQueue {
  const { store, events } = options;
  const keys = createJobKeys(options.prefix);
  const now = options.now ?? Date.now;
  const leaseMs = options.leaseMs ?? 15_000;
  const pollMs = options.pollMs ?? 1000;
  const onError = options.onError ?? (() => {});
  const directory = createWorkerDirectory({ store, keys, events, leaseMs });

  return {
    async add({ id, payload, tenant, lane, group, sequence, affinity }) {
      const key = keys.record(id);
      const job: StoredJob = {
        id,
        payload,
        ...(tenant === undefined ? {} : { tenant }),
        ...(lane === undefined ? {} : { lane }),
        ...(group === undefined ? {} : { group }),
        ...(sequence === undefined ? {} : { sequence }),
        ...(affinity === undefined ? {} : { affinity }),
        state: 'queued',
        createdAt: new Date(now()).toISOString(),
        attempts: 0,
        fence: 0,
        strikes: 0,
      };
      const existing = await readJob(store, key);
      if (existing !== undefined) return publicRecord(existing.job);
      const empty = Buffer.alloc(0);
      await Promise.all([store.put(keys.open(id), empty), store.put(keys.order(id), empty)]);
      const written = await writeJob(store, key, job, undefined);
      if (written === undefined) {
        const other = await readJob(store, key);
        if (other !== undefined) return publicRecord(other.job);
      }
      // A worker that took the marker for an orphan's may have removed it before the record was there.
      if ((await store.head(keys.open(id))) === undefined) await store.put(keys.open(id), empty);
      events.publish(keys.topic, stateEvent(job));
      return publicRecord(job);
    },

    async get(id) {
      if (!isJobId(id)) return undefined;
      const found = await readJob(store, keys.record(id));
      return found && publicRecord(found.job);
    },

    async list({ limit = 100, before } = {}) {
      const records: JobRecord[] = [];
      let startAfter = before === undefined ? undefined : keys.order(before);
      do {
        const page = await store.list({
          prefix: keys.orderPrefix,
          limit: Math.max(1, limit - records.length),
          ...(startAfter !== undefined && { startAfter }),
        });
        const found = await Promise.all(
          page.objects.map(({ key }) => readJob(store, keys.record(keys.idOfOrder(key)))),
        );
        records.push(...found.flatMap((job) => (job === undefined ? [] : [publicRecord(job.job)])));
        startAfter = page.next;
      } while (startAfter !== undefined && records.length < limit);
      return records.slice(0, limit);
    },

    async cancel(id, reason) {
      if (!isJobId(id)) return undefined;
      const key = keys.record(id);
      for (;;) {
        const found = await readJob(store, key);
        if (found === undefined) return undefined;
        const { job } = found;
        if (isTerminal(job.state) || job.cancelReason !== undefined) return publicRecord(job);
        const next =
          job.state === 'queued'
            ? { ...ended(job, 'cancelled', now()), error: reason }
            : { ...job, cancelReason: reason };
        if ((await writeJob(store, key, next, found)) === undefined) continue;
        if (isTerminal(next.state)) await store.delete(keys.open(id));
        events.publish(keys.topic, isTerminal(next.state) ? stateEvent(next) : { id, state: 'cancelling' });
        return publicRecord(next);
      }
    },

    workers: async () => (await directory.look()).live,

    waiting: () => readWaiting(store, keys.dispatcher),

    work: (handler, work) =>
      createEmbeddedWorker(
        {
          store,
          keys,
          events,
          now,
          channel: options.channel ?? createStoreChannel({ store, keys, events, pollMs, onError }),
          directory,
          policy: options.policy ?? plainPolicy,
          owner: options.owner ?? processIdentity(),
          isGone: isProcessGone,
          leaseMs,
          pollMs,
          retryMs: options.retryMs ?? 1000,
          onError,
        },
        handler,
        work,
      ),
  };
}
