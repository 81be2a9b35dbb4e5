import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import type { EventBus } from '../events.ts';
import type { ObjectStore } from '../object-store/object-store.ts';
import type { JobKeys } from './job-keys.ts';
import type { JobHandler, JobWorker, WorkOptions } from './job-queue.ts';
import { createLeaseWatch } from './lease-watch.ts';
import { ended, type JobRun, leaseOf, MAX_STRIKES, runJob } from './run-job.ts';
import { isTerminal, readJob, type StoredJob, type VersionedJob, writeJob } from './stored-job.ts';
import type { WorkerDirectory } from './worker-directory.ts';

/** A marker without a record is an `add` that died, or one that is about to write its record. */
const ORPHAN_MS = 60 * 60 * 1000;

export interface WorkerOptions {
  readonly store: ObjectStore;
  readonly keys: JobKeys;
  readonly events: EventBus;
  readonly owner: string;
  readonly now: () => number;
  readonly leaseMs: number;
  readonly pollMs: number;
  readonly retryMs: number;
  readonly onError: (error: unknown) => void;
  readonly directory: WorkerDirectory;
}

/** Takes jobs from the oldest to the newest: at once when told of one, and by looking every `pollMs`. */
export function createEmbeddedWorker(
  options: WorkerOptions,
  handler: JobHandler,
  { concurrency, labels = {} }: WorkOptions,
): JobWorker {
  const { store, keys, events, now, directory } = options;
  const ownId = workerId(options.owner);
  let slots = concurrency;
  let reason: string | undefined;
  const running = new Map<string, JobRun>();
  const leases = createLeaseWatch(options);
  const shutdown = new AbortController();
  let wanted = false;
  let scanning: Promise<void> | undefined;
  let closing: Promise<void> | undefined;

  const wake = (): void => {
    wanted = true;
    scanning ??= scanWhileWanted().finally(() => {
      scanning = undefined;
      if (wanted && !shutdown.signal.aborted) wake();
    });
  };
  async function scanWhileWanted(): Promise<void> {
    while (wanted && !shutdown.signal.aborted) {
      wanted = false;
      try {
        await scan();
      } catch (error) {
        options.onError(error);
      }
    }
  }
  async function scan(): Promise<void> {
    let startAfter: string | undefined;
    do {
      const page = await store.list({
        prefix: keys.openPrefix,
        limit: 100,
        ...(startAfter !== undefined && { startAfter }),
      });
      for (const { key, modified } of page.objects) {
        if (running.size >= slots || shutdown.signal.aborted) return;
        const id = keys.idOfOpen(key);
        if (running.has(id)) continue;
        try {
          await consider(id, modified);
        } catch (error) {
          // One damaged record must not keep all others from being found.
          options.onError(error);
        }
      }
      startAfter = page.next;
    } while (startAfter !== undefined);
  }

  async function consider(id: string, markedAt: Date): Promise<void> {
    const found = await readJob(store, keys.record(id));
    if (found === undefined) {
      if (now() - markedAt.getTime() > ORPHAN_MS) await removeOrphan(id);
      return;
    }
    const { job } = found;
    if (isTerminal(job.state)) {
      await store.delete(keys.open(id));
      return;
    }
    const died = job.state === 'running';
    if (died ? !leases.ranOut(found) : job.notBefore !== undefined && Date.parse(job.notBefore) > now())
      return;
    const next = takeUp(job, died, { ...options, worker: ownId });
    const written = await writeJob(store, keys.record(id), next, found);
    if (written === undefined) return;
    leases.forget(id);
    if (isTerminal(next.state)) await settle(next);
    else start(written);
  }

  function start(taken: VersionedJob): void {
    const { id } = taken.job;
    const run = runJob({ ...options, key: keys.record(id), shutdown: shutdown.signal }, taken, handler);
    const done = run.done
      .then((job) => job && settle(job))
      .catch(options.onError)
      .finally(() => {
        running.delete(id);
        wake();
      });
    running.set(id, { look: run.look, done: done.then(() => undefined) });
    events.publish(keys.topic, { id, state: 'running' });
  }

  async function settle(job: StoredJob): Promise<void> {
    if (isTerminal(job.state)) await store.delete(keys.open(job.id));
    events.publish(keys.topic, { id: job.id, state: job.state });
  }

  /** The record may be written right between the look and the deletion: look again, and `add` looks from its side. */
  async function removeOrphan(id: string): Promise<void> {
    await store.delete(keys.open(id));
    const found = await readJob(store, keys.record(id));
    if (found !== undefined && !isTerminal(found.job.state)) await store.put(keys.open(id), Buffer.alloc(0));
  }

  const unsubscribe = events.subscribe(keys.topic, (message) => {
    if (typeof message !== 'object' || message === null || !('state' in message)) return;
    if (message.state === 'queued') wake();
    if (message.state === 'cancelling' && typeof message.id === 'string') running.get(message.id)?.look();
  });
  const timer = setInterval(wake, options.pollMs);
  wake();

  let saying = Promise.resolve();
  /** One after the other: an older word must not overwrite a newer one. */
  const say = (): void => {
    saying = saying
      .then(() =>
        directory.say({
          id: ownId,
          slots,
          busy: running.size,
          ...(reason === undefined ? {} : { reason }),
          labels,
          at: new Date(now()).toISOString(),
        }),
      )
      .catch(options.onError);
  };
  const beat = setInterval(say, options.leaseMs / 3);
  say();

  return {
    id: ownId,
    setSlots(most, why) {
      slots = most;
      reason = why;
      say();
      wake();
    },
    async drain(signal) {
      slots = 0;
      reason = 'it takes no more jobs, as it is about to stop';
      say();
      await scanning;
      const left = new AbortController();
      const stop = (): void => left.abort();
      signal?.addEventListener('abort', stop);
      if (signal?.aborted === true) stop();
      while (running.size > 0 && !left.signal.aborted) {
        // A job that was handed back or retried elsewhere is gone from here as well.
        const waited = delay(60_000, undefined, { signal: left.signal, ref: false }).catch(() => {});
        await Promise.race([...[...running.values()].map((run) => run.done), waited]);
      }
      signal?.removeEventListener('abort', stop);
      left.abort();
    },
    close() {
      closing ??= (async () => {
        clearInterval(timer);
        clearInterval(beat);
        unsubscribe();
        shutdown.abort();
        await scanning;
        await Promise.all([...running.values()].map((run) => run.done));
        await saying;
        await directory.remove(ownId).catch(options.onError);
      })();
      return closing;
    },
  };
}

/** Each start of a worker has its own: what was said of a dead one must not count for its successor. */
function workerId(owner: string): string {
  const name = owner
    .replaceAll(/[^0-9A-Za-z_.-]/g, '-')
    .replace(/^[^0-9A-Za-z]+/, '')
    .slice(0, 80);
  return `${name === '' ? 'worker' : name}-${randomUUID().slice(0, 8)}`;
}

/** The record of a job that is taken up now, or that ends here because it was cancelled or has killed too many workers. */
function takeUp(
  job: StoredJob,
  died: boolean,
  { owner, now, leaseMs, worker }: WorkerOptions & { readonly worker: string },
): StoredJob {
  const strikes = job.strikes + (died ? 1 : 0);
  if (job.cancelReason !== undefined) return { ...ended(job, 'cancelled', now()), error: job.cancelReason };
  if (strikes >= MAX_STRIKES) {
    const error = `workers died or lost contact ${strikes} times while they ran this job`;
    return { ...ended(job, 'failed', now()), strikes, error };
  }
  const { notBefore: _, error: __, ...rest } = job;
  const next = { ...rest, strikes, fence: job.fence + 1, attempts: job.attempts + 1 };
  return {
    ...next,
    state: 'running',
    worker,
    startedAt: job.startedAt ?? new Date(now()).toISOString(),
    lease: { ...leaseOf(next, now() + leaseMs), owner },
  };
}
