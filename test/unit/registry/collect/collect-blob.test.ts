import { buffer } from 'node:stream/consumers';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { ObjectStoreUnavailable } from '../../../../core/object-store/object-store.ts';
import { type Digest, digestOf } from '../../../../oci/digest.ts';
import { mediaTypes } from '../../../../oci/media-types.ts';
import { collectBlob } from '../../../../registry/collect/collect-blob.ts';
import { commitBlob } from '../../../../registry/store/blob-commit.ts';
import { dataKey, pointerKey } from '../../../../registry/store/paths.ts';
import { type PointerHeader, readPointer } from '../../../../registry/store/pointer.ts';
import { replaceRecord, tombstoneSize } from '../../../../registry/store/record.ts';
import { manifestBytes, pushContent } from '../../../helpers/content.ts';
import { expectCode } from '../../../suites/registry.ts';
import { allKeys, createContext } from '../store/context.ts';
import { type CollectFixture, createFixture, day, hour } from './fixture.ts';

const content = Buffer.alloc(20_000, 'layer');
const digest = digestOf(content);
const small = Buffer.from('small enough to lie in the pointer');
const atOnce = { graceMs: 0 };
const patient = { graceMs: day };

describe('collecting a blob', () => {
  let fixture: CollectFixture;
  beforeEach(() => {
    fixture = createFixture();
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  const push = (bytes = content) => fixture.registry.putBlob('team/app', digestOf(bytes), bytes);
  const read = async (bytes = content) =>
    buffer((await fixture.registry.getBlob('team/app', digestOf(bytes))).body);
  const tagImage = async (): Promise<Digest> => {
    const known = await pushContent(fixture.registry, { 'team/app': { blobs: { layer: content } } });
    const bytes = manifestBytes({ config: 'layer', layers: ['layer'] }, known['team/app']);
    await fixture.registry.putManifest('team/app', 'v1', bytes, mediaTypes.ociManifest);
    return digestOf(bytes);
  };
  const setState = async (state: PointerHeader['state']): Promise<void> => {
    const context = createContext(fixture.store);
    const pointer = await readPointer(context, digest);
    if (pointer.header === undefined) throw new Error('no pointer');
    await replaceRecord<PointerHeader>(context, pointerKey(digest), pointer, { ...pointer.header, state });
  };

  it.each([
    ['large', content],
    ['small', small],
  ])(
    'a %s one that nobody references is condemned, readable for the grace period, then gone',
    async (_, bytes) => {
      const { context, store } = fixture;
      await push(bytes);
      const blob = digestOf(bytes);
      const size = bytes.length;

      const first = await collectBlob(context, blob, patient);
      expect(first).toEqual({ outcome: 'condemned', fresh: true, waitMs: day, size });
      fixture.advance(day - 1);
      const second = await collectBlob(context, blob, patient);
      expect(second).toEqual({ outcome: 'condemned', fresh: false, waitMs: 1, size });
      expect(await read(bytes)).toEqual(bytes);
      fixture.advance(1);

      expect(await collectBlob(context, blob, patient)).toEqual({ outcome: 'deleted', size });

      await expectCode('BLOB_UNKNOWN', () => read(bytes));
      expect(await allKeys(store, 'data/')).toEqual([]);
      expect((await store.head(pointerKey(blob)))?.size).toBe(tombstoneSize);
      expect(await collectBlob(context, blob, patient)).toEqual({ outcome: 'absent' });
      await push(bytes);
      expect(await read(bytes)).toEqual(bytes);
    },
  );

  it('without grace it goes in one call', async () => {
    await push();
    expect(await collectBlob(fixture.context, digest, atOnce)).toEqual({ outcome: 'deleted', size: 20_000 });
    await expectCode('BLOB_UNKNOWN', () => read());
  });

  it('a referenced one is left alone without a write', async () => {
    await tagImage();
    fixture.calls();
    expect(await collectBlob(fixture.context, digest, atOnce)).toEqual({
      outcome: 'referenced',
      revived: false,
    });
    expect(fixture.calls().filter((call) => !/^(get|list) /.test(call))).toEqual([]);
  });

  it('the age is told by the store, whatever a server takes for the time', async () => {
    await push();
    const context = createContext(fixture.store, { clock: () => Date.now() + 365 * day });
    await collectBlob(context, digest, patient);
    fixture.advance(hour);
    expect(await collectBlob(context, digest, patient)).toMatchObject({ waitMs: day - hour });
  });

  it('a reference written between the listing and the condemnation is seen by the second listing', async () => {
    await push();
    fixture.before('put', pointerKey(digest), tagImage);
    expect(await collectBlob(fixture.context, digest, atOnce)).toEqual({
      outcome: 'referenced',
      revived: true,
    });
    expect(await fixture.blobState(digest)).toBe('live');
  });

  it('a manifest that is pushed while it waits keeps it, and so does a HEAD, whose grace begins anew', async () => {
    const { context, registry } = fixture;
    await push();
    await collectBlob(context, digest, patient);
    fixture.advance(day - 1);
    await registry.resolveBlob('team/app', digest);
    fixture.advance(hour);
    expect(await collectBlob(context, digest, patient)).toMatchObject({ fresh: true, waitMs: day });
    fixture.advance(day);
    await tagImage();
    expect(await collectBlob(context, digest, patient)).toMatchObject({ outcome: 'referenced' });
    expect(await read()).toEqual(content);
  });

  it('a manifest that is pushed after the last listing wins, and the collector loses', async () => {
    await push();
    fixture.before('put', pointerKey(digest), tagImage, 2);
    expect(await collectBlob(fixture.context, digest, atOnce)).toEqual({ outcome: 'changed' });
    expect(await fixture.blobState(digest)).toBe('live');
    expect(await read()).toEqual(content);
  });

  it('takes up what a dead collector left condemned or in deletion', async () => {
    await push();
    await setState('condemned');
    expect(await collectBlob(fixture.context, digest, atOnce)).toMatchObject({ outcome: 'deleted' });
    await push();
    await setState('deleting');
    expect(await collectBlob(fixture.context, digest, patient)).toMatchObject({ outcome: 'deleted' });
    expect(await allKeys(fixture.store, 'data/')).toEqual([]);
    await tagImage();
    await setState('condemned');
    expect(await collectBlob(fixture.context, digest, atOnce)).toEqual({
      outcome: 'referenced',
      revived: true,
    });
    expect(await fixture.blobState(digest)).toBe('live');
  });

  it('a push during the deletion brings bytes of its own, which are not deleted', async () => {
    await push();
    fixture.before('deleteMany', 'data/', () => push());
    await collectBlob(fixture.context, digest, atOnce);
    expect(await read()).toEqual(content);
    expect(await allKeys(fixture.store, 'data/')).toHaveLength(1);
  });

  it('a listing that fails deletes nothing', async () => {
    await push();
    await setState('condemned');
    fixture.before('list', 'refs/', () => Promise.reject(new ObjectStoreUnavailable('no answer')));
    await expect(collectBlob(fixture.context, digest, atOnce)).rejects.toThrow('no answer');
    expect(await read()).toEqual(content);
  });

  it('two collectors at once delete it once', async () => {
    await push();
    await Promise.all([1, 2, 3].map(() => collectBlob(fixture.context, digest, atOnce)));
    await collectBlob(fixture.context, digest, atOnce);
    expect(await fixture.blobState(digest)).toBeUndefined();
    expect(await allKeys(fixture.store, 'data/')).toEqual([]);
  });

  it('a dry run says the same and writes nothing', async () => {
    await push();
    fixture.calls();
    const storeTime = new Date();
    const dry = { dryRun: true, storeTime };
    expect(await collectBlob(fixture.context, digest, { ...dry, ...patient })).toMatchObject({
      outcome: 'condemned',
    });
    expect(await collectBlob(fixture.context, digest, { ...dry, ...atOnce })).toMatchObject({
      outcome: 'deleted',
    });
    expect(fixture.calls().filter((call) => !/^(get|list) /.test(call))).toEqual([]);
    expect(await read()).toEqual(content);
  });

  describe('whose committer comes late', () => {
    const key = dataKey('ab'.repeat(16));
    const commit = (context = fixture.context) =>
      commitBlob(context, {
        repository: 'team/app',
        digest,
        size: content.length,
        bytes: {
          dataKey: key,
          complete: () => fixture.store.put(key, content).then(() => {}),
          discard: () => fixture.store.delete(key),
        },
        stillMine: async () => true,
      });

    it('the bytes of a commit that was collected to its end are not named again', async () => {
      // Its twin, the same request sent twice, commits and is collected between this one's completion and its pointer.
      fixture.before('put', pointerKey(digest), async () => {
        await commit(createContext(fixture.store));
        await collectBlob(createContext(fixture.store), digest, atOnce);
      });
      expect(await commit()).toBeUndefined();
      expect(await fixture.blobState(digest)).toBeUndefined();
    });

    it('a committer whose session is gone does not discard bytes that its twin has committed', async () => {
      const late = commitBlob(fixture.context, {
        repository: 'team/app',
        digest,
        size: content.length,
        bytes: {
          dataKey: key,
          complete: () => fixture.store.put(key, content).then(() => {}),
          discard: () => fixture.store.delete(key),
        },
        stillMine: async () => {
          await commit(createContext(fixture.store));
          return false;
        },
      });
      expect(await late).toMatchObject({ digest });
      expect(await read()).toEqual(content);
    });
  });
});
