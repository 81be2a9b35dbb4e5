import { buffer } from 'node:stream/consumers';
import { beforeEach, describe, expect, it } from 'vitest';
import { createMemoryStore } from '../../../../core/object-store/memory.ts';
import type { ObjectStore } from '../../../../core/object-store/object-store.ts';
import { digestOf } from '../../../../oci/digest.ts';
import { mediaTypes } from '../../../../oci/media-types.ts';
import type { Registry } from '../../../../oci/registry.ts';
import type { StoreContext } from '../../../../registry/store/context.ts';
import type { ManifestHeader } from '../../../../registry/store/manifest-record.ts';
import { blobReferencesPrefix, linkKey, manifestKey, pointerKey } from '../../../../registry/store/paths.ts';
import { type PointerHeader, readPointer } from '../../../../registry/store/pointer.ts';
import { buryRecord, readRecord, replaceRecord } from '../../../../registry/store/record.ts';
import { createStoredRegistry } from '../../../../registry/stored-registry.ts';
import { manifestBytes, pushContent } from '../../../helpers/content.ts';
import { expectCode } from '../../../suites/registry.ts';
import { allKeys, createContext } from './context.ts';

const content = Buffer.alloc(20_000, 'layer');
const digest = digestOf(content);
const small = Buffer.from('small enough to lie in the pointer');

/** What a collector does to a blob, one state at a time. */
async function setPointer(
  context: StoreContext,
  blob: typeof digest,
  state: PointerHeader['state'],
): Promise<void> {
  const pointer = await readPointer(context, blob);
  if (pointer.header === undefined) throw new Error('no pointer');
  const { payload } = pointer;
  const key = pointerKey(blob);
  await replaceRecord<PointerHeader>(context, key, pointer, { ...pointer.header, state }, { payload });
}

describe('what a collector leaves', () => {
  let store: ObjectStore;
  let context: StoreContext;
  let registry: Registry;
  const stateOf = async (blob = digest) => (await readPointer(context, blob)).header?.state;

  beforeEach(() => {
    store = createMemoryStore();
    context = createContext(store);
    registry = createStoredRegistry({ store, wait: async () => {} });
  });

  it.each([
    ['large', content],
    ['small', small],
  ])('a condemned %s blob is read as ever and turned back by a HEAD', async (_, bytes) => {
    const blob = digestOf(bytes);
    await registry.putBlob('team/app', blob, bytes);
    await setPointer(context, blob, 'condemned');

    expect(await buffer((await registry.getBlob('team/app', blob)).body)).toEqual(bytes);
    expect(await stateOf(blob)).toBe('condemned');
    expect((await registry.resolveBlob('team/app', blob)).size).toBe(bytes.length);

    expect(await stateOf(blob)).toBe('live');
    expect(await buffer((await registry.getBlob('team/app', blob)).body)).toEqual(bytes);
  });

  it('a live blob is answered without a write', async () => {
    await registry.putBlob('team/app', digest, content);
    const before = await store.head(pointerKey(digest));

    await registry.resolveBlob('team/app', digest);
    await registry.mountBlob('team/other', digest, 'team/app');

    expect((await store.head(pointerKey(digest)))?.etag).toBe(before?.etag);
  });

  it('a condemned blob is turned back by a push, a mount and a manifest', async () => {
    await registry.putBlob('team/app', digest, content);
    await setPointer(context, digest, 'condemned');
    await registry.putBlob('team/app', digest, content);
    expect(await stateOf()).toBe('live');

    await setPointer(context, digest, 'condemned');
    expect(await registry.mountBlob('team/other', digest, 'team/app')).toBe(true);
    expect(await stateOf()).toBe('live');

    const known = await pushContent(registry, { 'team/app': { blobs: { layer: content } } });
    await setPointer(context, digest, 'condemned');
    const bytes = manifestBytes({ config: 'layer', layers: ['layer'] }, known['team/app']);
    await registry.putManifest('team/app', 'v1', bytes, mediaTypes.ociManifest);
    expect(await stateOf()).toBe('live');
    expect(await allKeys(store, 'data/')).toHaveLength(1);
  });

  it('a blob in deletion is not there, and comes back as another one that old links do not open', async () => {
    await registry.putBlob('team/app', digest, content);
    const [oldData] = await allKeys(store, 'data/');
    await setPointer(context, digest, 'deleting');

    await expectCode('BLOB_UNKNOWN', () => registry.getBlob('team/app', digest));
    await expectCode('BLOB_UNKNOWN', () => registry.resolveBlob('team/app', digest));
    expect(await registry.mountBlob('team/other', digest, 'team/app')).toBe(false);
    await registry.putBlob('team/other', digest, content);

    expect(await buffer((await registry.getBlob('team/other', digest)).body)).toEqual(content);
    await expectCode('BLOB_UNKNOWN', () => registry.getBlob('team/app', digest));
    await expectCode('BLOB_UNKNOWN', () => registry.resolveBlob('team/app', digest));
    expect(await registry.mountBlob('team/third', digest, 'team/app')).toBe(false);
    expect(await registry.mountBlob('team/third', digest, undefined, (name) => name === 'team/app')).toBe(
      false,
    );
    const data = await allKeys(store, 'data/');
    expect(data).toHaveLength(1);
    expect(data).not.toContain(oldData);
  });

  it('a manifest over a dead link is MANIFEST_BLOB_UNKNOWN and leaves no reference, and passes once the blob is back', async () => {
    const known = await pushContent(registry, { 'team/app': { blobs: { layer: content } } });
    const bytes = manifestBytes({ config: 'layer' }, known['team/app']);
    const put = () => registry.putManifest('team/app', 'v1', bytes, mediaTypes.ociManifest);
    await setPointer(context, digest, 'deleting');

    await expectCode('MANIFEST_BLOB_UNKNOWN', put);
    expect(await allKeys(store, 'refs/')).toEqual([]);
    expect((await store.head(manifestKey('team/app', digestOf(bytes))))?.size).toBe(64);

    await registry.putBlob('team/stranger', digest, content);
    await expectCode('MANIFEST_BLOB_UNKNOWN', put);
    await registry.putBlob('team/app', digest, content);
    await put();
    expect(await allKeys(store, blobReferencesPrefix(digest))).toHaveLength(1);
  });

  it('a pointer that is a tombstone gives way to the next push', async () => {
    await buryRecord(context, pointerKey(digest), { etag: undefined });
    await expectCode('BLOB_UNKNOWN', () => registry.resolveBlob('team/app', digest));

    await registry.putBlob('team/app', digest, content);

    expect((await registry.resolveBlob('team/app', digest)).size).toBe(content.length);
  });

  it('a condemned manifest is read as ever, and turned back by a push of it or of an index over it', async () => {
    const known = await pushContent(registry, {
      'team/app': { manifests: { image: { annotations: { a: 'b' } } }, tags: { v1: 'image' } },
    });
    const { image } = known['team/app'].manifests;
    const key = manifestKey('team/app', image.digest);
    const condemn = async (): Promise<void> => {
      const record = await readRecord<ManifestHeader>(context, key);
      if (record.header === undefined) throw new Error('no record');
      const { payload } = record;
      await replaceRecord<ManifestHeader>(
        context,
        key,
        record,
        { ...record.header, state: 'condemned' },
        { payload },
      );
    };
    const state = async () => (await readRecord<ManifestHeader>(context, key)).header?.state;

    await condemn();
    expect((await registry.getManifest('team/app', 'v1')).bytes.equals(image.bytes)).toBe(true);
    await registry.putManifest('team/app', 'v1', image.bytes, mediaTypes.ociManifest);
    expect(await state()).toBe('committed');

    await condemn();
    const index = manifestBytes({ manifests: ['image'] }, known['team/app']);
    await registry.putManifest('team/app', 'multi', index, mediaTypes.ociIndex);
    expect(await state()).toBe('committed');
    expect(
      (await createStoredRegistry({ store }).getManifest('team/app', 'v1')).bytes.equals(image.bytes),
    ).toBe(true);

    await condemn();
    await registry.deleteManifest('team/app', image.digest);
    await expectCode('MANIFEST_UNKNOWN', () => registry.getManifest('team/app', 'v1'));
  });

  it('a mount without from asks only repositories that the caller may read', async () => {
    await pushContent(registry, {
      'team/open': { blobs: { layer: content }, manifests: { image: { config: 'layer' } } },
      'team/secret': { blobs: { other: small }, manifests: { image: { config: 'other' } } },
    });
    const mayRead = (name: string) => name === 'team/open';

    expect(await registry.mountBlob('team/app', digest, undefined, mayRead)).toBe(true);
    expect(await registry.mountBlob('team/app', digestOf(small), undefined, mayRead)).toBe(false);
    expect(await registry.mountBlob('team/app', digestOf(small), 'team/secret', mayRead)).toBe(false);
    expect(await store.head(linkKey('team/app', digestOf(small)))).toBeUndefined();
  });
});
