import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import type { ChannelListener } from './dispatch-channel.ts';
import { createDispatcher } from './dispatcher.ts';
import { takenUp } from './job-changes.ts';
import type { JobHandler, JobWorker, WorkOptions } from './job-queue.ts';
import type { QueueDeps } from './queue-deps.ts';
import { parseQueueEvent, type QueueEvent, stateEvent } from './queue-event.ts';
import { type JobRun, runJob } from './run-job.ts';
import { isTerminal, readJob, type StoredJob, type VersionedJob, writeJob } from './stored-job.ts';

/** What was released to this worker beyond its slots and waits here. The dispatcher releases less. */
const mostPending = 200;
/** A job that was announced, and that no dispatcher has released so much later, is taken by whoever has a free slot. Milliseconds. */
const patienceMs = 150;

/** Takes jobs that the dispatcher releases to it, be that in this process or in another; and announced ones when none dispatches. */
export function createEmbeddedWorker(
  options: QueueDeps,
  handler: JobHandler,
  { concurrency, labels = {} }: WorkOptions,
): JobWorker {
  const { store, keys, events, now, directory, onError } = options;
  const ownId = workerId(options.owner);
  const running = new Map<string, JobRun>();
  /** Being taken up. */
  const claiming = new Map<string, Promise<void>>();
  const pending = new Map<string, () => void>();
  const announced = new Map<string, NodeJS.Timeout>();
  const shutdown = new AbortController();
  let slots = concurrency;
  let reason: string | undefined;
  let listener: ChannelListener | undefined;
  let closing: Promise<void> | undefined;

  const hasSlot = (): boolean => running.size + claiming.size < slots && !shutdown.signal.aborted;

  /** Takes the job up when it still waits; later, where all slots are taken. Resolves when that is decided. */
  async function offer(id: string): Promise<void> {
    if (running.has(id) || claiming.has(id) || pending.has(id)) return;
    if (hasSlot()) return begin(id);
    if (pending.size >= mostPending || shutdown.signal.aborted) return;
    await new Promise<void>((resolve) => pending.set(id, resolve));
  }

  /** Holds a slot from this very moment on. */
  function begin(id: string): Promise<void> {
    const claimed = claim(id)
      .catch(onError)
      .finally(() => {
        claiming.delete(id);
        takeNext();
      });
    claiming.set(id, claimed);
    return claimed;
  }

  function takeNext(): void {
    const [first] = pending;
    if (first === undefined || !hasSlot()) return;
    const [id, decided] = first;
    pending.delete(id);
    void begin(id).then(decided);
  }

  /** The dispatcher will find others for them. */
  function dropPending(): void {
    for (const decided of pending.values()) decided();
    pending.clear();
  }

  async function claim(id: string): Promise<void> {
    const found = await readJob(store, keys.record(id));
    if (found?.job.state !== 'queued') {
      // Whoever released it does not know that yet.
      if (found !== undefined) events.publish(keys.topic, stateEvent(found.job));
      return;
    }
    const { owner, leaseMs } = options;
    const next = takenUp(found.job, { owner, worker: ownId, now: now(), leaseMs });
    const written = await writeJob(store, keys.record(id), next, found);
    if (written !== undefined) start(written);
  }

  function start(taken: VersionedJob): void {
    const { id } = taken.job;
    const run = runJob({ ...options, key: keys.record(id), shutdown: shutdown.signal }, taken, handler);
    const done = run.done
      .finally(() => running.delete(id))
      .then((job) => (job === undefined ? undefined : settle(job)))
      .catch(onError)
      .finally(() => {
        dispatcher.wake();
        takeNext();
      });
    running.set(id, { look: run.look, done: done.then(() => undefined) });
    events.publish(keys.topic, stateEvent(taken.job));
  }

  /** Tells of it first: whoever waits for the slot or the job need not wait for the deletion as well. */
  async function settle(job: StoredJob): Promise<void> {
    events.publish(keys.topic, stateEvent(job));
    if (isTerminal(job.state)) await store.delete(keys.open(job.id));
  }

  function onEvent({ id, state, job, worker }: QueueEvent): void {
    if (state === 'cancelling') running.get(id)?.look();
    if ((state === 'released' || state === 'running') && worker !== ownId) {
      // Another one has it, or shall have it.
      pending.get(id)?.();
      pending.delete(id);
    }
    if (state !== 'queued') {
      clearTimeout(announced.get(id));
      announced.delete(id);
    } else if (job?.attempts === 0 && !dispatcher.leading && !isBackground(job.lane)) {
      if (!hasSlot() || announced.size >= slots || announced.has(id)) return;
      // Not all at the same moment: each of them reads the record.
      const wait = patienceMs * (1 + Math.random());
      announced.set(
        id,
        setTimeout(() => {
          announced.delete(id);
          if (hasSlot()) void offer(id);
        }, wait),
      );
    }
  }

  function isBackground(lane: string | undefined): boolean {
    return options.policy.lanes.some(({ name, background }) => name === lane && background);
  }

  const dispatcher = createDispatcher({
    ...options,
    local: { id: ownId, slots: () => (shutdown.signal.aborted ? 0 : slots), offer: (id) => void offer(id) },
    // What this process releases to itself needs no channel, and looking into it costs requests.
    onLeading(leading) {
      if (leading) stopListening();
      else listen();
    },
  });

  function listen(): void {
    if (!shutdown.signal.aborted) listener ??= options.channel.listen(ownId, offer);
  }
  function stopListening(): void {
    listener?.close().catch(onError);
    listener = undefined;
  }

  let saying = Promise.resolve();
  /** One after the other: an older word must not overwrite a newer one. */
  const say = (): void => {
    saying = saying
      .then(() =>
        directory.say({
          id: ownId,
          owner: options.owner,
          slots,
          busy: running.size,
          ...(reason === undefined ? {} : { reason }),
          labels,
          at: new Date(now()).toISOString(),
        }),
      )
      .catch(onError);
  };
  const beat = setInterval(say, options.leaseMs / 3);
  const unsubscribe = events.subscribe(keys.topic, (message) => {
    const event = parseQueueEvent(message);
    if (event !== undefined) onEvent(event);
  });
  listen();
  say();

  async function close(): Promise<void> {
    shutdown.abort();
    clearInterval(beat);
    unsubscribe();
    for (const timer of announced.values()) clearTimeout(timer);
    dropPending();
    stopListening();
    await Promise.all(claiming.values());
    await Promise.all([...running.values()].map((run) => run.done));
    await dispatcher.close();
    await saying;
    await directory.remove(ownId).catch(onError);
  }

  return {
    id: ownId,
    setSlots(most, why) {
      slots = most;
      reason = why;
      if (slots === 0) dropPending();
      say();
      dispatcher.wake();
      takeNext();
    },
    async drain(signal) {
      slots = 0;
      reason = 'it takes no more jobs, as it is about to stop';
      dropPending();
      say();
      await Promise.all(claiming.values());
      const left = new AbortController();
      const stop = (): void => left.abort();
      signal?.addEventListener('abort', stop);
      if (signal?.aborted === true) stop();
      const over = delay(2 ** 31 - 1, undefined, { signal: left.signal, ref: false }).catch(() => {});
      // A job that was handed back or is retried elsewhere is gone from here as well.
      await Promise.race([Promise.all([...running.values()].map((run) => run.done)), over]);
      signal?.removeEventListener('abort', stop);
      left.abort();
    },
    close() {
      closing ??= close();
      return closing;
    },
  };
}

/** Each start of a worker has its own: what was said of a dead one must not count for its successor. */
function workerId(owner: string): string {
  const name = owner
    .split(':', 2)
    .join('-')
    .replaceAll(/[^0-9A-Za-z_.-]/g, '-')
    .replace(/^[^0-9A-Za-z]+/, '')
    .slice(0, 80);
  return `${name === '' ? 'worker' : name}-${randomUUID().slice(0, 8)}`;
}
