import { describe, expect, it, vi } from 'vitest';
import { createBuildLog } from '../../../../builder/farm/build-log.ts';
import { followLog } from '../../../../builder/farm/follow-log.ts';
import type { LogPosition } from '../../../../builder/farm/log-chunks.ts';
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

  it('is followed on when something else than lines is heard', async () => {
    const { deps } = createBench();
    const heard = collect(followLog(deps, 'b', { fresh: true }).lines(never));
    const log = createBuildLog(deps, 'b', 1);

    for (const odd of [null, 'text', [], {}, { fence: 1, first: 0 }, { fence: 1, first: 0, lines: [7] }])
      deps.events.publish('log.b', odd);
    log.line('one');
    await log.close({ end: true });

    expect(await heard).toEqual(['one']);
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

  it('keeps the start and the end of an endless one, and says what is missing (builder.md 6, row 27)', async () => {
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

  it('cuts a line that does not end, and keeps NUL out (builder.md 6, row 27)', async () => {
    const { deps } = createBench('succeeded');
    const log = createBuildLog(deps, 'b', 1, { line: 10 });
    log.line('x'.repeat(50));
    log.line('a\0b');

    await log.close({ end: true });

    expect(await collect(followLog(deps, 'b').stored(never))).toEqual(['xxxxxxxxxx … (50 characters)', 'ab']);
  });

  it('keeps the end of an endless one in the store while it runs, and no more than that', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    const { deps } = createBench('running');
    const log = createBuildLog(deps, 'b', 1, { head: 1000, tail: 500 });
    for (let line = 0; line < 5000; line++) {
      log.line(`line ${line}`);
      if (line % 20 === 0) await vi.advanceTimersByTimeAsync(1000);
    }
    await vi.advanceTimersByTimeAsync(1000);

    const kept = await collect(followLog(deps, 'b').stored(never));
    vi.useRealTimers();

    expect(kept[0]).toBe('line 0');
    expect(kept.at(-1)).toBe('line 4999');
    expect(kept.join('\n').length).toBeLessThan(2600);
    await log.close({ end: false });
  });

  it('is heard to its end by somebody who comes when its start is full', async () => {
    const { deps } = createBench('running');
    const log = createBuildLog(deps, 'b', 1, { head: 1000, tail: 500 });
    for (let line = 0; line < 10_000; line++) log.line(`line ${line}`);
    const heard = collect(followLog(deps, 'b').lines(never));
    await new Promise(setImmediate);
    for (let line = 10_000; line < 20_000; line++) log.line(`line ${line}`);

    await log.close({ end: true });

    const lines = await heard;
    expect(lines[0]).toBe('line 0');
    expect(lines.at(-1)).toBe('line 19999');
    const told = lines.reduce((sum, line) => sum + Number(/^… (\d+) lines/.exec(line)?.[1] ?? 1), 0);
    expect(told).toBe(20_000);
  });

  // Each of them waits a second for the follower's next look.
  it.concurrent.each(['none of it', 'its first attempt', 'a part of the second'])(
    'goes on behind the last line that a reader had, who had %s',
    async (had) => {
      const { deps, job } = createBench('running');
      const all: { text: string; position: LogPosition }[] = [];
      const follower = followLog(deps, 'b', { fresh: true });
      const heard = (async () => {
        for await (const { lines, position } of follower.blocks(never))
          for (const [index, text] of lines.entries())
            all.push({ text, position: { ...position, line: position.line - lines.length + index + 1 } });
      })();
      for (const fence of [1, 2]) {
        const log = createBuildLog(deps, 'b', fence);
        for (let line = 0; line < 2000; line++) log.line(`${fence} ${line} ${'x'.repeat(50)}`);
        await log.close({ end: fence === 2 });
      }
      await heard;
      Object.assign(job, { state: 'succeeded' });
      const cut = { 'none of it': 0, 'its first attempt': 2000, 'a part of the second': 2741 }[had] ?? 0;
      const after = all[cut - 1]?.position;

      const rest = await collect(followLog(deps, 'b', after === undefined ? {} : { after }).lines(never));

      expect(all).toHaveLength(4000);
      expect(rest).toEqual(all.slice(cut).map(({ text }) => text));
    },
  );

  it('is heard on by a follower whose build another worker took up, with what the first one stored', async () => {
    const { deps } = createBench();
    const heard = collect(followLog(deps, 'b', { fresh: true }).lines(never));
    const first = createBuildLog(deps, 'b', 1);
    first.line('one');
    await first.close({ end: false });
    // Stored by a worker whose live lines never came here.
    const silent = createBuildLog({ ...deps, events: createEventBus() }, 'b', 2);
    silent.line('two');
    await silent.close({ end: false });
    const last = createBuildLog(deps, 'b', 3);
    last.line('three');

    await last.close({ end: true });

    expect(await heard).toEqual(['one', 'two', 'three']);
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
