import type { EventBus } from '../../core/events.ts';
import type { ObjectStore } from '../../core/object-store/object-store.ts';
import type { JobQueue } from '../../core/queue/job-queue.ts';
import { type LiveLines, logPrefix, logTopic } from './build-log.ts';

/** A build's log from its first line on. Hears live lines from the moment it is made, so make it before the build can start. */
export interface LogFollower {
  /** Until the build has ended or `signal` aborts. Call once. */
  lines(signal: AbortSignal): AsyncGenerator<string>;
  /** What is stored by now. Call instead of `lines`. */
  stored(signal: AbortSignal): AsyncGenerator<string>;
  close(): void;
}

/** Live lines that wait for a slow reader; beyond that they are read back from the store. */
const liveLimit = 5_000;
const pollMs = 1_000;

interface Position {
  fence: number;
  /** Number of the next line to give out. */
  next: number;
  /** Last stored chunk that was read. */
  key: string | undefined;
}

export function followLog(
  deps: { store: ObjectStore; events: EventBus; queue: Pick<JobQueue, 'get'> },
  id: string,
  options: { /** The build cannot have written anything yet. Default false. */ fresh?: boolean } = {},
): LogFollower {
  const at: Position = { fence: 0, next: 0, key: undefined };
  let live: LiveLines[] = [];
  let waiting = 0;
  let wake: () => void = () => {};
  const unsubscribe = deps.events.subscribe(logTopic(id), (message) => {
    const lines = message as unknown as LiveLines;
    waiting += lines.lines.length;
    if (waiting > liveLimit) {
      live = [];
      waiting = 0;
    }
    live.push(lines);
    wake();
  });

  function* giveLive(): Generator<string, 'gap' | 'end' | 'none'> {
    for (let message = live.shift(); message !== undefined; message = live.shift()) {
      waiting -= message.lines.length;
      if (message.fence < at.fence) continue;
      if (message.fence > at.fence && message.first === 0)
        Object.assign(at, { fence: message.fence, next: 0 });
      if (message.fence > at.fence || message.first > at.next) {
        live.unshift(message);
        waiting += message.lines.length;
        return 'gap';
      }
      const skip = at.next - message.first;
      at.next = Math.max(at.next, message.first + message.lines.length);
      yield* message.lines.slice(skip);
      if (message.end === true) return 'end';
    }
    return 'none';
  }

  async function* giveStored(): AsyncGenerator<string> {
    for await (const chunk of readChunks(deps.store, id, at.key)) {
      at.key = chunk.key;
      if (chunk.fence < at.fence) continue;
      if (chunk.fence > at.fence) Object.assign(at, { fence: chunk.fence, next: 0 });
      if (chunk.first > at.next) yield `… ${chunk.first - at.next} lines are left out …`;
      const skip = Math.max(0, at.next - chunk.first);
      at.next = Math.max(at.next, chunk.first + chunk.lines.length);
      yield* chunk.lines.slice(skip);
    }
  }

  /** Something was heard, the time to look again has come, or the reader has left. */
  function pause(milliseconds: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        clearTimeout(timer);
        signal.removeEventListener('abort', done);
        wake = () => {};
        resolve();
      };
      const timer = setTimeout(done, milliseconds);
      wake = done;
      signal.addEventListener('abort', done);
      if (signal.aborted) done();
    });
  }

  async function* lines(signal: AbortSignal): AsyncGenerator<string> {
    try {
      if (options.fresh !== true) yield* giveStored();
      while (!signal.aborted) {
        const state = yield* giveLive();
        if (state === 'end') return;
        if (state === 'gap') {
          // Chunks reach the store a little later than lines are heard.
          await pause(100, signal);
          yield* giveStored();
          // The worker died with lines that nobody has; the next attempt starts over.
          const restart = live.findIndex(({ fence, first }) => fence > at.fence && first === 0);
          if (restart > 0) live = live.slice(restart);
          if (live.length > 0 && (live[0]?.first ?? 0) > at.next && (await ended())) live = [];
          else continue;
        }
        if (live.length === 0) await pause(pollMs, signal);
        if (live.length > 0 || signal.aborted) continue;
        const over = await ended();
        yield* giveStored();
        if (over) return;
      }
    } finally {
      unsubscribe();
    }
  }

  async function ended(): Promise<boolean> {
    const job = await deps.queue.get(id);
    return job === undefined || (job.state !== 'queued' && job.state !== 'running');
  }

  async function* stored(signal: AbortSignal): AsyncGenerator<string> {
    unsubscribe();
    for await (const line of giveStored()) {
      if (signal.aborted) return;
      yield line;
    }
  }

  return { lines, stored, close: unsubscribe };
}

async function* readChunks(
  store: ObjectStore,
  id: string,
  after: string | undefined,
): AsyncGenerator<{ key: string; fence: number; first: number; lines: string[] }> {
  let startAfter = after;
  for (;;) {
    const page = await store.list({
      prefix: logPrefix(id),
      ...(startAfter === undefined ? {} : { startAfter }),
    });
    for (const { key } of page.objects) {
      const match = /\/(\d+)-(\d+)$/.exec(key);
      const object = await store.get(key);
      if (match === null || object === undefined) continue;
      const lines = object.body.toString('utf8').replace(/\n$/, '').split('\n');
      yield { key, fence: Number(match[1]), first: Number(match[2]), lines };
    }
    if (page.next === undefined) return;
    startAfter = page.next;
  }
}
