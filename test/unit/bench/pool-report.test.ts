import { describe, expect, it } from 'vitest';
import type { Observation } from '../../bench/pool/observe-pull.ts';
import { linkFloor, type PoolReport, percentile, poolReport } from '../../bench/pool/report.ts';

const layerBytes = [300e6, 100e6, 100e6];
const good: Observation = {
  herd: {
    seconds: [41, 42],
    firstByteSeconds: [0.1, 0.2, 0.1, 0.3, 0.1, 0.2],
    correctLayers: 6,
    failures: [],
  },
  lastSeconds: 42,
  linkBytes: 501e6,
  logBytes: 500.1e6,
  layerRequests: 3,
  redirects: 0,
  cpuSeconds: 1.5,
};
const empty: PoolReport = { nodes: 2, linkMbps: 100, nodeMbps: 1000, layerBytes, cold: [], warm: [] };
const cold = (observations: readonly Observation[], promised = true): string =>
  poolReport({ ...empty, cold: [{ side: 'ours', clients: 'readers', observations, promised }] });

describe('the report of the pool bench', () => {
  it('takes the image over the link without headers for the floor', () => {
    expect(linkFloor(empty)).toBe(40);
  });

  it('finds everything reached in a good cold pull', () => {
    expect(cold([good])).toContain('| 1.05× | 1.002, 1.000 | 3 | 0.10, 0.30 s | 6 of 6 | 1.50 s |');
    expect(cold([good])).not.toContain('missed');
  });

  it.each<[string, Partial<Observation>]>([
    ['≤ 1.10× floor', { lastSeconds: 44.1 }],
    ['≤ 1.01× bytes', { linkBytes: 506e6 }],
    ['≤ 1.01× bytes', { logBytes: 506e6 }],
    ['first byte ≤ 1.5 s', { herd: { ...good.herd, firstByteSeconds: [0.1, 1.6] } }],
    ['all right', { herd: { ...good.herd, correctLayers: 5 } }],
    ['no redirect', { redirects: 1 }],
  ])('says that %s was missed', (promise, change) => {
    expect(cold([{ ...good, ...change }]).match(/[^|;]+\*\*missed\*\*/g)).toEqual([
      expect.stringContaining(`${promise} **missed**`),
    ]);
  });

  it('takes the worst round where all must be right, and asks nothing of peers', () => {
    const lost = { ...good, herd: { ...good.herd, correctLayers: 5 } };

    expect(cold([good, lost, good])).toContain('5 of 6');
    expect(cold([lost], false)).not.toContain('missed');
  });

  it('compares each warm pull with the static files of the same pair', () => {
    const warm = (seconds: number): Observation => ({
      ...good,
      lastSeconds: seconds,
      layerRequests: 0,
      linkBytes: 900,
    });
    const row = { side: 'ours', clients: 'skopeo' as const, promised: true };
    const report = (observations: readonly Observation[]): string =>
      poolReport({ ...empty, warm: [{ ...row, observations, statics: [warm(4), warm(8), warm(5)] }] });

    expect(report([warm(4.4), warm(8), warm(6)])).toContain('| 1.10× |');
    expect(report([warm(5), warm(10), warm(6)])).toContain('≤ 1.2× static **missed**');
    expect(report([warm(4), { ...warm(4), layerRequests: 1 }, warm(4)])).toContain(
      'no layer from the origin **missed**',
    );
  });

  it('names the value that a share of all does not exceed', () => {
    const values = Array.from({ length: 100 }, (_, index) => 100 - index);

    expect(percentile(values, 0.95)).toBe(95);
    expect(percentile(values, 0.5)).toBe(50);
    expect(percentile([7], 0.95)).toBe(7);
  });
});
