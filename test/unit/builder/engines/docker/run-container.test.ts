import { PassThrough } from 'node:stream';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { type ContainerApi, ContainerApiError } from '../../../../../builder/engines/docker/container-api.ts';
import { runContainer } from '../../../../../builder/engines/docker/run-container.ts';
import { createSilentLogger } from '../../../../../core/log.ts';
import { JobFailed } from '../../../../../core/queue/job-queue.ts';

beforeEach(() => {
  vi.useFakeTimers();
});

afterEach(() => {
  vi.useRealTimers();
});

it('output that stays open after the end holds a build for seconds only', async () => {
  const engine = createEngine({ waitContainer: async () => {} });
  const run = start(engine);

  await vi.advanceTimersByTimeAsync(15_000);

  expect(await run).toMatchObject({ exitCode: 0 });
});

it('an engine that does not answer any more is a fault of the farm, and the build ends', async () => {
  const engine = createEngine({ waitContainer: () => new Promise(() => {}) });
  const run = start(engine).catch((error: unknown) => error);
  engine.output.end();

  await vi.advanceTimersByTimeAsync(60_000);

  expect(await run).toBeInstanceOf(ContainerApiError);
});

it('a build that is too late ends although its engine neither kills nor answers', async () => {
  const silent = (): Promise<never> => new Promise(() => {});
  const engine = createEngine({ waitContainer: silent, killContainer: silent });
  const run = start(engine, { timeoutSeconds: 10 }).catch((error: unknown) => error);

  await vi.advanceTimersByTimeAsync(90_000);

  const failed = await run;
  expect(failed).toBeInstanceOf(JobFailed);
  expect((failed as Error).message).toBe('the build commands took longer than 10 s (build.timeout)');
});

it('what is cancelled while it starts is killed as soon as it runs', async () => {
  const controller = new AbortController();
  const kills: boolean[] = [];
  let running = false;
  const engine = createEngine({
    async startContainer() {
      controller.abort(new Error('cancelled by alice'));
      await new Promise((resolve) => setTimeout(resolve, 1000));
      running = true;
    },
    async killContainer() {
      kills.push(running);
      engine.output.end();
    },
    waitContainer: async () => {},
  });
  const run = start(engine, { signal: controller.signal }).catch((error: unknown) => error);

  await vi.advanceTimersByTimeAsync(1000);

  expect(await run).toEqual(new Error('cancelled by alice'));
  expect(kills).toEqual([true]);
});

it('what is watched is asked once more at the end, as a short build may do harm between two questions', async () => {
  const engine = createEngine({ waitContainer: async () => {} });
  const watch = async (): Promise<void> => {
    throw new JobFailed('used more than 1 GiB of disk');
  };
  const run = start(engine, { watch }).catch((error: unknown) => error);
  engine.output.end();

  expect(await run).toBeInstanceOf(JobFailed);
});

function start(engine: ReturnType<typeof createEngine>, options: object = {}) {
  return runContainer('id', {
    api: engine.api,
    log: createSilentLogger(),
    signal: new AbortController().signal,
    what: 'the build commands',
    timeoutSeconds: 600,
    timeoutKey: 'build.timeout',
    logSize: 1000,
    onLine: () => {},
    ...options,
  });
}

function createEngine(calls: Partial<ContainerApi>): { api: ContainerApi; output: PassThrough } {
  const output = new PassThrough();
  const api: Partial<ContainerApi> = {
    attach: async () => output,
    startContainer: async () => {},
    killContainer: async () => {},
    containerEnd: async () => ({ exitCode: 0, outOfMemory: false, error: '' }),
    ...calls,
  };
  return { api: api as ContainerApi, output };
}
