import { expect, it, vi } from 'vitest';
import { ContainerApiError } from '../../../../../builder/engines/docker/container-api.ts';
import { attempt, soon } from '../../../../../builder/engines/docker/engine-call.ts';

it('an engine that never answers is given up, as a fault of the farm', async () => {
  vi.useFakeTimers();
  try {
    const call = attempt(soon(new Promise(() => {}))).catch((error: unknown) => error);
    await vi.advanceTimersByTimeAsync(120_000);

    const failed = await call;
    expect(failed).toBeInstanceOf(ContainerApiError);
    expect((failed as Error).message).toBe('container engine: no answer within 120 s');
  } finally {
    vi.useRealTimers();
  }
});

it('what it refuses is told in its own words, and an abort stays one', async () => {
  await expect(attempt(Promise.reject(new Error('no space left\n')))).rejects.toThrow(
    'container engine: no space left',
  );
  const aborted = AbortSignal.abort().reason as Error;

  await expect(attempt(Promise.reject(aborted))).rejects.toBe(aborted);
});
