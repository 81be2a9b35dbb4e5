import { describe, expect, it } from 'vitest';
import { createBuildLog } from '../../../../builder/farm/build-log.ts';
import { followLog } from '../../../../builder/farm/follow-log.ts';
import { createEventBus } from '../../../../core/events.ts';
import { createSilentLogger } from '../../../../core/log.ts';
import { createMemoryStore } from '../../../../core/object-store/memory.ts';
import type { JobRecord } from '../../../../core/queue/job-queue.ts';

function createBench(state: JobRecord['state'] = 'running') {
  const store = createMemoryStore();
  const events = createEventBus();
  const log = createSilentLogger();
  const job = { id: 'b', payload: {}, state, createdAt: '', attempts: 1 } satisfies JobRecord;
  const deps = { store, events, log, queue: { get: async () => job } };
  return { deps, job };
}

async function collect(lines: AsyncIterable<string>): Promise<string[]> {
  const all: string[] = [];
  for await (const line of lines) all.push(line);
  return all;
}

const never = new AbortController().signal;

describe('a build log', () => {
  it('is heard live from its first line to its end', async () => {
    const { deps } = createBench();
    const heard = collect(followLog(deps, 'b', { fresh: true }).lines(never));
    const log = createBuildLog(deps, 'b', 1);

    log.line('one');
    log.line('two\nthree\r\n');
    await log.close({ end: true });

    expect(await heard).toEqual(['one', 'two', 'three']);
  });

  it('is given whole to somebody who comes in the middle, each line once', async () => {
    const { deps } = createBench();
    const log = createBuildLog(deps, 'b', 1);
    for (let line = 0; line < 3000; line++) log.line(`${line} ${'x'.repeat(100)}`);
    const heard = collect(followLog(deps, 'b').lines(never));
    for (let line = 3000; line < 3100; line++) log.line(`${line}`);

    await log.close({ end: true });

    expect((await heard).map((line) => Number(line.split(' ')[0]))).toEqual(
      Array.from({ length: 3100 }, (_, i) => i),
    );
  });

  it('keeps the start and the end of an endless one, and says what is missing', async () => {
    const { deps } = createBench('succeeded');
    const log = createBuildLog(deps, 'b', 1, { head: 1000, tail: 500 });
    for (let line = 0; line < 10_000; line++) log.line(`line ${line}`);

    await log.close({ end: true });

    const kept = await collect(followLog(deps, 'b').stored(never));
    expect(kept[0]).toBe('line 0');
    expect(kept.at(-1)).toBe('line 9999');
    const gap = kept.findIndex((line) => /^… \d+ lines are left out …$/.test(line));
    const missing = Number(/\d+/.exec(kept[gap] ?? '')?.[0]);
    expect(kept.length - 1 + missing).toBe(10_000);
    expect(kept.join('\n').length).toBeLessThan(2600);
  });

  it('cuts a line that does not end, and keeps NUL out', async () => {
    const { deps } = createBench('succeeded');
    const log = createBuildLog(deps, 'b', 1, { line: 10 });
    log.line('x'.repeat(50));
    log.line('a\0b');

    await log.close({ end: true });

    expect(await collect(followLog(deps, 'b').stored(never))).toEqual(['xxxxxxxxxx … (50 characters)', 'ab']);
  });

  it('starts over with the next attempt', async () => {
    const { deps } = createBench();
    const heard = collect(followLog(deps, 'b', { fresh: true }).lines(never));
    const first = createBuildLog(deps, 'b', 1);
    first.line('first attempt');
    await first.close({ end: false });
    const second = createBuildLog(deps, 'b', 2);
    second.line('second attempt');

    await second.close({ end: true });

    expect(await heard).toEqual(['first attempt', 'second attempt']);
  });
});
