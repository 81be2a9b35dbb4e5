import { randomBytes } from 'node:crypto';
import { buffer } from 'node:stream/consumers';
import { describe, expect, it } from 'vitest';
import { type CacheScope, createDependencyCaches } from '../../../../builder/cache/dependency-cache.ts';
import type { ChosenCache } from '../../../../builder/cache/dependency-kinds.ts';
import { scopesOf } from '../../../../builder/farm/build-caches.ts';
import { createMemoryStore } from '../../../../core/object-store/memory.ts';

const { signal } = new AbortController();
const npm = (lock: string): ChosenCache => ({ place: 'home', name: 'npm', paths: ['.npm'], lock: [lock] });

function scope(more: Partial<CacheScope> = {}): CacheScope {
  return {
    owner: 'team/app',
    appname: 'app',
    base: 'nodejs-build:26',
    ...(more.read === undefined ? scopesOf({ ref: 'refs/heads/main', defaultBranch: true }) : { read: [] }),
    ...more,
  };
}

async function* text(content: string): AsyncGenerator<Buffer> {
  for (const part of content.split('|')) yield Buffer.from(part);
}

async function save(
  caches: ReturnType<typeof createDependencyCaches>,
  lock: string,
  content: string,
  where = scope(),
) {
  return caches.save(where, npm(lock), text(content), signal);
}

async function restored(
  caches: ReturnType<typeof createDependencyCaches>,
  lock: string,
  where = scope(),
): Promise<string | undefined> {
  const found = await caches.find(where, npm(lock));
  const archive = await found?.open(signal);
  return archive === undefined ? undefined : `${found?.exact} ${(await buffer(archive)).toString()}`;
}

describe('what was fetched', () => {
  it('comes back for the same lockfile, and for another one until that has its own', async () => {
    const caches = createDependencyCaches(createMemoryStore());
    expect(await restored(caches, 'a')).toBeUndefined();

    await save(caches, 'a', 'of |a');
    expect(await restored(caches, 'a')).toBe('true of a');
    expect(await restored(caches, 'b')).toBe('false of a');

    await save(caches, 'b', 'of b');
    expect(await restored(caches, 'b')).toBe('true of b');
    expect(await restored(caches, 'a')).toBe('true of a');
  });

  it('is no use to another application, kind, or in another base than as a beginning', async () => {
    const caches = createDependencyCaches(createMemoryStore());
    await save(caches, 'a', 'of a');

    expect(await restored(caches, 'a', scope({ owner: 'team/other' }))).toBeUndefined();
    expect(await restored(caches, 'a', scope({ appname: 'worker' }))).toBeUndefined();
    expect(await caches.find(scope(), { ...npm('a'), name: 'maven' })).toBeUndefined();
    expect(await restored(caches, 'a', scope({ base: 'nodejs-build:28' }))).toBe('false of a');
  });

  it('is kept three times, and what fell out is gone from the store', async () => {
    const store = createMemoryStore();
    const caches = createDependencyCaches(store);
    for (const lock of ['a', 'b', 'c', 'd']) await save(caches, lock, lock);

    expect(await restored(caches, 'a')).toBe('false d');
    expect((await store.list({ prefix: 'cache/deps/' })).objects).toHaveLength(3 + 1);
  });

  it('is kept once, however many builds had it at the same time', async () => {
    const store = createMemoryStore();
    const caches = createDependencyCaches(store);

    await Promise.all(['1', '2', '3', '4'].map((content) => save(caches, 'a', content)));

    expect(await restored(caches, 'a')).toMatch(/^true [1-4]$/);
    expect((await store.list({ prefix: 'cache/deps/' })).objects).toHaveLength(1 + 1);
  });

  it('leaves nothing behind when its archive breaks off', async () => {
    const store = createMemoryStore();
    const broken = (async function* () {
      yield Buffer.from('some');
      throw new Error('engine away');
    })();

    await expect(createDependencyCaches(store).save(scope(), npm('a'), broken, signal)).rejects.toThrow(
      'engine away',
    );
    expect((await store.list({ prefix: 'cache/' })).objects).toEqual([]);
  });

  it('that was damaged in the store is an error, and can be forgotten', async () => {
    const store = createMemoryStore();
    const caches = createDependencyCaches(store);
    await save(caches, 'a', randomBytes(50_000).toString('hex'));
    const { objects } = await store.list({ prefix: 'cache/deps/' });
    const key = objects.find((object) => !object.key.endsWith('/index'))?.key ?? '';
    const body = Buffer.from((await store.get(key))?.body ?? []);
    body[20_000] = (body[20_000] ?? 0) ^ 1;
    await store.put(key, body);

    await expect(restored(caches, 'a')).rejects.toThrow();
    await (await caches.find(scope(), npm('a')))?.forget();

    expect(await restored(caches, 'a')).toBeUndefined();
    expect((await store.list({ prefix: 'cache/deps/' })).objects).toHaveLength(1);
  });

  it('that no build used for long goes', async () => {
    const store = createMemoryStore();
    const caches = createDependencyCaches(store);
    await save(caches, 'a', 'of a');
    const inDays = (days: number) => new Date(Date.now() + days * 86_400_000);

    expect(await caches.sweep({ unusedDays: 30, now: inDays(29) })).toBe(0);
    expect(await restored(caches, 'a')).toBe('true of a');
    expect(await caches.sweep({ unusedDays: 30, now: inDays(31) })).toBe(1);
    expect(await restored(caches, 'a')).toBeUndefined();
    // The index, now empty, was written just now.
    await caches.sweep({ unusedDays: 30, now: inDays(61) });
    expect((await store.list({ prefix: 'cache/deps/' })).objects).toEqual([]);
  });
});

describe('row 24: a cache cannot be poisoned from outside of its scope', () => {
  const main = scope();
  const feature = scope(scopesOf({ ref: 'refs/heads/feature', defaultBranch: false }));
  const fork = scope(scopesOf({ ref: 'refs/heads/main', defaultBranch: true, trusted: false }));

  it('a branch reads that of the default branch and writes one of its own', async () => {
    const caches = createDependencyCaches(createMemoryStore());
    await save(caches, 'a', 'good', main);
    expect(await restored(caches, 'a', feature)).toBe('true good');

    await save(caches, 'b', 'evil', feature);

    expect(await restored(caches, 'b', feature)).toBe('true evil');
    expect(await restored(caches, 'b', main)).toBe('false good');
    const other = scope(scopesOf({ ref: 'refs/heads/other', defaultBranch: false }));
    expect(await restored(caches, 'b', other)).toBe('false good');
  });

  it.each([
    ['a fork', fork],
    ['a tag', scope(scopesOf({ ref: 'refs/tags/v1', defaultBranch: false }))],
    ['a working tree', scope(scopesOf({ ref: 'refs/brickyard/x', defaultBranch: false }))],
  ])('%s reads it and writes nothing', async (_, outside) => {
    const caches = createDependencyCaches(createMemoryStore());
    await save(caches, 'a', 'good', main);

    expect(await restored(caches, 'a', outside)).toBe('true good');
    await expect(save(caches, 'b', 'evil', outside)).rejects.toThrow(RangeError);
  });

  it('names of refs cannot name the scope of others', () => {
    for (const ref of ['refs/heads/protected', 'refs/heads/../protected', 'refs/heads/ref-1']) {
      expect(scopesOf({ ref, defaultBranch: false }).write).toMatch(/^ref-[0-9a-f]{16}$/);
    }
  });
});
