import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { beforeEach, describe, expect, it, vi } from 'vitest';
import { createMemoryStore } from '../../../../core/object-store/memory.ts';
import type { MultipartState, ObjectStore } from '../../../../core/object-store/object-store.ts';
import { digestOf } from '../../../../oci/digest.ts';
import type { Registry } from '../../../../oci/registry.ts';
import { uploadKey } from '../../../../registry/store/paths.ts';
import { readRecord } from '../../../../registry/store/record.ts';
import { doneSessionLifetime, type SessionHeader } from '../../../../registry/store/upload-session.ts';
import { createStoredRegistry } from '../../../../registry/stored-registry.ts';
import { expectCode } from '../../../suites/registry.ts';
import { allKeys, createContext } from './context.ts';

const content = Buffer.alloc(200_000, 'brick');
const digest = digestOf(content);

describe('an upload session', () => {
  let store: ObjectStore;
  let now: number;
  let registry: Registry;
  const open = (): Registry => createStoredRegistry({ store, clock: () => now, wait: async () => {} });

  beforeEach(() => {
    store = createMemoryStore();
    now = 1_000_000;
    registry = open();
  });

  it.each([
    ['streamed', false],
    ['chunked', true],
  ])('goes on in another server, %s', async (_, chunked) => {
    const { id } = await registry.startUpload('team/app');
    let start = 0;
    for (const end of [10, 5_000, 60_000, 200_000]) {
      const body = Readable.from([content.subarray(start, end)]);
      const options = chunked ? { start, length: end - start, chunked } : {};
      expect((await open().writeUpload('team/app', id, body, options)).offset).toBe(end);
      start = end;
    }

    await open().finishUpload('team/app', id, digest);

    expect(await buffer((await open().getBlob('team/app', digest)).body)).toEqual(content);
  });

  it('shows others what arrived while its body still streams', async () => {
    const { id } = await registry.startUpload('team/app');
    const body = new Readable({ read() {} });
    const writing = registry.writeUpload('team/app', id, body);
    let sent = 100_000;
    body.push(content.subarray(0, sent));

    await vi.waitFor(async () => {
      now += 6_000;
      body.push(content.subarray(sent, sent + 10));
      sent += 10;
      expect((await open().uploadStatus('team/app', id)).offset).toBeGreaterThanOrEqual(100_000);
    });

    body.push(content.subarray(sent));
    body.push(null);
    await writing;
    await registry.finishUpload('team/app', id, digest);
  });

  it('keeps what arrived before the client went away', async () => {
    const { id } = await registry.startUpload('team/app');
    const body = new Readable({ read() {} });
    const writing = expectCode('SIZE_INVALID', () => registry.writeUpload('team/app', id, body));
    body.push(content.subarray(0, 150_000));
    await vi.waitFor(() => expect(body.readableLength).toBe(0));
    body.destroy(new Error('connection reset'));
    await writing;

    const { offset } = await registry.uploadStatus('team/app', id);
    expect(offset).toBe(150_000);
    await registry.writeUpload('team/app', id, Readable.from([content.subarray(offset)]));

    await registry.finishUpload('team/app', id, digest);
  });

  it('waits a little for a writer that is just going away', async () => {
    const { id } = await registry.startUpload('team/app');
    const body = new Readable({ read() {} });
    const writing = registry.writeUpload('team/app', id, body);
    body.push(content.subarray(0, 150_000));
    await vi.waitFor(() => expect(body.readableLength).toBe(0));
    const ending = async (): Promise<void> => {
      body.push(null);
      await writing;
    };
    const patient = createStoredRegistry({ store, clock: () => now, wait: ending });

    // What an upload holds is asked when a request broke off: the answer must count what that one still writes.
    expect((await patient.uploadStatus('team/app', id)).offset).toBe(150_000);
    await patient.writeUpload('team/app', id, Readable.from([content.subarray(150_000)]));

    await registry.finishUpload('team/app', id, digest);
  });

  it('takes a chunk as soon as the writer before has let go', async () => {
    const { id } = await registry.startUpload('team/app');
    await registry.writeUpload('team/app', id, Readable.from([content.subarray(0, 100_000)]));
    const [key, state] = await multipartOf(store, id);
    const holder = await store.multipart.resume(key, state);
    let waits = 0;
    const wait = async (): Promise<void> => {
      waits += 1;
      if (waits === 3) await holder.close();
    };
    const patient = createStoredRegistry({ store, clock: () => now, wait });

    await patient.writeUpload('team/app', id, Readable.from([content.subarray(100_000)]));

    expect(waits).toBe(3);
    await registry.finishUpload('team/app', id, digest);
  });

  it('refuses a second writer, a finish and small chunks while somebody writes', async () => {
    const { id } = await registry.startUpload('team/app');
    const body = new Readable({ read() {} });
    const writing = registry.writeUpload('team/app', id, body);
    body.push(content);
    await vi.waitFor(() => expect(body.readableLength).toBe(0));

    await expectCode('RANGE_INVALID', () => open().writeUpload('team/app', id, Readable.from([content])));
    await expectCode('RANGE_INVALID', () => open().finishUpload('team/app', id, digest));

    body.push(null);
    await writing;
    await registry.finishUpload('team/app', id, digest);
  });

  it('lets one of two racing first chunks win', async () => {
    const { id } = await registry.startUpload('team/app');
    const chunk = content.subarray(0, 100);

    const outcomes = await Promise.allSettled(
      [1, 2, 3].map(() =>
        open().writeUpload('team/app', id, Readable.from([chunk]), { start: 0, length: 100, chunked: true }),
      ),
    );

    expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    expect((await registry.uploadStatus('team/app', id)).offset).toBe(100);
  });

  it('stops a writer whose session was cancelled, and leaves no bytes', async () => {
    const { id } = await registry.startUpload('team/app');
    const body = new Readable({ read() {} });
    const writing = expectCode('BLOB_UPLOAD_UNKNOWN', () => registry.writeUpload('team/app', id, body));
    body.push(content);
    await vi.waitFor(() => expect(body.readableLength).toBe(0));

    await open().cancelUpload('team/app', id);
    body.push(null);
    await writing;

    expect(await allKeys(store)).toEqual([]);
  });

  it('takes no bytes behind a checked digest from a writer that came a moment too late', async () => {
    const { id } = await registry.startUpload('team/app');
    await registry.writeUpload('team/app', id, Readable.from([content]));
    const plain = { ...store.multipart };
    const sealed = Promise.withResolvers<void>();
    const refused = Promise.withResolvers<void>();
    let finishing: Promise<unknown> | undefined;
    vi.spyOn(store.multipart, 'complete').mockImplementation(async (key, state) => {
      sealed.resolve();
      await refused.promise;
      await plain.complete(key, state);
    });
    vi.spyOn(store.multipart, 'resume').mockImplementation(async (key, state) => {
      if (finishing === undefined) {
        // The late writer has read the session; before it gets the lock, another request finishes it.
        finishing = open().finishUpload('team/app', id, digest);
        await sealed.promise;
      }
      return plain.resume(key, state);
    });

    await expectCode('RANGE_INVALID', () => registry.writeUpload('team/app', id, Readable.from([content])));
    refused.resolve();
    await finishing;

    expect(await buffer((await registry.getBlob('team/app', digest)).body)).toEqual(content);
  });

  it('belongs to whom opened it', async () => {
    const { id } = await registry.startUpload('team/app', { owner: 'ann' });

    await expectCode('BLOB_UPLOAD_UNKNOWN', () => registry.uploadStatus('team/app', id, { owner: 'bob' }));
    await expectCode('BLOB_UPLOAD_UNKNOWN', () => registry.uploadStatus('team/app', id));
    expect((await registry.uploadStatus('team/app', id, { owner: 'ann' })).offset).toBe(0);
  });

  it('answers a repeated finish, and is otherwise unknown once it is finished', async () => {
    const { id } = await registry.startUpload('team/app');
    await registry.finishUpload('team/app', id, digest, Readable.from([content]));

    expect((await registry.finishUpload('team/app', id, digest)).size).toBe(content.length);
    expect((await open().finishUpload('team/app', id, digest)).size).toBe(content.length);
    await expectCode('BLOB_UPLOAD_UNKNOWN', () =>
      registry.finishUpload('team/app', id, digestOf(Buffer.from('x'))),
    );
    await expectCode('BLOB_UPLOAD_UNKNOWN', () => registry.uploadStatus('team/app', id));
    await expectCode('BLOB_UPLOAD_UNKNOWN', () => registry.cancelUpload('team/app', id));
    await expectCode('BLOB_UPLOAD_UNKNOWN', () =>
      registry.writeUpload('team/app', id, Readable.from([content])),
    );
    expect(await buffer((await registry.getBlob('team/app', digest)).body)).toEqual(content);
  });

  it('whose bytes were not needed answers a repeated finish for one hour, as long as the blob is there', async () => {
    await registry.putBlob('team/app', digest, content);
    const { id } = await registry.startUpload('team/app');
    await registry.finishUpload('team/app', id, digest, Readable.from([content]));
    expect(await allKeys(store, 'data/')).toHaveLength(1);

    now += doneSessionLifetime;
    expect((await registry.finishUpload('team/app', id, digest)).size).toBe(content.length);
    now += 1;
    await expectCode('BLOB_UPLOAD_UNKNOWN', () => registry.finishUpload('team/app', id, digest));
    now -= 1;
    await registry.deleteBlob('team/app', digest);
    await expectCode('BLOB_UPLOAD_UNKNOWN', () => registry.finishUpload('team/app', id, digest));
  });

  it('is finished by another server than the one that remembers it, and by that one after others went on with it', async () => {
    // As on S3, where a process tries the session as it knows it.
    const shared = { ...store, multipart: { ...store.multipart, exclusive: false } };
    const server = (): Registry =>
      createStoredRegistry({ store: shared, clock: () => now, wait: async () => {} });
    const [first, second] = [server(), server()];
    const parts = [content.subarray(0, 90_000), content.subarray(90_000)] as const;
    const { id } = await first.startUpload('team/app');
    await first.writeUpload('team/app', id, Readable.from([parts[0]]));
    await second.writeUpload('team/app', id, Readable.from([parts[1]]));

    await expectCode('DIGEST_INVALID', () => first.finishUpload('team/app', id, digestOf(parts[0])));
    await first.finishUpload('team/app', id, digest);

    expect(await buffer((await second.getBlob('team/app', digest)).body)).toEqual(content);
  });

  it('is finished without reading it by the server that took its bytes', async () => {
    const get = vi.fn((...args: Parameters<ObjectStore['get']>) => store.get(...args));
    const shared = { ...store, get, multipart: { ...store.multipart, exclusive: false } };
    const server = createStoredRegistry({ store: shared, clock: () => now, wait: async () => {} });
    const { id } = await server.startUpload('team/app');
    await server.writeUpload('team/app', id, Readable.from([content]));
    get.mockClear();

    await server.finishUpload('team/app', id, digest);

    expect(get.mock.calls.map(([key]) => key)).toEqual([]);
    expect(await buffer((await open().getBlob('team/app', digest)).body)).toEqual(content);
  });

  it('is finished by the same request sent three times at once', async () => {
    const { id } = await registry.startUpload('team/app');
    await registry.writeUpload('team/app', id, Readable.from([content]));

    const outcomes = await Promise.allSettled(
      [1, 2, 3].map(() => open().finishUpload('team/app', id, digest)),
    );

    expect(outcomes.some(({ status }) => status === 'fulfilled')).toBe(true);
    expect(await buffer((await registry.getBlob('team/app', digest)).body)).toEqual(content);
    expect(await allKeys(store, 'data/')).toHaveLength(1);
  });

  it('is finished although the dying words of another server arrive in between', async () => {
    const bytes = content.subarray(0, 100);
    const { id } = await registry.startUpload('team/app');
    await registry.writeUpload('team/app', id, Readable.from([bytes]));
    // Its answer never comes, and its write lands when the next one is about to.
    let late: (() => Promise<unknown>) | undefined;
    const dying = createStoredRegistry({
      store: {
        ...store,
        put(key, body, options) {
          if (!key.startsWith('uploads/')) return store.put(key, body, options);
          late = () => store.put(key, body, options);
          return new Promise(() => {});
        },
      },
      clock: () => now,
    });
    void dying.finishUpload('team/app', id, digestOf(bytes));
    await vi.waitFor(() => expect(late).toBeDefined());
    const next = createStoredRegistry({
      store: {
        ...store,
        async put(...args) {
          await late?.();
          late = undefined;
          return store.put(...args);
        },
      },
      clock: () => now,
    });

    const { size } = await next.finishUpload('team/app', id, digestOf(bytes));

    expect(size).toBe(bytes.length);
    expect(await buffer((await open().getBlob('team/app', digestOf(bytes))).body)).toEqual(bytes);
  });

  it('stores a blob that the registry has only once', async () => {
    for (const repository of ['team/a', 'team/b', 'team/a']) {
      const { id } = await registry.startUpload(repository);
      await registry.writeUpload(repository, id, Readable.from([content]));
      await registry.finishUpload(repository, id, digest);
      await registry.putBlob(repository, digest, content);
    }

    expect(await allKeys(store, 'data/')).toHaveLength(1);
  });

  it('keeps no data object for small blobs', async () => {
    const { id } = await registry.startUpload('team/app');
    await registry.writeUpload('team/app', id, Readable.from([content.subarray(0, 8192)]));
    await registry.finishUpload('team/app', id, digestOf(content.subarray(0, 8192)));
    await registry.putBlob('team/app', digestOf('x'), Buffer.from('x'));

    expect(await allKeys(store, 'data/')).toEqual([]);
  });

  it('reads back what arrived at most once, however many bodies follow without a Content-Range', async () => {
    const read = vi.spyOn(store.multipart, 'read');
    const { id } = await registry.startUpload('team/app');

    for (let start = 0; start < content.length; start += 20_000) {
      const body = Readable.from([content.subarray(start, start + 20_000)]);
      await registry.writeUpload('team/app', id, body);
    }
    await registry.finishUpload('team/app', id, digest);

    expect(read).toHaveBeenCalledTimes(1);
  });

  it('hashes only once when the client names the algorithm at the start', async () => {
    const read = vi.spyOn(store.multipart, 'read');
    const { id } = await registry.startUpload('team/app', { algorithm: 'sha512' });
    await registry.writeUpload('team/app', id, Readable.from([content]));

    await registry.finishUpload('team/app', id, digestOf(content, 'sha512'));

    expect(read).not.toHaveBeenCalled();
  });
});

describe('putBlob', () => {
  it.each([
    ['a wrong digest', 'DIGEST_INVALID', digestOf('x'), content.length],
    ['a short body', 'SIZE_INVALID', digest, content.length + 1],
    ['a long body', 'SIZE_INVALID', digest, content.length - 1],
  ] as const)('leaves nothing behind after %s', async (_, code, given, length) => {
    const store = createMemoryStore();
    const registry = createStoredRegistry({ store });

    await expectCode(code, () => registry.putBlob('team/app', given, Readable.from([content]), { length }));

    expect(await allKeys(store)).toEqual([]);
  });
});

async function multipartOf(store: ObjectStore, id: string): Promise<[string, MultipartState]> {
  const { header } = await readRecord<SessionHeader>(createContext(store), uploadKey(id));
  if (header?.multipart === undefined) throw new Error('the upload is still small');
  return [header.dataKey, header.multipart];
}
