import type { EventBus } from '../../core/events.ts';
import type { Logger } from '../../core/log.ts';
import type { JsonValue, ObjectStore } from '../../core/object-store/object-store.ts';
import { cleanLine } from './clean-line.ts';

/** Stored lines of one build attempt; the key says which, `logs/<id>/<fence>-<number of its first line>`. */
export const logPrefix = (id: string): string => `logs/${id}/`;
export const logTopic = (id: string): string => `log.${id}`;

export function logChunkKey(id: string, fence: number, first: number): string {
  return `${logPrefix(id)}${String(fence).padStart(6, '0')}-${String(first).padStart(12, '0')}`;
}

/** Live lines on the event bus. */
export interface LiveLines {
  readonly fence: number;
  /** Number of the first of `lines`, from 0 within the attempt. */
  readonly first: number;
  readonly lines: readonly string[];
  /** Nothing follows: the build has ended. */
  readonly end?: boolean;
}

/** Undefined: none. What comes from other machines may be of another version. */
export function parseLiveLines(message: JsonValue): LiveLines | undefined {
  const { fence, first, lines } = (message ?? {}) as { readonly [name: string]: unknown };
  const fits =
    Number.isSafeInteger(fence) &&
    Number.isSafeInteger(first) &&
    Array.isArray(lines) &&
    lines.every((line) => typeof line === 'string');
  return fits ? (message as unknown as LiveLines) : undefined;
}

export interface BuildLogLimits {
  /** Bytes that are kept from the start; default 4 MiB. */
  readonly head?: number;
  /** Bytes that are kept from the end, once the start is full; default 1 MiB. */
  readonly tail?: number;
  /** Characters of one line; default 65,536. */
  readonly line?: number;
}

export interface BuildLogWriter {
  /** Takes text of one or more lines; never waits and never fails. */
  line(text: string): void;
  /** Stores what is left. `end`: tells followers that the build has ended. */
  close(options: { end: boolean }): Promise<void>;
}

const flushMs = 200;
const flushBytes = 64 * 1024;
/** Past the start, only so much of the end is stored at a time: an endless output must not keep the store busy. */
const tailFlushMs = 1_000;
/** Live lines travel together, up to this many and this long. */
const liveLines = 256;
const liveBytes = 128 * 1024;
/** Past the start, live lines are sent that often, and what does not fit into one message is left out. */
const tailLiveMs = 100;

/**
 * The log of one attempt of a build: shown live, and stored in chunks as it grows. An endless log keeps its start and its end, in the store too: what
 * a worker that is killed leaves ends a second before its death.
 */
export function createBuildLog(
  deps: { store: ObjectStore; events: EventBus; log: Logger },
  id: string,
  fence: number,
  limits: BuildLogLimits = {},
): BuildLogWriter {
  const headLimit = limits.head ?? 4 * 1024 * 1024;
  const tailLimit = limits.tail ?? 1024 * 1024;
  const lineLimit = limits.line ?? 65_536;
  /** Number of the next line. */
  let next = 0;
  /** The start is full: from here on only the end is kept. */
  let past = false;
  let headBytes = 0;
  /** Lines that are not stored yet, the last of which is `next - 1`. */
  let chunk: string[] = [];
  let chunkBytes = 0;
  let storedTail: { key: string; bytes: number }[] = [];
  let live: string[] = [];
  let liveSize = 0;
  let flushTimer: NodeJS.Timeout | undefined;
  let liveTimer: NodeJS.Timeout | undefined;
  let announcing = false;
  let writes: Promise<void> = Promise.resolve();

  function publish(end = false): void {
    announcing = false;
    clearTimeout(liveTimer);
    liveTimer = undefined;
    if (live.length === 0 && !end) return;
    const message: LiveLines = {
      fence,
      first: next - live.length,
      lines: live,
      ...(end ? { end } : {}),
    };
    live = [];
    liveSize = 0;
    deps.events.publish(logTopic(id), { ...message });
  }

  function announce(): void {
    if (past) {
      if (live.length > liveLines || liveSize > liveBytes) dropLive();
      liveTimer ??= setTimeout(publish, tailLiveMs);
    } else if (live.length >= liveLines || liveSize >= liveBytes) publish();
    else if (!announcing) {
      announcing = true;
      // Lines of one turn travel together.
      setImmediate(publish);
    }
  }

  function dropLive(): void {
    let drop = live.length >> 1;
    live = live.slice(drop);
    liveSize = sizeOf(live);
    for (drop = 0; liveSize > liveBytes && drop < live.length - 1; drop++)
      liveSize -= sizeOf([live[drop] ?? '']);
    live = live.slice(drop);
  }

  function flush(): void {
    clearTimeout(flushTimer);
    flushTimer = undefined;
    if (chunk.length === 0) return;
    const key = logChunkKey(id, fence, next - chunk.length);
    const body = Buffer.from(`${chunk.join('\n')}\n`);
    chunk = [];
    chunkBytes = 0;
    write(() => deps.store.put(key, body, { durability: 'process' }));
    if (past) keepTail(key, body.length);
  }

  /** Deletes stored parts of the end as long as those behind them are enough. */
  function keepTail(key: string, bytes: number): void {
    storedTail.push({ key, bytes });
    let total = storedTail.reduce((sum, part) => sum + part.bytes, 0);
    const old: string[] = [];
    while (storedTail[0] !== undefined && total - storedTail[0].bytes >= tailLimit) {
      total -= storedTail[0].bytes;
      old.push(storedTail[0].key);
      storedTail = storedTail.slice(1);
    }
    if (old.length > 0) write(() => deps.store.deleteMany(old));
  }

  function write(step: () => Promise<unknown>): void {
    writes = writes
      .then(step)
      .then(() => {})
      .catch((error: unknown) => deps.log.warn({ err: error, build: id }, 'part of a build log is lost'));
  }

  function add(text: string): void {
    const whole = cleanLine(text);
    const line =
      whole.length > lineLimit ? `${whole.slice(0, lineLimit)} … (${whole.length} characters)` : whole;
    const bytes = Buffer.byteLength(line) + 1;
    if (!past && headBytes + bytes > headLimit) {
      flush();
      publish();
      past = true;
    }
    next++;
    live.push(line);
    liveSize += bytes;
    chunk.push(line);
    chunkBytes += bytes;
    if (past) {
      trimChunk();
      flushTimer ??= setTimeout(flush, tailFlushMs);
      return;
    }
    headBytes += bytes;
    if (chunkBytes >= flushBytes) flush();
    else flushTimer ??= setTimeout(flush, flushMs);
  }

  /** Drops old lines in large steps: dropping one at a time from an array's start costs its length. */
  function trimChunk(): void {
    if (chunkBytes <= tailLimit * 2) return;
    let drop = 0;
    while (chunkBytes > tailLimit) {
      chunkBytes -= sizeOf([chunk[drop] ?? '']);
      drop++;
    }
    chunk = chunk.slice(drop);
  }

  return {
    line(text) {
      for (const line of text.replace(/\r?\n$/, '').split('\n')) {
        add(line);
        announce();
      }
    },
    async close({ end }) {
      flush();
      publish(end);
      await writes;
    },
  };
}

function sizeOf(lines: readonly string[]): number {
  return lines.reduce((sum, line) => sum + Buffer.byteLength(line) + 1, 0);
}
