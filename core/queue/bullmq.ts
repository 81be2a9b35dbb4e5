import { setTimeout as delay } from 'node:timers/promises';
import { Queue, Worker } from 'bullmq';
import { LRUCache } from 'lru-cache';
import { connectRedis, redisOptions } from '../redis/connect-redis.ts';
import type { ChannelListener, DispatchChannel, Release } from './dispatch-channel.ts';
import { isJobId } from './job-keys.ts';

export interface BullmqChannelOptions {
  /** As `parseRedisAddress` reads it. */
  readonly url: string;
  /** Begins every key, so that several installations may share a server. */
  readonly prefix: string;
  /** Of the queue whose jobs it carries. */
  readonly name: string;
  /** Told when Redis is away or answers nonsense, once for each outage. */
  readonly onError: (error: unknown) => void;
}

export interface BullmqChannel extends DispatchChannel {
  /** After its listeners are closed. */
  close(): Promise<void>;
}

/** What nobody has touched for so long is gone, so what is left of dead workers never adds up. Seconds. */
const keepSeconds = 3600;
/** After which an answer no longer counts, and how long nothing is asked then. Milliseconds. */
const answerMs = 1_000;
const restMs = 5_000;
/** A hint is looked at within milliseconds; one whose worker lost its connection meanwhile is given out again after this. */
const lockMs = 10_000;
/** How long the library waits for a hint in one command; less than the silence that counts as death. Seconds. */
const waitSeconds = 5;
const silentMs = 15_000;
const hintsAtOnce = 100;
/** Between two reports of the same failure. */
const repeatMs = 60_000;

/**
 * Hints by way of BullMQ: one queue for each worker, in which a job says "look at record X". The library's locks, retries and results are not
 * used for the jobs themselves: they live in Redis, which may be flushed, while leases in the store do the same and cannot be lost apart from
 * what they protect. So a hint is done as soon as its worker has looked at it, however long the job takes.
 */
export function createBullmqChannel(options: BullmqChannelOptions): BullmqChannel {
  const { url } = options;
  const prefix = `${options.prefix}:${options.name}`;
  const workersKey = `${prefix}:workers`;
  const tell = createReporter(options.onError);
  let failure: Error | undefined;
  let restUntil = 0;
  const speaker = connectRedis({ url, name: 'brickyard-dispatch', whileAway: 'fail', silentMs }, (state) => {
    failure = state;
    if (state === undefined) tell.over();
    else tell.failed(state);
  });
  const connected = new Promise<void>((resolve) => speaker.once('ready', resolve));
  const queues = new LRUCache<string, Queue>({
    max: 500,
    dispose: (queue) => void queue.close().catch(() => {}),
  });

  function queueOf(worker: string): Queue {
    const known = queues.get(worker);
    if (known !== undefined) return known;
    const queue = new Queue(worker, {
      connection: speaker,
      prefix,
      skipVersionCheck: true,
      streams: { events: { maxLen: 10 } },
      defaultJobOptions: { removeOnComplete: true, removeOnFail: true, stackTraceLimit: 1 },
    });
    queue.on('error', tell.failed);
    queues.set(worker, queue);
    return queue;
  }

  /** Errors: when Redis is away, or does not answer in time; then the next calls fail at once, so that nobody waits for each. */
  async function answered<T>(ask: () => Promise<T>): Promise<T> {
    if (failure !== undefined) throw new Error(`Redis is away: ${failure.message}`);
    if (performance.now() < restUntil) throw new Error('Redis answers too slowly');
    const late = Promise.withResolvers<never>();
    const timer = setTimeout(() => {
      restUntil = performance.now() + restMs;
      const error = new Error(`Redis did not answer within ${answerMs} ms`);
      tell.failed(error);
      late.reject(error);
    }, answerMs);
    try {
      await Promise.race([connected, late.promise]);
      if (speaker.status !== 'ready') throw new Error('the connection was lost');
      return await Promise.race([ask(), late.promise]);
    } catch (error) {
      // One that was made while the connection broke stays unusable.
      queues.clear();
      const { message } = error as Error;
      // The library notices a broken connection a moment before it says so.
      if (speaker.status === 'ready' && !message.includes("isn't writeable")) throw error;
      throw new Error(`Redis is away: ${message}`);
    } finally {
      clearTimeout(timer);
    }
  }

  /** Puts off the end of what belongs to a worker's queue. */
  async function touch(queue: Queue, hint: string): Promise<void> {
    const pipeline = speaker.pipeline();
    for (const part of [
      'wait',
      'active',
      'id',
      'meta',
      'marker',
      'events',
      'stalled',
      'completed',
      'failed',
      hint,
    ])
      pipeline.expire(queue.toKey(part), keepSeconds);
    pipeline.expire(workersKey, keepSeconds);
    await pipeline.exec();
  }

  function listen(worker: string, onJob: (id: string) => Promise<void>): ChannelListener {
    let closed = false;
    let current: Worker | undefined;

    function open(): Worker {
      const opened = new Worker(
        worker,
        async (job) => {
          const id = jobOf(job.id ?? '');
          if (closed || id === undefined) return;
          await onJob(id);
          if (failure === undefined) await touch(queueOf(worker), hintOf(id)).catch(() => {});
        },
        {
          connection: redisOptions({ url, name: 'brickyard-hints', whileAway: 'wait', silentMs }),
          prefix,
          skipVersionCheck: true,
          autorun: false,
          concurrency: hintsAtOnce,
          drainDelay: waitSeconds,
          runRetryDelay: 1_000,
          lockDuration: lockMs,
          stalledInterval: lockMs,
          // A hint never fails, however often it was lost.
          maxStalledCount: Number.MAX_SAFE_INTEGER,
          removeOnComplete: { count: 0 },
          removeOnFail: { count: 0 },
        },
      );
      opened.on('error', tell.failed);
      opened.on('ready', tell.over);
      return opened;
    }
    async function run(): Promise<void> {
      while (!closed) {
        current = open();
        await current.run().catch(tell.failed);
        if (closed) return;
        // It ends by itself for a fault of the library only.
        await closeWorker(current);
        await delay(1_000);
      }
    }
    const running = run();

    return {
      async close() {
        closed = true;
        if (current !== undefined) await closeWorker(current);
        await Promise.race([running, delay(2_000, undefined, { ref: false })]);
      },
    };
  }

  return {
    release: (worker, id) =>
      answered(async () => {
        const queue = queueOf(worker);
        await speaker.sadd(workersKey, worker);
        await queue.add('job', {}, { jobId: hintOf(id) });
        await touch(queue, hintOf(id));
      }),

    withdraw: (worker, id) =>
      answered(async () => {
        await queueOf(worker).remove(hintOf(id));
      }),

    released: () =>
      answered(async () => {
        const found: Release[] = [];
        for (const worker of await speaker.smembers(workersKey)) {
          if (!isJobId(worker)) continue;
          // Those that are just being looked at too: until they are done, another release of the same job would be lost.
          const hints = await queueOf(worker).getRanges(['wait', 'active'], 0, -1);
          const ids = hints.flatMap((hint) => jobOf(hint) ?? []);
          found.push(...ids.map((id) => ({ worker, id })));
          if (ids.length === 0) await speaker.srem(workersKey, worker);
        }
        return found;
      }),

    listen,

    async close() {
      queues.clear();
      speaker.disconnect();
      await Promise.resolve();
    },
  };
}

/** The library refuses ids that are numbers. */
function hintOf(id: string): string {
  return `job-${id}`;
}

/** Undefined: not one of ours. */
function jobOf(hint: string): string | undefined {
  const id = hint.slice(4);
  return hint.startsWith('job-') && isJobId(id) ? id : undefined;
}

async function closeWorker(worker: Worker): Promise<void> {
  // Where Redis is away the library may wait for it.
  const closing = worker.close(true).catch(() => {});
  await Promise.race([closing, delay(2_000, undefined, { ref: false })]);
}

/**
 * One report for an outage: the library tells of it with every try, on every connection. Only its words, as its errors carry what was asked, and
 * that may be the password.
 */
function createReporter(onError: (error: unknown) => void): {
  failed: (error: Error) => void;
  over: () => void;
} {
  let last = '';
  let at = 0;
  return {
    failed(error) {
      if (error.message === last && performance.now() - at < repeatMs) return;
      last = error.message;
      at = performance.now();
      onError(new Error(`Redis: ${error.message}`));
    },
    over() {
      last = '';
    },
  };
}
