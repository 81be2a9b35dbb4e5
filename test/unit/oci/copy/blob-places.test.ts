import { describe, expect, it } from 'vitest';
import { createBlobPlaces } from '../../../../oci/copy/blob-places.ts';
import { createLimit } from '../../../../oci/copy/limit.ts';
import { createSettledManifests } from '../../../../oci/copy/settled-manifests.ts';
import { digestOf } from '../../../../oci/digest.ts';

describe('what a run remembers', () => {
  it('forgets the oldest blobs and manifests instead of growing', () => {
    const places = createBlobPlaces(2);
    const settled = createSettledManifests(2);
    const digests = ['a', 'b', 'c'].map((text) => digestOf(text));

    for (const digest of digests) {
      places.add('team/app', digest);
      settled.add('team/app', digest);
    }

    expect(digests.map((digest) => places.has('team/app', digest))).toEqual([false, true, true]);
    expect(digests.map((digest) => settled.has('team/app', digest))).toEqual([false, true, true]);
    expect(places.any(digests[2] as (typeof digests)[number])).toBe('team/app');
  });

  it('lets one after the other work on a blob, whatever becomes of the first', async () => {
    const places = createBlobPlaces();
    const order: string[] = [];
    const work = (name: string, fails: boolean) =>
      places.alone(digestOf('x'), async () => {
        order.push(`${name} begins`);
        await Promise.resolve();
        order.push(`${name} ends`);
        if (fails) throw new Error(name);
      });

    const outcomes = await Promise.allSettled([work('a', true), work('b', false), work('c', false)]);

    expect(outcomes.map(({ status }) => status)).toEqual(['rejected', 'fulfilled', 'fulfilled']);
    expect(order).toEqual(['a begins', 'a ends', 'b begins', 'b ends', 'c begins', 'c ends']);
  });

  it('runs no more than the limit at once, and all in the end', async () => {
    const limit = createLimit(2);
    let running = 0;
    let most = 0;

    await Promise.allSettled(
      Array.from({ length: 9 }, (_, number) =>
        limit(async () => {
          running += 1;
          most = Math.max(most, running);
          await Promise.resolve();
          running -= 1;
          if (number % 3 === 0) throw new Error('one fails');
        }),
      ),
    );

    expect([most, running]).toEqual([2, 0]);
  });
});
