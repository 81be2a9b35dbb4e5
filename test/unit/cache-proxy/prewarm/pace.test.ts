import { describe, expect, it } from 'vitest';
import type { LinkBudget } from '../../../../cache-proxy/pools/pool.ts';
import { budgetAt, createPace, type PaceDeps } from '../../../../cache-proxy/prewarm/pace.ts';

/** 8 Mbit/s are 1,000 bytes in a millisecond. */
const link: LinkBudget = { down: 80e6, prewarm: 8e6, prewarmDay: 8e6 };

/** A pace on a clock of its own, which waits by turning it. */
function paced(deps: Partial<PaceDeps> = {}) {
  const clock = { now: 0 };
  const pace = createPace({
    link,
    now: () => clock.now,
    wait: async (ms, signal) => {
      signal?.throwIfAborted();
      clock.now += ms;
    },
    ...deps,
  });
  return { pace, clock };
}

describe('the pace of prewarming', () => {
  it('is the budget of the link, slice by slice', async () => {
    const { pace, clock } = paced();

    for (let slice = 0; slice < 11; slice++) await pace.take(1_000_000);

    // The first one is free to begin; each further one waits for the one before.
    expect(clock.now).toBeCloseTo(10_000, -1);
  });

  it('saves nothing up while nothing is fetched', async () => {
    const { pace, clock } = paced();
    await pace.take(1_000_000);
    clock.now = 3_600_000;

    for (let slice = 0; slice < 6; slice++) await pace.take(1_000_000);

    expect(clock.now - 3_600_000).toBeCloseTo(5_000, -1);
  });

  it('does not wait for what was in the cache', async () => {
    const { pace, clock } = paced();

    for (let slice = 0; slice < 20; slice++) {
      await pace.take(1_000_000);
      pace.refund(1_000_000);
    }

    expect(clock.now).toBe(0);
  });

  it('halves while clients wait for the link, and doubles again when it is quiet', () => {
    const { pace, clock } = paced();
    const rates: number[] = [];
    for (let miss = 0; miss < 12; miss++) {
      pace.clientMissed();
      rates.push(pace.rate / link.prewarm);
      clock.now += 250;
    }

    expect(rates.slice(0, 4)).toEqual([1 / 2, 1 / 4, 1 / 8, 1 / 16]);
    expect(rates.at(-1)).toBe(1 / 64);

    clock.now += 2_750;
    expect(pace.rate / link.prewarm).toBeCloseTo(1 / 64);
    clock.now += 3_000;
    expect(pace.rate / link.prewarm).toBeCloseTo(1 / 8);
    clock.now += 60_000;
    expect(pace.rate).toBe(link.prewarm);
  });

  it('takes many misses of one moment for one', () => {
    const { pace } = paced();

    for (let miss = 0; miss < 100; miss++) pace.clientMissed();

    expect(pace.rate / link.prewarm).toBe(1 / 2);
  });

  it('never takes more than the origin grants, and waits while that is nothing', async () => {
    let granted = 0;
    const { pace, clock } = paced({ granted: () => granted });
    const taken = pace.take(1_000_000);
    await Promise.resolve();
    granted = 4e6;

    await taken;
    const begun = clock.now;
    await pace.take(1_000_000);

    expect(clock.now - begun).toBeCloseTo(2_000, -1);
  });

  it('lets whoever waits give up, and serves the next one', async () => {
    const { pace } = paced();
    await pace.take(1_000_000);

    await expect(pace.take(1_000_000, AbortSignal.abort(new Error('enough')))).rejects.toThrow('enough');
    await expect(pace.take(1_000_000)).resolves.toBeUndefined();
  });
});

describe('the budget at a time of day', () => {
  const at = (hours: number, minutes = 0): number => new Date(2026, 0, 5, hours, minutes).getTime();
  const day: LinkBudget = { down: 100, prewarm: 20, prewarmDay: 5, prewarmWindow: { from: 0, to: 7 * 60 } };
  const night: LinkBudget = { ...day, prewarmWindow: { from: 22 * 60, to: 5 * 60 + 30 } };

  it.each<[LinkBudget, number, number]>([
    [day, at(0), 20],
    [day, at(6, 59), 20],
    [day, at(7), 5],
    [day, at(23), 5],
    [night, at(21, 59), 5],
    [night, at(22), 20],
    [night, at(3), 20],
    [night, at(5, 30), 5],
    [{ down: 100, prewarm: 20, prewarmDay: 5 }, at(12), 20],
  ])('case %#', (link_, time, expected) => {
    expect(budgetAt(link_, time)).toBe(expected);
  });
});
