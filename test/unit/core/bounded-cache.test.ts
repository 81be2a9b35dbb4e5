import { expect, it, vi } from 'vitest';
import { createBoundedCache } from '../../../core/bounded-cache.ts';

it('keeps so many entries and no more: the one longest unused goes', () => {
  const cache = createBoundedCache<string, number>(3);
  for (const key of ['a', 'b', 'c']) cache.set(key, 1);
  cache.get('a');

  cache.set('d', 1);

  expect([...cache.keys()].toSorted()).toEqual(['a', 'c', 'd']);
});

it('forgets an entry after its time', async () => {
  const cache = createBoundedCache<string, number>(3, { ttl: 1 });

  cache.set('a', 1);

  await vi.waitFor(() => expect(cache.get('a')).toBeUndefined(), { interval: 1 });
});
