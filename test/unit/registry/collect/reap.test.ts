import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { digestOf } from '../../../../oci/digest.ts';
import { reapIncomplete, reapSession } from '../../../../registry/collect/reap.ts';
import { uploadDataKey, uploadKey } from '../../../../registry/store/paths.ts';
import { readRecord } from '../../../../registry/store/record.ts';
import {
  replaceSession,
  type Session,
  type SessionHeader,
} from '../../../../registry/store/upload-session.ts';
import { createStoredRegistry } from '../../../../registry/stored-registry.ts';
import { expectCode } from '../../../suites/registry.ts';
import { allKeys, createContext } from '../store/context.ts';
import { type CollectFixture, createFixture, day, hour } from './fixture.ts';

const repository = 'team/app';
const content = Buffer.alloc(20_000, 'layer');
const digest = digestOf(content);
const times = { idleMs: day, doneMs: hour };
const atOnce = { idleMs: 0, doneMs: 0 };

describe('reaping upload sessions', () => {
  let fixture: CollectFixture;
  let id: string;
  beforeEach(async () => {
    fixture = createFixture();
    ({ id } = await fixture.registry.startUpload(repository));
    await fixture.registry.writeUpload(repository, id, Readable.from([content]));
  });
  afterEach(() => {
    vi.useRealTimers();
  });
  const reap = (options = times) => reapSession(fixture.context, id, options);
  const finish = () => fixture.registry.finishUpload(repository, id, digest);
  const read = async () => buffer((await fixture.registry.getBlob(repository, digest)).body);

  it('one that nobody went on with for a day goes, with its bytes', async () => {
    fixture.advance(day - 1);
    expect(await reap()).toMatchObject({ outcome: 'kept', waitMs: 1 });
    fixture.advance(1);
    expect(await reap()).toEqual({ outcome: 'reaped', bytes: content.length });
    await expectCode('BLOB_UPLOAD_UNKNOWN', () => fixture.registry.uploadStatus(repository, id));
    expect(await allKeys(fixture.store, 'uploads/')).toEqual([]);
    expect(await reap()).toEqual({ outcome: 'absent' });
  });

  it('one that got bytes meanwhile stays', async () => {
    fixture.before('put', uploadKey(id), async () => {
      await fixture.registry.writeUpload(repository, id, Readable.from([Buffer.from('more')]));
    });
    expect(await reap(atOnce)).toEqual({ outcome: 'changed' });
    expect((await fixture.registry.uploadStatus(repository, id)).offset).toBe(content.length + 4);
  });

  it('a finished one is remembered for an hour, then forgotten, and its blob stays and is hinted at', async () => {
    await finish();
    fixture.advance(hour - 1);
    expect(await reap()).toMatchObject({ outcome: 'kept' });
    fixture.advance(1);
    expect(await reap()).toEqual({ outcome: 'reaped', bytes: 0 });
    expect(await read()).toEqual(content);
    expect(await allKeys(fixture.store, 'gcq/new/')).toHaveLength(1);
  });

  it('a finisher that comes when the reaper has taken the session is refused, and leaves nothing', async () => {
    const store = fixture.store;
    const slow = createStoredRegistry({ store, wait: async () => {} });
    fixture.before('put', 'blobs/', () => reapSession(createContext(store), id, atOnce));
    await expectCode('BLOB_UPLOAD_UNKNOWN', () => slow.finishUpload(repository, id, digest));
    expect(await allKeys(store, 'data/')).toEqual([]);
  });

  it('one whose finisher died before the blob was committed waits a day for the client to come back', async () => {
    const { store } = fixture;
    const dying = createStoredRegistry({
      store: {
        ...store,
        put: async (key, ...rest) =>
          key.startsWith('blobs/') ? new Promise(() => {}) : store.put(key, ...rest),
      },
    });
    void dying.finishUpload(repository, id, digest);
    await vi.waitFor(async () => {
      const { header } = await readRecord<SessionHeader>(fixture.context, uploadKey(id));
      expect(header?.state).toBe('committing');
    });
    fixture.advance(hour);
    expect(await reap()).toMatchObject({ outcome: 'kept' });
    expect((await finish()).size).toBe(content.length);
    expect(await reap()).toEqual({ outcome: 'reaped', bytes: 0 });
    expect(await read()).toEqual(content);
  });

  it('takes up what a dead reaper left', async () => {
    const session = (await readRecord<SessionHeader>(fixture.context, uploadKey(id))) as Session;
    await replaceSession(fixture.context, id, session, { state: 'reaping' });
    expect(await reap()).toMatchObject({ outcome: 'reaped' });
    expect(await allKeys(fixture.store, 'uploads/')).toEqual([]);
  });

  it('bytes that a finisher did not come to discard go with his session', async () => {
    await finish();
    const { header } = await readRecord<SessionHeader>(fixture.context, uploadKey(id));
    await fixture.registry.deleteBlob(repository, digest);
    const spare = 'data/ff/spare';
    await fixture.store.put(spare, content);
    const session = (await readRecord<SessionHeader>(fixture.context, uploadKey(id))) as Session;
    await replaceSession(fixture.context, id, session, { dataKey: spare });
    expect(await reap(atOnce)).toEqual({ outcome: 'reaped', bytes: content.length });
    expect(await allKeys(fixture.store, 'data/')).toEqual([header?.dataKey]);
  });

  it('a dry run writes nothing', async () => {
    fixture.calls();
    const dry = { ...atOnce, dryRun: true, storeTime: new Date() };
    expect(await reapSession(fixture.context, id, dry)).toMatchObject({ outcome: 'reaped' });
    expect(fixture.calls().filter((call) => !/^(get|head|list) /.test(call))).toEqual([]);
  });

  it('where uploads have no lock, what a writer left who died before the session knew of him goes with it', async () => {
    const store = { ...fixture.store, multipart: { ...fixture.store.multipart, exclusive: false } };
    const unnamed = [uploadDataKey(id, 'a'.repeat(32)), `${uploadDataKey(id, 'b'.repeat(32))}/piece`];
    const other = uploadDataKey('0'.repeat(32), 'c'.repeat(32));
    for (const key of [...unnamed, other]) await fixture.store.put(key, content);

    expect(await reapSession(createContext(store), id, atOnce)).toMatchObject({ outcome: 'reaped' });

    expect(await allKeys(fixture.store, 'data/')).toEqual([other]);
  });

  it('incomplete uploads are aborted when they are old and no session owns them', async () => {
    const aborted: string[] = [];
    const upload = (key: string, initiated: number) => ({
      key,
      initiated: new Date(initiated),
      abort: async () => void aborted.push(key),
    });
    const now = Date.now();
    const incomplete = async function* () {
      yield upload('data/aa/old', now - day);
      yield upload('data/bb/owned', now - day);
      yield upload('data/cc/young', now - day + 1);
    };
    const store = { ...fixture.store, multipart: { ...fixture.store.multipart, incomplete } };
    const count = await reapIncomplete(createContext(store), {
      olderThanMs: day,
      isOwned: (key) => key === 'data/bb/owned',
    });
    expect(count).toBe(1);
    expect(aborted).toEqual(['data/aa/old']);
  });
});
