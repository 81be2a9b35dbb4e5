import { beforeEach, describe, expect, it } from 'vitest';
import { createMemoryStore } from '../../../../core/object-store/memory.ts';
import type { ListOptions, ObjectStore } from '../../../../core/object-store/object-store.ts';
import { catalogKey } from '../../../../registry/store/paths.ts';
import { encodeRecord, encodeTombstone } from '../../../../registry/store/record.ts';
import { createStoredRegistry } from '../../../../registry/stored-registry.ts';

const nonce = '0'.repeat(32);
const names = Array.from({ length: 400 }, (_, index) => `app-${String(index).padStart(3, '0')}`);

describe('a page of a listing', () => {
  let store: ObjectStore;
  let lists: ListOptions[];
  /** Entries that the store gives for a list that asked for more. */
  let shortest: number;

  beforeEach(async () => {
    store = createMemoryStore();
    lists = [];
    shortest = Number.POSITIVE_INFINITY;
    for (const name of names) await store.put(catalogKey(name), encodeRecord({ state: 'repository', nonce }));
  });

  const page = (limit: number, last?: string) =>
    createStoredRegistry({
      store: {
        ...store,
        list(options) {
          lists.push(options);
          return store.list({ ...options, limit: Math.min(options.limit ?? 1000, shortest) });
        },
      },
    }).listRepositories({ limit, ...(last === undefined ? {} : { last }) });

  it('may be a little short where the store gave less than it was asked for, and leads on', async () => {
    shortest = 190;

    const first = await page(200);
    const second = await page(200, first.next);

    expect(lists).toHaveLength(2);
    expect(first).toEqual({ entries: names.slice(0, 190), next: names[189] });
    expect(second.entries).toEqual(names.slice(190, 380));
  });

  it('is read on when the store gave only a small part of it', async () => {
    shortest = 60;

    expect((await page(200)).entries).toEqual(names.slice(0, 180));
    expect(lists).toHaveLength(3);
  });

  it('of few entries is always full', async () => {
    shortest = 30;

    expect((await page(50)).entries).toEqual(names.slice(0, 50));
  });

  it('passes over entries that are gone', async () => {
    for (const name of names.slice(0, 250)) await store.put(catalogKey(name), encodeTombstone(nonce));

    expect(await page(100)).toEqual({ entries: names.slice(250, 350), next: names[349] });
  });
});
