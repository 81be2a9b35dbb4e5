import { describe, expect, it } from 'vitest';
import { replay } from '../../../bench/pool-replay/replay.ts';

describe('two days of pulls, replayed for each policy of prewarming', () => {
  it('come best with ours, at the same budget of the link', () => {
    const outcomes = replay({ seed: 'f', images: 60, days: 2, pullsPerDay: 150 });

    const [none, newest, size, , ours] = outcomes;
    expect(outcomes.map(({ policy }) => policy)).toEqual([
      'none',
      'newest-first',
      'size-popularity',
      'size-popularity of our estimates',
      'ours',
    ]);
    for (const other of [none, newest, size]) {
      expect(ours?.hitBytes).toBeGreaterThan(other?.hitBytes ?? 1);
      expect(ours?.hitRequests).toBeGreaterThan(other?.hitRequests ?? 1);
      expect(ours?.firstP50).toBeLessThan(other?.firstP50 ?? 0);
      expect(ours?.firstP95).toBeLessThanOrEqual(other?.firstP95 ?? 0);
      expect(other?.pulls).toBe(ours?.pulls);
    }
    // Seven hours of 0.3 Mbit/s and seventeen of 0.075, on two days.
    expect(ours?.prewarmBytes).toBeLessThan(2 * ((7 * 0.3e6 + 17 * 0.075e6) / 8) * 3600);
  });
});
