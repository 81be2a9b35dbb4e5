import { describe, expect, it, vi } from 'vitest';
import { createBuildLog } from '../../../../builder/farm/build-log.ts';
import type { Build } from '../../../../builder/farm/build-service.ts';
import { followLog } from '../../../../builder/farm/follow-log.ts';
import { type LogPosition, parseLogPosition } from '../../../../builder/farm/log-chunks.ts';
import { logEvents } from '../../../../builder/http/log-stream.ts';
import { createEventBus } from '../../../../core/events.ts';
import { createSilentLogger } from '../../../../core/log.ts';
import { createMemoryStore } from '../../../../core/object-store/memory.ts';
import type { JobRecord } from '../../../../core/queue/job-queue.ts';

const id = '01890000-0000-7000-8000-000000000000';
const never = new AbortController().signal;

function createBench() {
  const store = createMemoryStore();
  const events = createEventBus();
  const job: { state: JobRecord['state']; error?: string } = { state: 'running' };
  const get = async (): Promise<Build> => ({ id, createdAt: '', attempts: 1, ...job }) as unknown as Build;
  const deps = { store, events, log: createSilentLogger(), queue: { get: get as never } };
  const builds = {
    get,
    log: (build: string, after?: LogPosition) => followLog(deps, build, after === undefined ? {} : { after }),
  };
  return { deps, builds, job };
}

async function collect(events: AsyncIterable<string>): Promise<string[]> {
  const all: string[] = [];
  for await (const event of events) all.push(event);
  return all;
}

describe('the events of a log', () => {
  it('carry lines, places and the state at the end', async () => {
    const { deps, builds, job } = createBench();
    const log = createBuildLog(deps, id, 1);
    log.line('one\n\n<b>two</b>');
    await log.close({ end: true });
    job.state = 'failed';
    job.error = 'it broke\nhere';

    const events = await collect(logEvents({ builds, id, signal: never }));

    expect(events).toEqual([
      'retry: 1000\n\n',
      'id: 1-3\ndata: one\ndata: \ndata: <b>two</b>\n\n',
      'event: end\ndata: {"state":"failed","error":"it broke\\nhere"}\n\n',
    ]);
  });

  it('go on where a reader was cut off, and do not end when the log ended and the build did not', async () => {
    const { deps, builds, job } = createBench();
    const events = logEvents({ builds, id, signal: never, after: { fence: 1, line: 7 }, recordMs: 0 });
    await events.next();
    const begun = events.next();
    const first = createBuildLog(deps, id, 1);
    for (let line = 0; line < 10; line++) first.line(`first ${line}`);
    // As by a worker that died between the end of its log and the record of the build.
    await first.close({ end: true });
    expect((await begun).value).toBe('id: 1-10\ndata: first 7\ndata: first 8\ndata: first 9\n\n');
    const second = createBuildLog(deps, id, 2);
    second.line('second');
    await second.close({ end: true });
    job.state = 'succeeded';

    const rest = await collect(events);

    expect(rest).toEqual(['id: 2-1\ndata: second\n\n', 'event: end\ndata: {"state":"succeeded"}\n\n']);
  });

  it('tell a silent reader that the stream lives, and end without an end when the server stops', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    try {
      const { builds } = createBench();
      const stop = new AbortController();
      const events = logEvents({ builds, id, signal: stop.signal, heartbeatMs: 10 });
      await events.next();

      const beat = await events.next();
      stop.abort();

      expect(beat.value).toBe(': still here\n\n');
      expect(await events.next()).toEqual({ done: true, value: undefined });
    } finally {
      vi.useRealTimers();
    }
  });

  it('know their own places and no others', () => {
    expect(parseLogPosition('12-345')).toEqual({ fence: 12, line: 345 });
    for (const text of ['', '1', '1-', '-1', '1-2-3', '1-1e9', '1234567-1', 'x-1'])
      expect(parseLogPosition(text)).toBeUndefined();
  });
});
