import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { createOriginHealth, type HealthSnapshot } from '../../../../cache-proxy/agent/health.ts';

const silent = { info() {}, warn() {}, error() {} };

describe('whether the origin answers', () => {
  beforeEach(() => {
    vi.useFakeTimers();
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  it('is up until somebody finds otherwise, and asks by itself until it is again', async () => {
    const changes: HealthSnapshot['state'][] = [];
    let answers = false;
    let probes = 0;
    const health = createOriginHealth({
      log: silent,
      onChange: ({ state }) => changes.push(state),
      probe() {
        probes += 1;
        return answers ? Promise.resolve() : Promise.reject(new Error('refused'));
      },
    });

    expect(health.away).toBe(false);
    await vi.advanceTimersByTimeAsync(10_000);
    expect(probes).toBe(0);
    health.failed('refused');
    health.failed('refused again');
    expect(health.snapshot()).toMatchObject({ state: 'away', reason: 'refused' });
    await vi.advanceTimersByTimeAsync(5_000);
    expect(probes).toBe(5);
    answers = true;
    await vi.advanceTimersByTimeAsync(1_000);

    expect(health.away).toBe(false);
    expect(changes).toEqual(['away', 'up']);
    await vi.advanceTimersByTimeAsync(10_000);
    expect(probes).toBe(6);
    health.close();
  });

  it('is up again as soon as anybody had an answer', () => {
    const health = createOriginHealth({ log: silent, probe: () => Promise.reject(new Error('no')) });

    health.failed('500');
    health.answered();

    expect(health.away).toBe(false);
    expect(vi.getTimerCount()).toBe(0);
    health.close();
  });

  it('asks no more once it is closed, and ends the asking that is under way', async () => {
    let signal: AbortSignal | undefined;
    const health = createOriginHealth({
      log: silent,
      probe: (given) => {
        signal = given;
        return new Promise((_resolve, reject) => {
          given.addEventListener('abort', () => reject(given.reason as Error));
        });
      },
    });

    health.failed('hangs');
    await vi.advanceTimersByTimeAsync(300);
    health.close();
    await vi.advanceTimersByTimeAsync(60_000);

    expect(signal?.aborted).toBe(true);
    expect(vi.getTimerCount()).toBe(0);
  });
});
