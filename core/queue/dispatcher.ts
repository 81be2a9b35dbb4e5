import { createDispatcherLease } from './dispatcher-lease.ts';
import { chooseReleases } from './fair-share.ts';
import { superseded } from './job-changes.ts';
import type { WorkerInfo } from './job-queue.ts';
import { createLeaseWatch } from './lease-watch.ts';
import { createOpenJobs, type OpenJob } from './open-jobs.ts';
import type { WorkerRoom } from './place-job.ts';
import type { QueueDeps } from './queue-deps.ts';
import { parseQueueEvent, type QueueEvent, stateEvent } from './queue-event.ts';
import { createOpenJobsScan, retryAfter } from './scan-open-jobs.ts';
import { isTerminal, readJob, writeJob } from './stored-job.ts';
import { parseWorkerInfo } from './worker-directory.ts';

export interface DispatcherOptions extends QueueDeps {
  /** The worker in this process: it is handed jobs without any detour. */
  readonly local: { readonly id: string; slots(): number; offer(id: string): void };
  /** Told when this one begins or ceases to dispatch. */
  readonly onLeading: (leading: boolean) => void;
}

export interface Dispatcher {
  readonly leading: boolean;
  /** Something about the worker in this process has changed. */
  wake(): void;
  /** Lets another one dispatch. */
  close(): Promise<void>;
}

/**
 * Decides which open job begins next, and where. Every worker process has one, and one of them dispatches. It keeps all open jobs in mind: events make
 * it quick, a look at the store every `pollMs` makes it right. What it releases are hints, so one that died or was wrong costs time and nothing else.
 */
export function createDispatcher(options: DispatcherOptions): Dispatcher {
  const { store, keys, events, channel, directory, policy, local, leaseMs, onError } = options;
  const elapsed = (): number => performance.now();
  const jobs = createOpenJobs(policy);
  const leases = createLeaseWatch({ leaseMs });
  const lease = createDispatcherLease({ ...options, key: keys.dispatcher, worker: local.id, elapsed });
  const releaseMs = Math.max(leaseMs / 3, options.pollMs * 5);
  const { scan, look } = createOpenJobsScan({
    ...options,
    jobs,
    leases,
    elapsed,
    releaseMs,
    onIgnored,
    onProgress: choose,
  });
  let others = new Map<string, WorkerInfo>();
  /** Workers that did not take up what was released to them: nothing for them until then, longer each time, until one of their jobs runs. */
  const silent = new Map<string, { times: number; until: number }>();
  let lookedAround = -Infinity;
  let turns: ReadonlyMap<string, number> = new Map();
  let leading = false;
  let closed = false;

  /** A worker elsewhere may hold as much again as it has free slots, so that it need not wait for the next one. */
  function rooms(active: readonly OpenJob[]): WorkerRoom[] {
    const counts = new Map<string, { running: number; released: number }>();
    for (const { worker = '', state } of active) {
      const count = counts.get(worker) ?? { running: 0, released: 0 };
      count[state === 'running' ? 'running' : 'released']++;
      counts.set(worker, count);
    }
    const roomOf = (id: string, slots: number, near: boolean): WorkerRoom => {
      const { running, released } = counts.get(id) ?? { running: 0, released: 0 };
      const free = Math.max(0, slots - running);
      const room = Math.max(0, (near ? free : free * 2) - released);
      return { id, slots, room, load: running + released, near };
    };
    const far = [...others.values()].filter(
      ({ id }) => id !== local.id && (silent.get(id)?.until ?? 0) <= elapsed(),
    );
    return [roomOf(local.id, local.slots(), true), ...far.map(({ id, slots }) => roomOf(id, slots, false))];
  }

  function onIgnored(id: string, worker: string): void {
    withdraw({ id, worker });
    const info = others.get(worker);
    const busy = jobs.active().filter((job) => job.worker === worker && job.state === 'running').length;
    // One that is full keeps what it was given until a slot is free, and others may be quicker.
    if (info === undefined || worker === local.id || busy >= info.slots) return;
    const times = silent.get(worker)?.times ?? 0;
    silent.set(worker, { times: times + 1, until: elapsed() + releaseMs * 2 ** Math.min(times, 6) });
  }

  function choose(): void {
    if (!leading || closed) return;
    const active = jobs.active();
    const workers = rooms(active);
    if (!workers.some(({ room }) => room > 0)) return;
    const now = elapsed();
    const waiting = jobs.waiting(now);
    if (waiting.length === 0) return;
    const choice = chooseReleases({ policy, waiting, active, workers, turns });
    turns = choice.turns;
    for (const id of choice.held) {
      const job = jobs.get(id);
      if (job !== undefined) job.heldSince ??= now;
    }
    for (const { id, worker } of choice.releases) release(id, worker);
  }

  function release(id: string, worker: string): void {
    const job = jobs.get(id);
    if (job === undefined) return;
    setState(job, { state: 'released', worker });
    if (worker === local.id) local.offer(id);
    else {
      channel.release(worker, id).catch((error: unknown) => {
        onError(error);
        if (job.state === 'released' && job.worker === worker) setState(job, { state: 'queued' });
      });
    }
    events.publish(keys.topic, { id, state: 'released', worker });
  }

  function setState(job: OpenJob, change: Pick<OpenJob, 'state'> & Partial<OpenJob>): void {
    jobs.note(job.id, { attempts: 0, strikes: 0 }, { ...change, lookedAt: elapsed() });
  }

  function withdraw({ id, worker }: { readonly id: string; readonly worker?: string }): void {
    if (worker !== undefined && worker !== local.id) channel.withdraw(worker, id).catch(onError);
  }

  /** Older jobs of the group that have not begun are not wanted any more. */
  function supersede(group: string): void {
    for (const { old, by } of jobs.outdated(group)) {
      const { id, state, worker } = old;
      if (state === 'released') withdraw(old);
      setState(old, { state: 'ending', ...(worker === undefined ? {} : { worker }) });
      endSuperseded(id, by).catch((error: unknown) => {
        onError(error);
        const job = jobs.get(id);
        if (job?.state === 'ending') setState(job, { state: 'queued' });
      });
    }
  }

  async function endSuperseded(id: string, by: string): Promise<void> {
    const found = await readJob(store, keys.record(id));
    if (found?.job.state === 'queued') {
      const next = superseded(found.job, by, options.now());
      if ((await writeJob(store, keys.record(id), next, found)) !== undefined) {
        jobs.remove(id);
        events.publish(keys.topic, stateEvent(next));
        await store.delete(keys.open(id));
        return;
      }
    }
    // A worker was quicker, or somebody cancelled it.
    const job = jobs.get(id);
    if (job?.state === 'ending') setState(job, { state: 'released' });
    await look(id);
  }

  function onEvent({ id, state, job: hints, worker }: QueueEvent): void {
    if (!leading || state === 'released' || state === 'cancelling') return;
    const known = jobs.get(id);
    if (state === 'running') {
      if (known !== undefined) setState(known, { state, ...(worker === undefined ? {} : { worker }) });
      return;
    }
    if (isTerminal(state)) {
      jobs.remove(id);
      leases.forget(id);
    } else if (hints !== undefined && known?.state !== 'ending') {
      const lookedAt = elapsed();
      const { strikes, group } = hints;
      const wait = retryAfter(strikes, options.retryMs);
      jobs.note(id, hints, {
        state: 'queued',
        lookedAt,
        ...(wait === 0 ? {} : { notBefore: lookedAt + wait }),
        ...(strikes === 0 || worker === undefined ? {} : { avoid: worker }),
      });
      // The time until the next look at the store is longer than some retries.
      if (wait > 0 && wait < options.pollMs) setTimeout(choose, wait + 1).unref();
      if (group !== undefined) supersede(group);
    }
    choose();
  }

  async function lookAround(): Promise<void> {
    if (elapsed() - lookedAround >= leaseMs / 3) {
      const { live, gone } = await directory.look();
      others = new Map(live.map((worker) => [worker.id, worker]));
      for (const id of silent.keys()) if (!others.has(id)) silent.delete(id);
      lookedAround = elapsed();
      for (const id of gone) await directory.remove(id);
    }
    for (const { id, owner } of others.values()) {
      if (id === local.id || !options.isGone(owner)) continue;
      others.delete(id);
      await directory.remove(id);
    }
    for (const job of jobs.active()) {
      const { id, worker, state } = job;
      if (worker !== undefined && state === 'running') silent.delete(worker);
      if (worker === undefined || worker === local.id || others.has(worker)) continue;
      if (state === 'running') await look(id);
      else {
        withdraw(job);
        setState(job, { state: 'queued' });
      }
    }
  }

  /** What an earlier dispatcher has released is not released again, unless nobody is there to take it. */
  async function takeOver(): Promise<void> {
    jobs.clear();
    turns = new Map();
    lookedAround = -Infinity;
    await lookAround();
    // Without them some jobs are released twice.
    const hints = await channel.released().catch((error: unknown) => {
      onError(error);
      return [];
    });
    await scan();
    for (const { id, worker } of hints) {
      const job = jobs.get(id);
      if (job?.state === 'queued' && others.has(worker)) setState(job, { state: 'released', worker });
      else withdraw({ id, worker });
    }
    leading = true;
  }

  let keeping: Promise<void> | undefined;
  let looking: Promise<void> | undefined;
  const tick = (): void => {
    if (closed) return;
    // Beside the scan, which may take longer than the lease.
    keeping ??= lease
      .keep(() => jobs.summary(elapsed()))
      .catch(onError)
      .finally(() => {
        keeping = undefined;
        looking ??= work()
          .catch(onError)
          .finally(() => {
            looking = undefined;
          });
      });
  };
  async function work(): Promise<void> {
    if (closed) return;
    if (!lease.held) {
      if (leading) {
        leading = false;
        jobs.clear();
        options.onLeading(false);
      }
      return;
    }
    if (leading) {
      await lookAround();
      await scan();
    } else {
      await takeOver();
      options.onLeading(true);
    }
    for (const group of new Set([...jobs.all()].flatMap((job) => job.group ?? []))) supersede(group);
    choose();
  }

  const unsubscribe = [
    events.subscribe(keys.topic, (message) => {
      const event = parseQueueEvent(message);
      if (event !== undefined) onEvent(event);
    }),
    events.subscribe(keys.workersTopic, (message) => {
      const worker = parseWorkerInfo(message);
      if (!leading || worker === undefined) return;
      others.set(worker.id, worker);
      choose();
    }),
  ];
  const timer = setInterval(tick, options.pollMs);
  tick();

  return {
    get leading() {
      return leading && !closed;
    },
    wake: choose,
    async close() {
      if (closed) return;
      closed = true;
      clearInterval(timer);
      for (const stop of unsubscribe) stop();
      await keeping;
      await looking;
      await lease.leave().catch(onError);
    },
  };
}
