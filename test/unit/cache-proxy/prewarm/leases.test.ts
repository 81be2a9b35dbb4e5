import { beforeEach, describe, expect, it } from 'vitest';
import { createEgressLease } from '../../../../cache-proxy/prewarm/leases.ts';
import type { PoolApi } from '../../../../cache-proxy/prewarm/pool-api.ts';

type LeaseAnswer = Awaited<ReturnType<PoolApi['lease']>>;

let asked: number[];
let answer: (wanted: number) => Promise<LeaseAnswer>;

beforeEach(() => {
  asked = [];
  answer = async (bitsPerSecond) => ({ bitsPerSecond: bitsPerSecond / 2, seconds: 30 });
});

function makeLease() {
  return createEgressLease({
    api: {
      lease(wanted) {
        asked.push(wanted);
        return answer(wanted);
      },
      sendPopularity: async () => true,
      otherPools: async () => undefined,
    },
    wanted: () => 100.7,
    log: { info() {}, warn() {}, error() {} },
  });
}

/** Until everything that is resolved has been heard. */
const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe("a pool's part of the origin's link", () => {
  it('is there before the work begins, and given back after it', async () => {
    const lease = makeLease();

    const during = await lease.during(async () => lease.granted);
    await settle();

    expect(during).toBe(50);
    expect(lease.granted).toBe(0);
    expect(asked).toEqual([100, 0]);
  });

  it('is one for all work at the same time', async () => {
    const lease = makeLease();

    await Promise.all([1, 2, 3].map(() => lease.during(settle)));
    await settle();

    expect(asked).toEqual([100, 0]);
  });

  it('is there for work that comes while the former is just ending', async () => {
    const lease = makeLease();
    await lease.during(async () => {});

    const again = await lease.during(async () => lease.granted);
    await settle();

    expect(again).toBe(50);
    expect(asked.at(-1)).toBe(0);
    expect(await lease.during(async () => lease.granted)).toBe(50);
  });

  it('is all that the pool wants where the origin shares nothing out', async () => {
    answer = async () => undefined;
    const lease = makeLease();

    expect(await lease.during(async () => lease.granted)).toBe(Number.POSITIVE_INFINITY);
  });

  it('is nothing while the origin cannot be asked, and the work finds out by itself', async () => {
    answer = () => Promise.reject(new Error('away'));
    const lease = makeLease();

    expect(await lease.during(async () => lease.granted)).toBe(0);
  });

  it('is given back also by work that fails', async () => {
    const lease = makeLease();

    await expect(lease.during(() => Promise.reject(new Error('no disk')))).rejects.toThrow('no disk');
    await settle();

    expect(asked).toEqual([100, 0]);
  });
});
