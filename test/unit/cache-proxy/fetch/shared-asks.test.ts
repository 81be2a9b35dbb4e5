import { describe, expect, it } from 'vitest';
import { createSharedAsks } from '../../../../cache-proxy/fetch/shared-asks.ts';

describe('asks that are shared', () => {
  it('goes by source and key, and only while the answer is under way', async () => {
    const asks = createSharedAsks<object, number>();
    const here = {};
    const there = {};
    const answer = Promise.withResolvers<number>();
    let asked = 0;
    const fetch = (): Promise<number> => {
      asked += 1;
      return answer.promise;
    };

    const all = [
      asks.ask(here, 'a', fetch),
      asks.ask(here, 'a', fetch),
      asks.ask(here, 'b', fetch),
      asks.ask(there, 'a', fetch),
    ];
    expect(asked).toBe(3);
    answer.resolve(7);
    expect(await Promise.all(all)).toEqual([7, 7, 7, 7]);
    await asks.ask(here, 'a', fetch);
    expect(asked).toBe(4);
  });

  it('fails for all who wait, and is asked anew by the next', async () => {
    const asks = createSharedAsks<object, number>();
    const here = {};
    const broken = (): Promise<number> => Promise.reject(new Error('broke off'));

    const both = await Promise.allSettled([asks.ask(here, 'a', broken), asks.ask(here, 'a', broken)]);

    expect(both.map(({ status }) => status)).toEqual(['rejected', 'rejected']);
    expect(await asks.ask(here, 'a', () => Promise.resolve(1))).toBe(1);
  });
});
