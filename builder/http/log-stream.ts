import { setTimeout as delay } from 'node:timers/promises';
import type { Build, BuildService } from '../farm/build-service.ts';
import { cleanLine } from '../farm/clean-line.ts';
import type { LogBlock } from '../farm/follow-log.ts';
import { formatLogPosition, type LogPosition } from '../farm/log-chunks.ts';

export interface LogStreamOptions {
  readonly builds: Pick<BuildService, 'get' | 'log'>;
  readonly id: string;
  /** Only what comes after it; default: from the first line. */
  readonly after?: LogPosition;
  /** Ends the stream without its end event, so that the reader comes back. */
  readonly signal: AbortSignal;
  /** Milliseconds of silence after which a comment is sent: a balancer in between must not take the stream for dead. Default 15,000. */
  readonly heartbeatMs?: number;
  /** Milliseconds that the record may take to say what the end of the log said; then the log is followed on. Default 5,000. */
  readonly recordMs?: number;
}

const lookMs = 50;
/** A reader who was cut off comes back after this. Milliseconds. */
const retryMs = 1_000;

/**
 * The log of a build as server-sent events (HTML standard, 9.2): each event is some lines, and its id the place behind them, so that whoever sends it
 * back as `Last-Event-ID` hears each line once, from any server. `end` is the last one, with the state. Nothing is read ahead of the reader.
 */
export async function* logEvents(options: LogStreamOptions): AsyncGenerator<string> {
  const { signal, heartbeatMs = 15_000 } = options;
  // The first bytes also tell a proxy that the answer has begun.
  yield `retry: ${retryMs}\n\n`;
  const events = eventsOf(options);
  let pending = events.next();
  try {
    for (;;) {
      const beat = new AbortController();
      const silence = delay(heartbeatMs, 'silence' as const, { signal: beat.signal }).catch(
        () => 'silence' as const,
      );
      const next = await Promise.race([pending, silence]);
      beat.abort();
      if (signal.aborted) return;
      if (next === 'silence') {
        yield ': still here\n\n';
        continue;
      }
      if (next.done === true) return;
      yield next.value;
      pending = events.next();
    }
  } finally {
    // A read of the store that fails after the reader left is nobody's news.
    pending.catch(() => {});
    void events.return(undefined).catch(() => {});
  }
}

async function* eventsOf({
  builds,
  id,
  after,
  signal,
  recordMs = 5_000,
}: LogStreamOptions): AsyncGenerator<string> {
  let position = after;
  for (;;) {
    for await (const block of builds.log(id, position).blocks(signal)) {
      ({ position } = block);
      yield formatBlock(block);
    }
    if (signal.aborted) return;
    const build = await untilRecorded(builds, id, { signal, recordMs });
    if (build === 'active') continue;
    // The end that was heard may have been that of an attempt, and the build's came meanwhile.
    for await (const block of builds.log(id, position).storedBlocks(signal)) yield formatBlock(block);
    yield formatEnd(build);
    return;
  }
}

/** A log ends a moment before its build's record says so. `active`: it goes on after all, as when its worker died right then. */
async function untilRecorded(
  builds: Pick<BuildService, 'get'>,
  id: string,
  { signal, recordMs }: { signal: AbortSignal; recordMs: number },
): Promise<Build | undefined | 'active'> {
  const begun = performance.now();
  while (!signal.aborted) {
    const build = await builds.get(id);
    if (build === undefined || (build.state !== 'queued' && build.state !== 'running')) return build;
    if (performance.now() - begun >= recordMs) break;
    await delay(lookMs);
  }
  return 'active';
}

/** No line holds a line break, the only thing that could begin another field. */
function formatBlock({ lines, position }: LogBlock): string {
  const data = lines.map((line) => `data: ${cleanLine(line)}\n`).join('');
  return `id: ${formatLogPosition(position)}\n${data}\n`;
}

/** Undefined: the record is gone, with the log. */
function formatEnd(build: Build | undefined): string {
  const { state, error } = build ?? { state: 'removed' };
  return `event: end\ndata: ${JSON.stringify({ state, ...(error === undefined ? {} : { error }) })}\n\n`;
}
