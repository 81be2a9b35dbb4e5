import type { EventBus } from '../../core/events.ts';
import type { Logger } from '../../core/log.ts';
import type { ObjectStore } from '../../core/object-store/object-store.ts';

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

export interface BuildLogLimits {
  /** Bytes that are kept from the start; default 4 MiB. */
  readonly head?: number;
  /** Bytes that are kept from the end, once the start is full; default 1 MiB. */
  readonly tail?: number;
  /** Characters of one line; default 16,384. */
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

/** The log of one attempt of a build: shown live, and stored in chunks. An endless log keeps its start and its end. */
export function createBuildLog(
  deps: { store: ObjectStore; events: EventBus; log: Logger },
  id: string,
  fence: number,
  limits: BuildLogLimits = {},
): BuildLogWriter {
  const headLimit = limits.head ?? 4 * 1024 * 1024;
  const tailLimit = limits.tail ?? 1024 * 1024;
  const lineLimit = limits.line ?? 16_384;
  /** Number of the next line. */
  let next = 0;
  let live: string[] = [];
  let chunk: string[] = [];
  let chunkBytes = 0;
  let headBytes = 0;
  let tail: string[] = [];
  let tailBytes = 0;
  let timer: NodeJS.Timeout | undefined;
  let announcing = false;
  let writes: Promise<void> = Promise.resolve();

  function publish(end = false): void {
    announcing = false;
    if (live.length === 0 && !end) return;
    const message: LiveLines = { fence, first: next - live.length, lines: live, ...(end ? { end } : {}) };
    live = [];
    deps.events.publish(logTopic(id), { ...message });
  }

  function flush(): void {
    clearTimeout(timer);
    timer = undefined;
    if (chunk.length === 0) return;
    const lines = chunk;
    // The tail is not in the chunk, so the chunk ends where the tail starts.
    store(next - tail.length - lines.length, lines);
    chunk = [];
    chunkBytes = 0;
  }

  function store(first: number, lines: readonly string[]): void {
    const body = Buffer.from(`${lines.join('\n')}\n`);
    writes = writes
      .then(() => deps.store.put(logChunkKey(id, fence, first), body, { durability: 'process' }))
      .then(() => {})
      .catch((error: unknown) => deps.log.warn({ err: error, build: id }, 'part of a build log is lost'));
  }

  function add(text: string): void {
    const line = text.length > lineLimit ? `${text.slice(0, lineLimit)} … (${text.length} characters)` : text;
    const bytes = Buffer.byteLength(line) + 1;
    next++;
    live.push(line);
    if (headBytes + bytes > headLimit || tail.length > 0) {
      if (tail.length === 0) {
        // From here on only the end is kept.
        headBytes = headLimit;
        next--;
        flush();
        next++;
      }
      tail.push(line);
      tailBytes += bytes;
      trimTail();
      return;
    }
    headBytes += bytes;
    chunk.push(line);
    chunkBytes += bytes;
    if (chunkBytes >= flushBytes) flush();
    else timer ??= setTimeout(flush, flushMs);
  }

  /** Drops old lines in large steps: dropping one at a time from an array's start costs its length. */
  function trimTail(): void {
    if (tailBytes <= tailLimit * 2) return;
    let drop = 0;
    while (tailBytes > tailLimit) {
      tailBytes -= Buffer.byteLength(tail[drop] ?? '') + 1;
      drop++;
    }
    tail = tail.slice(drop);
  }

  return {
    line(text) {
      for (const line of text.replace(/\r?\n$/, '').split('\n'))
        add(line.replace(/\r$/, '').replaceAll('\0', ''));
      // Lines of one turn travel together.
      if (live.length >= 256) publish();
      else if (!announcing) {
        announcing = true;
        setImmediate(publish);
      }
    },
    async close({ end }) {
      const kept = tail;
      flush();
      publish(end);
      if (kept.length > 0) store(next - kept.length, kept);
      await writes;
    },
  };
}
