import type { EventBus } from '../events.ts';
import type { ObjectStore } from '../object-store/object-store.ts';
import { abandoned } from './job-changes.ts';
import type { JobKeys } from './job-keys.ts';
import type { LeaseWatch } from './lease-watch.ts';
import type { OpenJobs } from './open-jobs.ts';
import { hintsOf, stateEvent } from './queue-event.ts';
import { isTerminal, readJob, type StoredJob, type VersionedJob, writeJob } from './stored-job.ts';

export interface ScanOptions {
  readonly store: ObjectStore;
  readonly keys: JobKeys;
  readonly events: EventBus;
  readonly jobs: OpenJobs;
  readonly leases: LeaseWatch;
  readonly isGone: (owner: string) => boolean;
  readonly leaseMs: number;
  readonly retryMs: number;
  /** After so long a worker that has not taken up what was released to it is asked no more. Milliseconds. */
  readonly releaseMs: number;
  readonly now: () => number;
  readonly elapsed: () => number;
  readonly onError: (error: unknown) => void;
  /** Told of a worker that has not taken up in time what was released to it, before another may have it. */
  readonly onIgnored: (id: string, worker: string) => void;
  /** Told after a part of the jobs was read: there may be something to release. */
  readonly onProgress: () => void;
}

/** Compares what a dispatcher keeps in mind with the store, which is the truth. */
export interface OpenJobsScan {
  /** All open jobs: unknown ones are read, ended ones forgotten, and those whose worker died wait again. Errors: ObjectStoreUnavailable. */
  readonly scan: () => Promise<void>;
  /** One job. Errors: ObjectStoreUnavailable, the record is damaged. */
  readonly look: (id: string) => Promise<void>;
}

/** A marker without a record is an `add` that died, or one that is about to write its record. */
const orphanMs = 60 * 60 * 1000;
const readsAtOnce = 8;
/** Keys of one scan; older jobs come first, and what lies behind is seen when they have ended. */
const mostScanned = 100_000;
/** Reads of one scan of jobs that there may be no room for. */
const mostUnknown = 2_000;
/** Looks at a marker whose record is missing, or damaged, before it is looked at only now and then. */
const eagerLooks = 5;

export function createOpenJobsScan(options: ScanOptions): OpenJobsScan {
  const { store, keys, events, jobs, leases, elapsed, now } = options;
  /** Markers of which nothing can be made. */
  const strange = new Map<string, { looks: number; lookedAt: number }>();

  async function scan(): Promise<void> {
    const startedAt = elapsed();
    const open = new Set<string>();
    let unknown = 0;
    let startAfter: string | undefined;
    let whole = false;
    do {
      const page = await store.list({
        prefix: keys.openPrefix,
        ...(startAfter !== undefined && { startAfter }),
      });
      const toRead: { id: string; modified: Date }[] = [];
      for (const { key, modified } of page.objects) {
        const id = keys.idOfOpen(key);
        open.add(id);
        const odd = strange.get(id);
        if (isDue(id, odd) && (jobs.get(id) !== undefined || unknown++ < mostUnknown)) {
          toRead.push({ id, modified });
        }
      }
      await each(toRead, ({ id, modified }) => lookQuietly(id, modified));
      startAfter = page.next;
      whole = page.next === undefined;
      options.onProgress();
    } while (!whole && open.size < mostScanned);
    if (!whole) return;
    for (const id of strange.keys()) if (!open.has(id)) strange.delete(id);
    for (const { id, seenAt } of jobs.all()) {
      if (!open.has(id) && seenAt < startedAt) jobs.remove(id);
    }
  }

  function isDue(id: string, odd: { looks: number; lookedAt: number } | undefined): boolean {
    if (odd !== undefined) return odd.looks < eagerLooks || elapsed() - odd.lookedAt >= options.leaseMs / 3;
    const job = jobs.get(id);
    if (job === undefined) return true;
    const age = elapsed() - job.lookedAt;
    if (job.state === 'running') return age >= options.leaseMs / 3;
    return job.state === 'released' && age >= options.releaseMs;
  }

  async function lookQuietly(id: string, markedAt: Date): Promise<void> {
    try {
      if (await look(id)) {
        strange.delete(id);
        return;
      }
      if (now() - markedAt.getTime() > orphanMs) await removeOrphan(id);
    } catch (error) {
      // One damaged record must not keep all others from being found.
      options.onError(error);
    }
    strange.set(id, { looks: (strange.get(id)?.looks ?? 0) + 1, lookedAt: elapsed() });
  }

  /** False: there is no record. */
  async function look(id: string): Promise<boolean> {
    const found = await readJob(store, keys.record(id));
    if (found === undefined) return false;
    const { job } = found;
    if (isTerminal(job.state)) {
      jobs.remove(id);
      leases.forget(id);
      await store.delete(keys.open(id));
    } else if (job.state === 'running') {
      const { worker } = job;
      jobs.note(id, hintsOf(job), {
        state: 'running',
        lookedAt: elapsed(),
        ...(worker === undefined ? {} : { worker }),
      });
      if (options.isGone(job.lease?.owner ?? '') || leases.ranOut(found)) await abandon(found);
    } else noteQueued(job);
    return true;
  }

  function noteQueued(job: StoredJob): void {
    const known = jobs.get(job.id);
    if (known?.state === 'queued' || known?.state === 'ending') return;
    const ignoredBy = known?.state === 'released' ? known.worker : undefined;
    if (ignoredBy !== undefined) options.onIgnored(job.id, ignoredBy);
    const { strikes } = job;
    const avoid = ignoredBy ?? (strikes === 0 ? undefined : job.worker);
    const lookedAt = elapsed();
    jobs.note(job.id, hintsOf(job), {
      state: 'queued',
      lookedAt,
      ...(strikes === 0 ? {} : { notBefore: lookedAt + retryAfter(strikes, options.retryMs) }),
      ...(avoid === undefined ? {} : { avoid }),
      ...(ignoredBy === undefined ? {} : { ignored: true }),
    });
  }

  async function abandon(found: VersionedJob): Promise<void> {
    const { id } = found.job;
    const next = abandoned(found.job, now());
    if ((await writeJob(store, keys.record(id), next, found)) === undefined) return;
    leases.forget(id);
    if (isTerminal(next.state)) {
      jobs.remove(id);
      await store.delete(keys.open(id));
    } else noteQueued(next);
    events.publish(keys.topic, stateEvent(next));
  }

  /** The record may be written right between the look and the deletion: look again, and `add` looks from its side. */
  async function removeOrphan(id: string): Promise<void> {
    await store.delete(keys.open(id));
    const found = await readJob(store, keys.record(id));
    if (found !== undefined && !isTerminal(found.job.state)) await store.put(keys.open(id), Buffer.alloc(0));
  }

  return {
    scan,
    async look(id) {
      await look(id);
    },
  };
}

/** Waiting time before the attempt after so many strikes: doubled each time. */
export function retryAfter(strikes: number, retryMs: number): number {
  return strikes === 0 ? 0 : retryMs * 2 ** (strikes - 1);
}

async function each<T>(items: readonly T[], work: (item: T) => Promise<void>): Promise<void> {
  const rest = items.values();
  await Promise.all(
    Array.from({ length: readsAtOnce }, async () => {
      for (const item of rest) await work(item);
    }),
  );
}
