import { describe, expect, it } from 'vitest';
import { createMemoryStore } from '../../../../core/object-store/memory.ts';
import {
  type ObjectStore,
  ObjectStoreUnavailable,
  PreconditionFailed,
} from '../../../../core/object-store/object-store.ts';
import { createStoreProbe, probeStore } from '../../../../core/object-store/probe.ts';

function changed(change: (store: ObjectStore) => Partial<ObjectStore>): ObjectStore {
  const store = createMemoryStore();
  return { ...store, ...change(store) };
}

describe('the probe of a store', () => {
  it('finds a store that keeps its word safe, and leaves nothing behind', async () => {
    const store = createMemoryStore();

    const report = await probeStore(store);

    expect(report).toMatchObject({ collectionSafe: true, reasons: [] });
    expect(report.checks.map(({ ok }) => ok)).toEqual([true, true, true, true, true]);
    expect((await store.list({ prefix: '' })).objects).toEqual([]);
  });

  it('does not mind losers that hear of an error, nor winners whose answer is lost', async () => {
    let calls = 0;
    const store = changed((memory) => ({
      async put(key, body, options) {
        const fails = options?.ifNoneMatch !== undefined && ++calls % 3 === 0;
        try {
          const result = await memory.put(key, body, options);
          if (fails) throw new ObjectStoreUnavailable('the answer was lost');
          return result;
        } catch (error) {
          throw fails && error instanceof PreconditionFailed ? new ObjectStoreUnavailable('500') : error;
        }
      },
    }));

    expect((await probeStore(store)).reasons).toEqual([]);
  });

  it.each<[string, string, (store: ObjectStore) => Partial<ObjectStore>]>([
    [
      'that ignores If-None-Match',
      'replaced what was there',
      (store) => ({
        put: (key, body, { ifMatch } = {}) => store.put(key, body, ifMatch === undefined ? {} : { ifMatch }),
      }),
    ],
    [
      'that ignores If-Match',
      'replaced another version',
      (store) => ({
        put: (key, body, { ifNoneMatch } = {}) =>
          store.put(key, body, ifNoneMatch === undefined ? {} : { ifNoneMatch }),
      }),
    ],
    [
      'that refuses every If-Match',
      'was refused although nobody had changed it',
      (store) => ({
        put: (key, body, options = {}) =>
          store.put(key, body, options.ifMatch === undefined ? options : { ifMatch: 'none' }),
      }),
    ],
    [
      'whose If-Match on nothing writes',
      'made an object where there was none',
      (store) => ({
        put: async (key, body, options = {}) =>
          options.ifMatch !== undefined && (await store.head(key)) === undefined
            ? store.put(key, body)
            : store.put(key, body, options),
      }),
    ],
    [
      'that looks before it writes',
      'writers at once',
      (store) => ({
        put: async (key, body, options = {}) => {
          const there = await store.get(key);
          if (options.ifNoneMatch !== undefined && there !== undefined) throw new PreconditionFailed('there');
          if (options.ifMatch !== undefined && there?.etag !== options.ifMatch)
            throw new PreconditionFailed('');
          return store.put(key, body);
        },
      }),
    ],
    [
      'whose lists are late',
      'a list did not show what had been written',
      (store) => ({
        list: async (options) =>
          options.prefix.endsWith('/list/') ? { objects: [], prefixes: [] } : store.list(options),
      }),
    ],
  ])('finds out a store %s', async (_, reason, change) => {
    const report = await probeStore(changed(change));

    expect(report.collectionSafe).toBe(false);
    expect(report.reasons.join('\n')).toContain(reason);
  });

  it('is no verdict when the store cannot be reached, and is tried again then', async () => {
    let down = true;
    const store = changed((memory) => ({
      list: async (options) => {
        if (down) throw new ObjectStoreUnavailable('no answer');
        return memory.list(options);
      },
    }));
    const probe = createStoreProbe(store);

    await expect(probe()).rejects.toThrow('no answer');
    down = false;
    const report = await probe();

    expect(report.collectionSafe).toBe(true);
    expect(await probe()).toBe(report);
  });
});
