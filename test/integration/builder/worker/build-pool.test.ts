import { fork } from 'node:child_process';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { type BuildPool, createBuildPool } from '../../../../builder/worker/build-pool.ts';
import { createSilentLogger } from '../../../../core/log.ts';
import type { JsonValue } from '../../../../core/object-store/object-store.ts';
import { LeaseLost } from '../../../../core/queue/job-lease.ts';
import { JobCancelled, type JobContext, JobFailed } from '../../../../core/queue/job-queue.ts';
import { waitFor } from '../../../helpers/process.ts';

interface TestPool extends AsyncDisposable {
  readonly pool: BuildPool;
  /** Runs a job that does this; `id` is also that of its log. */
  run(does: string, context?: Partial<JobContext>): Promise<{ readonly [name: string]: JsonValue }>;
  /** What was written, and whether it ended the log; by what the job does. */
  readonly logs: Map<string, { text: string; end?: boolean }>;
  readonly events: [string, JsonValue][];
  readonly pids: number[];
  sweeps: number;
}

function createPool(options: { concurrency?: number; idleMs?: number; graceMs?: number } = {}): TestPool {
  const { concurrency = 2, idleMs = 300_000, graceMs = 30_000 } = options;
  const test: Omit<TestPool, 'pool' | 'run' | typeof Symbol.asyncDispose> = {
    logs: new Map(),
    events: [],
    pids: [],
    sweeps: 0,
  };
  const pool = createBuildPool({
    fork() {
      const child = fork(join(import.meta.dirname, 'build-child.ts'), {
        execArgv: ['--max-old-space-size=64'],
        // What V8 says of a heap that is full is no news here.
        stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
      });
      test.pids.push(child.pid ?? 0);
      return child;
    },
    concurrency,
    heap: 64,
    graceMs,
    idleMs,
    log: createSilentLogger(),
    openLog(build) {
      const log: { text: string; end?: boolean } = { text: '' };
      test.logs.set(build, log);
      return {
        line: (text) => void (log.text += `${text}\n`),
        async close({ end }) {
          log.end = end;
        },
      };
    },
    publish: (topic, message) => void test.events.push([topic, message]),
    async removeLeftovers() {
      test.sweeps += 1;
    },
  });
  return Object.assign(test, {
    pool,
    run(does: string, context: Partial<JobContext> = {}) {
      const job = { id: does, payload: { does }, state: 'running', createdAt: '', attempts: 1 } as const;
      const signal = new AbortController().signal;
      return pool.handler(job as never, { signal, fence: 7, confirmLease: async () => {}, ...context });
    },
    [Symbol.asyncDispose]: () => pool.close(),
  });
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

describe('builds in processes of their own', () => {
  it('runs one after the other in the same warm process, with log, result and announcements', async () => {
    await using test = createPool();

    const first = await test.run('build');
    const second = await test.run('build');

    expect(first).toEqual({ pid: test.pids[0], fence: 7 });
    expect(second).toEqual(first);
    expect(test.logs.get('build')).toEqual({ text: 'runs as build\n', end: true });
    expect(test.events).toEqual([
      ['waves', { from: 7 }],
      ['waves', { from: 7 }],
    ]);
  });

  it('tells faults of the job from those of the farm', async () => {
    await using test = createPool();

    await expect(test.run('fail')).rejects.toThrow(new JobFailed('no App.yaml'));
    const broken = await test.run('break').catch((error: unknown) => error);

    expect(broken).toEqual(new Error('the store does not answer'));
    expect(broken).not.toBeInstanceOf(JobFailed);
    expect(test.logs.get('break')?.end).toBe(false);
  });

  it.each([
    ['exit', 'it ended with exit code 3'],
    ['eat memory', 'it was ended by SIGABRT, most likely as it needed more than 64 MiB of heap'],
  ])(
    'says why a process ended (%s), and neither its neighbour nor the next build is the worse for it',
    async (does, why) => {
      await using test = createPool();
      const stop = new AbortController();
      const neighbour = test.run('wait', { signal: stop.signal }).catch((error: unknown) => error);

      const died = await test.run(does).catch((error: unknown) => error);

      expect(died).not.toBeInstanceOf(JobFailed);
      expect(String(died)).toContain(why);
      expect(test.logs.get(does)).toEqual({
        text: `runs as ${does}\n\n  ! the build's own process ended: ${why}; the build is taken up again\n`,
        end: false,
      });
      await expect(test.run('build')).resolves.toMatchObject({ fence: 7 });
      stop.abort(new JobCancelled('enough'));
      expect(await neighbour).toEqual(new Error('enough'));
      expect(test.sweeps).toBe(1);
    },
  );

  it('outlives a kill -9 of a build, whose lines are all kept', async () => {
    await using test = createPool();
    const running = test.run('wait').catch((error: unknown) => String(error));
    await waitFor(() => test.logs.get('wait')?.text === 'runs as wait\n', { what: 'the first line' });

    process.kill(test.pids[0] ?? 0, 'SIGKILL');

    expect(await running).toContain('it was killed (SIGKILL)');
    expect(test.logs.get('wait')?.text).toMatch(/^runs as wait\n\n {2}! the build's own process ended/);
  });

  it('ends a cancelled build that does not listen, and with it its log', async () => {
    await using test = createPool({ graceMs: 300 });
    const stop = new AbortController();
    const running = test.run('spin', { signal: stop.signal }).catch((error: unknown) => String(error));
    await waitFor(() => test.logs.get('spin')?.text === 'runs as spin\n', { what: 'the first line' });

    stop.abort(new JobCancelled('cancelled by alice'));

    expect(await running).toContain('did not stop when asked');
    expect(test.logs.get('spin')).toEqual({ text: 'runs as spin\n\n  ✗ stopped\n', end: true });
    expect(isAlive(test.pids[0] ?? 0)).toBe(false);
    expect(test.sweeps).toBe(1);
  });

  it('lets a cancelled build that listens end by itself, and keeps its process', async () => {
    await using test = createPool();
    const stop = new AbortController();
    const running = test.run('wait', { signal: stop.signal }).catch((error: unknown) => String(error));
    await waitFor(() => test.logs.get('wait')?.text === 'runs as wait\n', { what: 'the first line' });

    stop.abort(new JobCancelled('cancelled by alice'));

    expect(await running).toContain('cancelled by alice');
    expect(await test.run('build')).toEqual({ pid: test.pids[0], fence: 7 });
    expect(test.sweeps).toBe(0);
  });

  it('hears from the worker that the lease is lost', async () => {
    await using test = createPool();

    const lost = test.run('build', { confirmLease: () => Promise.reject(new LeaseLost('another has it')) });

    await expect(lost).rejects.toThrow('another has it');
  });

  it('starts no more processes than builds may run at once, lets the idle ones go, and ends all when it closes', async () => {
    const test = createPool({ concurrency: 3, idleMs: 500 });
    const stop = new AbortController();
    const running = [1, 2, 3].map(() => test.run('wait', { signal: stop.signal }).catch(() => {}));
    await waitFor(() => test.pids.length === 3, { what: 'three processes' });
    stop.abort(new JobCancelled('enough'));
    await Promise.all(running);
    await waitFor(() => test.pids.filter(isAlive).length === 1, { what: 'one idle process that stays' });

    await test.pool.close();

    expect(test.pids).toHaveLength(3);
    expect(test.pids.filter(isAlive)).toEqual([]);
  });
});
