import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import {
  createOriginHealth,
  type HealthSnapshot,
  type OriginHealth,
} from '../../../../cache-proxy/agent/health.ts';

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

describe('a line that crawls', () => {
  beforeEach(() => {
    vi.useFakeTimers();
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  const line = { takes: 5, probes: 0 };
  const start = (): OriginHealth => {
    line.takes = 5;
    line.probes = 0;
    const health = createOriginHealth({
      log: silent,
      async probe() {
        line.probes += 1;
        await delay(line.takes);
      },
    });
    health.answered(5);
    return health;
  };
  const delay = (ms: number): Promise<void> => new Promise((resolve) => void setTimeout(resolve, ms));

  it('is found while somebody waits, asked again by itself, and over with the first quick answer', async () => {
    const health = start();
    line.takes = 400;

    health.asking();
    await vi.advanceTimersByTimeAsync(200);
    expect(health.hurry).toBeUndefined();
    await vi.advanceTimersByTimeAsync(900);

    expect(health.snapshot()).toMatchObject({ state: 'slow' });
    expect(health.away).toBe(false);
    expect(health.hurry).toBeLessThan(50);
    health.answered(300);
    health.answered();
    await vi.advanceTimersByTimeAsync(60_000);
    expect(health.snapshot().state).toBe('slow');
    expect(line.probes).toBeGreaterThan(10);
    health.answered(20);
    expect(health.snapshot().state).toBe('up');
    expect(vi.getTimerCount()).toBe(0);
    health.close();
  });

  it('is over when the pool finds so itself', async () => {
    const health = start();
    line.takes = 400;
    health.answered(900);
    await vi.advanceTimersByTimeAsync(1_000);
    expect(health.hurry).toBeDefined();

    line.takes = 5;
    await vi.advanceTimersByTimeAsync(4_000);

    expect(health.hurry).toBeUndefined();
    health.close();
  });

  it('is neither one question that takes long, nor a new connection, nor the way to a far origin', async () => {
    const health = start();
    health.answered(2_000);
    await vi.advanceTimersByTimeAsync(10);
    expect([line.probes, health.snapshot().state]).toEqual([1, 'up']);

    line.takes = 700;
    health.answered(2_000);
    await vi.advanceTimersByTimeAsync(1_000);
    health.answered(2_000);
    await vi.advanceTimersByTimeAsync(600);
    line.takes = 5;
    await vi.advanceTimersByTimeAsync(800);
    expect(health.snapshot().state).toBe('up');
    health.close();

    const far = createOriginHealth({ log: silent, probe: () => delay(280) });
    for (let count = 0; count < 5; count += 1) {
      far.answered(280);
      far.answered(700);
      await vi.advanceTimersByTimeAsync(2_000);
    }
    expect(far.snapshot().state).toBe('up');
    far.close();
  });

  it('may be away as well, and is still one when it is back', async () => {
    const health = start();
    line.takes = 400;
    health.failed('no answer in time');
    await vi.advanceTimersByTimeAsync(1_500);
    expect(health.snapshot().state).toBe('slow');

    health.failed('refused');
    expect([health.away, health.hurry]).toEqual([true, undefined]);
    health.close();
    expect(vi.getTimerCount()).toBe(0);
  });
});
