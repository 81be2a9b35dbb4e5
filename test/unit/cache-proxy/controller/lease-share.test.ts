import { describe, expect, it } from 'vitest';
import { type Lease, shareLeases } from '../../../../cache-proxy/controller/lease-share.ts';
import { createRandom } from '../../../helpers/fault-random.ts';

/** Asks one after another, as far as they name; the leases that are there in the end. */
function ask(wants: readonly [holder: string, wanted: number, now?: number][], limit = 100) {
  let leases: readonly Lease[] = [];
  const granted: number[] = [];
  for (const [holder, wanted, now = 0] of wants) {
    const shared = shareLeases(leases, { holder, wanted, until: now + 30 }, { limit, now });
    granted.push(shared.granted);
    leases = shared.leases;
  }
  return { granted, leases };
}

describe('the origin’s link, shared out', () => {
  it('is one pool’s alone where no other asks', () => {
    expect(ask([['a', 500]]).granted).toEqual([100]);
    expect(ask([['a', 30]]).granted).toEqual([30]);
  });

  it('gives a second pool what is left, and half when the first renews', () => {
    const { granted } = ask([
      ['a', 500],
      ['b', 500],
      ['a', 500],
      ['b', 500],
    ]);

    expect(granted).toEqual([100, 0, 50, 50]);
  });

  it('divides among the others what a small one leaves', () => {
    const { granted } = ask([
      ['small', 10],
      ['a', 500],
      ['b', 500],
      ['a', 500],
      ['b', 500],
    ]);

    expect(granted.slice(-2)).toEqual([45, 45]);
  });

  it('is free again when a lease is given back or has ended', () => {
    expect(
      ask([
        ['a', 500],
        ['a', 0],
        ['b', 500],
      ]).granted,
    ).toEqual([100, 0, 100]);
    expect(
      ask([
        ['a', 500],
        ['b', 500, 31],
      ]).granted,
    ).toEqual([100, 100]);
    expect(
      ask([
        ['a', 500],
        ['a', 0],
      ]).leases,
    ).toEqual([]);
  });

  it('is never given out twice, whoever asks whenever', () => {
    const random = createRandom('leases');
    let leases: readonly Lease[] = [];
    for (let now = 0; now < 3_000; now++) {
      const holder = `pool-${random.below(12)}`;
      const shared = shareLeases(
        leases,
        { holder, wanted: random.below(300), until: now + 30 },
        { limit: 100, now },
      );
      leases = shared.leases;

      const sum = leases
        .filter(({ until }) => until > now)
        .reduce((total, { granted }) => total + granted, 0);
      expect(sum).toBeLessThanOrEqual(100);
    }
  });
});
