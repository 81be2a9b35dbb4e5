import type { EventBus } from '../../core/events.ts';
import type { ObjectStore } from '../../core/object-store/object-store.ts';
import type { JobQueue } from '../../core/queue/job-queue.ts';
import { type LiveLines, logTopic, parseLiveLines } from './build-log.ts';
import { type LogPosition, logStart, readLogChunks } from './log-chunks.ts';

/** Lines that came together. */
export interface LogBlock {
  readonly lines: readonly string[];
  /** Behind them: a follower that begins there hears what follows, each line once. */
  readonly position: LogPosition;
}

/** A build's log. Hears live lines from the moment it is made, so make it before the build can start. */
export interface LogFollower {
  /** Until the build has ended or `signal` aborts. Call one of the four, once. */
  blocks(signal: AbortSignal): AsyncGenerator<LogBlock>;
  /** The lines of `blocks`. */
  lines(signal: AbortSignal): AsyncGenerator<string>;
  /** What is stored by now. */
  storedBlocks(signal: AbortSignal): AsyncGenerator<LogBlock>;
  /** The lines of `storedBlocks`. */
  stored(signal: AbortSignal): AsyncGenerator<string>;
  close(): void;
}

export interface FollowOptions {
  /** The build cannot have written anything yet. Default false. */
  readonly fresh?: boolean;
  /** Only what comes after it; default: from the first line of the first attempt. */
  readonly after?: LogPosition;
}

/** Live lines and their characters that wait for a slow reader; beyond that they are read back from the store. */
const liveLimit = 5_000;
const liveCharacters = 2 * 1024 * 1024;
const pollMs = 1_000;
/** After so many looks that found nothing, the next ones come less often: events tell of news at once where there are any. */
const eagerLooks = 10;
const lazyPollMs = 3_000;
/** Chunks reach the store a little later than lines are heard; of an endless log, a second later. */
const storedAfterMs = [100, 200, 300, 400, 500];
/** Lines that are not stored after so many looks were lost on their way there. */
const mostLooks = 40;

export function followLog(
  deps: { store: ObjectStore; events: EventBus; queue: Pick<JobQueue, 'get'> },
  id: string,
  options: FollowOptions = {},
): LogFollower {
  let at: LogPosition = options.after ?? logStart;
  /** Last stored chunk that was read. */
  let lastKey: string | undefined;
  let live: LiveLines[] = [];
  let waiting = { lines: 0, characters: 0 };
  let wake: () => void = () => {};
  const unsubscribe = deps.events.subscribe(logTopic(id), (message) => {
    const heard = parseLiveLines(message);
    if (heard === undefined) return;
    waiting = {
      lines: waiting.lines + heard.lines.length,
      characters: waiting.characters + characters(heard),
    };
    if (waiting.lines > liveLimit || waiting.characters > liveCharacters) forgetLive();
    live.push(heard);
    wake();
  });

  function forgetLive(): void {
    live = [];
    waiting = { lines: 0, characters: 0 };
  }

  /** The next heard lines that follow what was given out; `ahead`: there are some, but others come first. */
  function takeLive(looks: number): { block: LogBlock; end: boolean } | 'ahead' | 'none' {
    for (let message = live[0]; message !== undefined; message = live[0]) {
      if (message.fence >= at.fence && !isNext(message) && looks < mostLooks) return 'ahead';
      live.shift();
      waiting = {
        lines: waiting.lines - message.lines.length,
        characters: waiting.characters - characters(message),
      };
      if (message.fence < at.fence) continue;
      return { block: give(message.fence, message.first, message.lines), end: message.end === true };
    }
    return 'none';
  }

  function isNext({ fence, first }: LiveLines): boolean {
    if (fence === at.fence) return first <= at.line;
    return at.fence === 0 && fence === 1 && first === 0;
  }

  /** Moves the position behind these lines; those that were given out are left out, and a mark says what is missing. */
  function give(fence: number, first: number, lines: readonly string[]): LogBlock {
    const from = fence === at.fence ? at.line : 0;
    const missing = first > from ? [`… ${first - from} lines are left out …`] : [];
    at = { fence, line: Math.max(from, first + lines.length) };
    return { lines: [...missing, ...lines.slice(Math.max(0, from - first))], position: at };
  }

  async function* giveStored(): AsyncGenerator<LogBlock> {
    for await (const chunk of readLogChunks(deps.store, id, () => at, lastKey)) {
      lastKey = chunk.key;
      if (chunk.fence < at.fence) continue;
      const block = give(chunk.fence, chunk.first, chunk.lines);
      if (block.lines.length > 0) yield block;
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

  async function* blocks(signal: AbortSignal): AsyncGenerator<LogBlock> {
    try {
      if (options.fresh !== true) yield* giveStored();
      let looks = 0;
      let quiet = 0;
      while (!signal.aborted) {
        const taken = takeLive(looks);
        if (typeof taken === 'object') {
          looks = 0;
          quiet = 0;
          if (taken.block.lines.length > 0) yield taken.block;
          if (taken.end) return;
          continue;
        }
        const idleMs = quiet < eagerLooks ? pollMs : lazyPollMs;
        await pause(taken === 'ahead' ? (storedAfterMs[looks] ?? 500) : idleMs, signal);
        if (signal.aborted || (taken === 'none' && live.length > 0)) continue;
        looks = taken === 'ahead' ? looks + 1 : 0;
        const over = await hasEnded();
        const before = at;
        yield* giveStored();
        if (over) return;
        quiet = at === before ? quiet + 1 : 0;
      }
    } finally {
      unsubscribe();
    }
  }

  async function hasEnded(): Promise<boolean> {
    const job = await deps.queue.get(id);
    return job === undefined || (job.state !== 'queued' && job.state !== 'running');
  }

  async function* storedBlocks(signal: AbortSignal): AsyncGenerator<LogBlock> {
    unsubscribe();
    for await (const block of giveStored()) {
      if (signal.aborted) return;
      yield block;
    }
  }

  return {
    blocks,
    async *lines(signal) {
      for await (const { lines } of blocks(signal)) yield* lines;
    },
    storedBlocks,
    async *stored(signal) {
      for await (const { lines } of storedBlocks(signal)) yield* lines;
    },
    close: unsubscribe,
  };
}

function characters({ lines }: LiveLines): number {
  return lines.reduce((sum, line) => sum + line.length, 0);
}
