import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { beforeEach, describe, expect, it } from 'vitest';
import { createMemoryStore } from '../../../../core/object-store/memory.ts';
import type { ObjectStore } from '../../../../core/object-store/object-store.ts';
import { digestOf } from '../../../../oci/digest.ts';
import type { LocatedBlob, Registry } from '../../../../oci/registry.ts';
import { pointerKey } from '../../../../registry/store/paths.ts';
import { type PointerHeader, readPointer } from '../../../../registry/store/pointer.ts';
import { replaceRecord } from '../../../../registry/store/record.ts';
import { createStoredRegistry } from '../../../../registry/stored-registry.ts';
import { expectCode } from '../../../suites/registry.ts';
import { createContext } from './context.ts';

const content = Buffer.alloc(20_000, 'layer');
const digest = digestOf(content);
const small = Buffer.from('small enough to lie in the pointer');

async function bytes(opened: Promise<Readable | undefined> | undefined): Promise<Buffer> {
  return buffer((await opened) ?? Readable.from([]));
}

describe('locateBlob', () => {
  let store: ObjectStore;
  let registry: Registry;
  const locate = async (blob = digest, repository = 'team/app'): Promise<LocatedBlob | undefined> =>
    registry.locateBlob?.(repository, blob);
  const setState = async (state: PointerHeader['state']): Promise<void> => {
    const context = createContext(store);
    const pointer = await readPointer(context, digest);
    if (pointer.header === undefined) throw new Error('no pointer');
    await replaceRecord<PointerHeader>(context, pointerKey(digest), pointer, { ...pointer.header, state });
  };

  beforeEach(async () => {
    store = { ...createMemoryStore(), presign: async (key, options) => JSON.stringify({ key, ...options }) };
    registry = createStoredRegistry({ store, wait: async () => {} });
    await registry.putBlob('team/app', digest, content);
    await registry.putBlob('team/app', digestOf(small), small);
  });

  it('names the bytes, gives them, and has an address for them that names no repository', async () => {
    const found = await locate();

    expect(found?.size).toBe(content.length);
    expect(found?.dataKey).toMatch(/^data\//);
    expect((await store.get(found?.dataKey ?? ''))?.body).toEqual(content);
    expect(await bytes(found?.open())).toEqual(content);
    expect(await bytes(found?.open({ start: 3, end: 9 }))).toEqual(content.subarray(3, 10));
    const address = (await found?.address({ method: 'HEAD', expiresInSeconds: 60 })) ?? '';
    expect(address).not.toContain('team');
    expect(JSON.parse(address)).toEqual({
      key: found?.dataKey,
      method: 'HEAD',
      expiresInSeconds: 60,
      contentType: 'application/octet-stream',
    });
  });

  it('gives small blobs, which lie in no object of their own, only itself', async () => {
    const found = await locate(digestOf(small));

    expect(found).toMatchObject({ size: small.length });
    expect(found?.dataKey).toBeUndefined();
    expect(await found?.address({ method: 'GET', expiresInSeconds: 60 })).toBeUndefined();
    expect(await bytes(found?.open())).toEqual(small);
  });

  it('finds nothing for a repository without the right to the blob, and nothing after that was taken away', async () => {
    expect(await locate(digest, 'other/app')).toBeUndefined();

    await registry.deleteBlob('team/app', digest);

    expect(await locate()).toBeUndefined();
  });

  it('gives out no address of bytes that a collector is about to take away, though they are read still', async () => {
    await setState('condemned');

    const found = await locate();

    expect(found?.dataKey).toBeUndefined();
    expect(await found?.address({ method: 'GET', expiresInSeconds: 60 })).toBeUndefined();
    expect(await bytes(found?.open())).toEqual(content);
    await setState('deleting');
    expect(await locate()).toBeUndefined();
  });

  it('says that bytes have gone meanwhile, and refuses a range outside of them', async () => {
    const found = await locate();

    await expectCode('RANGE_INVALID', async () =>
      found?.open({ start: content.length, end: content.length }),
    );
    await store.delete(found?.dataKey ?? '');
    expect(await found?.open()).toBeUndefined();
  });
});
