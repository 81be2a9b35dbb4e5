import {
  closeSync,
  existsSync,
  readdirSync,
  readFileSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type CacheStore, NoRoom, openCacheStore } from '../../../../cache-proxy/embedded/cache-store.ts';
import { manifestKey, tagKey } from '../../../../cache-proxy/embedded/documents.ts';
import type { CacheLimits } from '../../../../cache-proxy/pools/pool.ts';
import { digestOf } from '../../../../oci/digest.ts';
import { createTempDirectory, type TempDirectory } from '../../../helpers/temp.ts';

const log = { info() {}, warn() {}, error() {} };
const slice = 1000;

let folder: TempDirectory;
let time: number;
let busy: Set<string>;
beforeEach(async () => {
  folder = await createTempDirectory('cache');
  time = Date.now();
  busy = new Set();
});
afterEach(() => folder.remove());

function open(limits: Partial<CacheLimits> = {}): Promise<CacheStore> {
  return openCacheStore({
    folder: join(folder.path, 'cache'),
    limits: { folder: folder.path, maxSize: 1e6, minFree: 0, inactive: 86_400_000, slice, ...limits },
    log,
    busy: (digest) => busy.has(digest),
    now: () => time,
  });
}

/** A blob of two and a half pieces, unless only some are named. */
async function put(
  store: CacheStore,
  name: string,
  pieces = [0, 1, 2],
): Promise<ReturnType<typeof digestOf>> {
  const digest = digestOf(name);
  for (const piece of pieces) {
    const writer = store.beginPiece({ digest, size: 2500, slice }, piece);
    await writer.write(Buffer.alloc(piece === 2 ? 500 : 1000, name), 0);
    writer.commit();
    writer.close();
  }
  return digest;
}

const filesIn = (path: string): string[] =>
  readdirSync(path, { recursive: true, withFileTypes: true }).flatMap((entry) =>
    entry.isFile() ? [entry.name] : [],
  );

describe('what a cache keeps', () => {
  it('is there again when it is opened anew, in the order of its last use', async () => {
    const store = await open();
    const [a, b] = [await put(store, 'a'), await put(store, 'b', [1])];
    await store.markVerified(a);
    const body = Buffer.from('{"schemaVersion":2}');
    const manifest = {
      kind: 'manifest',
      repository: 'team/app',
      digest: digestOf(body),
      contentType: 'x/y',
      body,
    } as const;
    store.putDocument(manifest);
    const { digest } = manifest;
    const tag = {
      kind: 'tag',
      repository: 'team/app',
      digest,
      tag: 'v1',
      accept: 'oci',
      contentType: 'x/y',
      etag: '"1"',
    } as const;
    store.putDocument(tag);
    time += 7_200_000;
    store.touch(store.blob(a));

    const again = await open();

    expect(again.entries().at(-1)).toBe(again.blob(a));
    expect(again.blob(a)).toMatchObject({ size: 2500, slice, verified: true, pieces: new Set([0, 1, 2]) });
    expect(again.blob(b)).toMatchObject({ verified: false, pieces: new Set([1]) });
    expect(again.document(manifestKey('team/app', digest))).toEqual(manifest);
    expect(again.document(tagKey('team/app', 'v1', 'oci'))).toEqual(tag);
    expect(again.usage()).toEqual(store.usage());
  });

  it('has no piece that was not finished, and no file of one', async () => {
    const store = await open();
    const digest = digestOf('a');
    const writer = store.beginPiece({ digest, size: 2500, slice }, 0);
    await writer.write(Buffer.alloc(700), 0);
    expect(store.openPiece(digest, 0)).toBeUndefined();

    // As after a crash.
    const again = await open();

    expect([again.usage(), again.blob(digest)]).toEqual([{ entries: 0, bytes: 0 }, undefined]);
    expect(filesIn(join(folder.path, 'cache'))).toEqual(['format']);
    writer.discard();
    writer.close();
  });

  it('leaves out what the disk lost a part of, and does not believe that the rest was compared', async () => {
    const store = await open();
    const digest = await put(store, 'a');
    await store.markVerified(digest);
    const lost = join(blobFolder(), '2500.1000.1');
    truncateSync(lost, 10);

    const again = await open();

    expect(again.blob(digest)).toMatchObject({ pieces: new Set([0, 2]), verified: false });
    expect([existsSync(lost), existsSync(join(blobFolder(), 'verified'))]).toEqual([false, false]);
  });

  it('a piece that somebody removed by hand is not here', async () => {
    const store = await open();
    const digest = await put(store, 'a');
    const file = join(blobFolder(), '2500.1000.0');
    await folder.remove();

    expect(existsSync(file)).toBe(false);
    expect([store.openPiece(digest, 0), store.blob(digest)?.pieces.has(0)]).toEqual([undefined, false]);
  });

  it('a manifest whose file was damaged is not here', async () => {
    const store = await open();
    const body = Buffer.from('{"schemaVersion":2}');
    store.putDocument({ kind: 'manifest', repository: 'a', digest: digestOf(body), contentType: 'x', body });
    const [name = ''] = filesIn(join(folder.path, 'cache', 'documents'));
    const path = join(folder.path, 'cache', 'documents', name.slice(0, 2), name);
    writeFileSync(
      path,
      readFileSync(path).map((byte, at, all) => (at === all.length - 2 ? byte ^ 1 : byte)),
    );

    const again = await open();

    expect(again.manifest(manifestKey('a', digestOf(body)))).toBeUndefined();
    expect(again.usage().entries).toBe(0);
  });

  it('a folder that holds something else is refused', async () => {
    writeFileSync(join(folder.path, 'photo.jpg'), 'x');

    const opened = openCacheStore({
      folder: folder.path,
      limits: { folder: folder.path, maxSize: 1, minFree: 0, inactive: 1, slice },
      log,
      busy: () => false,
    });

    await expect(opened).rejects.toThrow('give cache.folder a folder of its own');
    expect(existsSync(join(folder.path, 'photo.jpg'))).toBe(true);
  });

  function blobFolder(): string {
    const parent = join(folder.path, 'cache', 'blobs', digestOf('a').slice(7, 9));
    return join(parent, readdirSync(parent)[0] ?? '');
  }
});

describe('the limits of a cache', () => {
  it('the longest unused goes for what comes, from its end', async () => {
    const store = await open({ maxSize: 5000 });
    const [a, b] = [await put(store, 'a'), await put(store, 'b')];

    const c = await put(store, 'c', [0]);

    expect(store.blob(a)?.pieces).toEqual(new Set([0]));
    expect([store.blob(b)?.pieces.size, store.blob(c)?.pieces.size]).toEqual([3, 1]);
    expect([store.usage().bytes, store.evicted()]).toEqual([4500, { entries: 2, bytes: 1500 }]);
    expect(filesIn(join(folder.path, 'cache', 'blobs')).length).toBe(5);
  });

  it('what is used goes last', async () => {
    const store = await open({ maxSize: 5000 });
    const [a, b] = [await put(store, 'a'), await put(store, 'b')];
    store.touch(store.blob(a));

    await put(store, 'c', [0]);

    expect([store.blob(a)?.pieces.size, store.blob(b)?.pieces.size]).toEqual([3, 1]);
  });

  it('counts what is being written, so that many at once stay within', async () => {
    const store = await open({ maxSize: 2500 });
    const [digest, size] = [digestOf('a'), 2500];
    const writers = [0, 1, 2].map((piece) => store.beginPiece({ digest, size, slice }, piece));

    expect(() => store.beginPiece({ digest: digestOf('b'), size, slice }, 0)).toThrow(NoRoom);

    for (const writer of writers) {
      writer.discard();
      writer.close();
    }
    expect((await put(store, 'b')).length).toBeGreaterThan(0);
  });

  it('of a blob that is larger than the cache, what was read already goes', async () => {
    const store = await open({ maxSize: 2000 });
    busy.add(digestOf('a'));

    const digest = await put(store, 'a');

    expect(store.blob(digest)?.pieces).toEqual(new Set([1, 2]));
  });

  it('leaves so much of the disk free', async () => {
    const store = await open();
    await put(store, 'a');
    store.limits = { ...store.limits, minFree: Number.MAX_SAFE_INTEGER };

    expect(() => store.beginPiece({ digest: digestOf('b'), size: 2500, slice }, 0)).toThrow(NoRoom);
    expect(store.usage()).toEqual({ entries: 0, bytes: 0 });
  });

  it('what nobody asked for goes in time, unless somebody reads it', async () => {
    const store = await open();
    const [a, b] = [await put(store, 'a'), await put(store, 'b')];
    busy.add(b);
    time += 86_400_001;
    const c = await put(store, 'c');

    store.sweep();

    expect([a, b, c].map((digest) => store.blob(digest) === undefined)).toEqual([true, false, false]);
  });

  it('an eviction takes back that the blob was compared', async () => {
    const store = await open({ maxSize: 3000 });
    const a = await put(store, 'a');
    await store.markVerified(a);

    await put(store, 'b', [0]);

    expect(store.blob(a)?.verified).toBe(false);
    expect(filesIn(join(folder.path, 'cache', 'blobs'))).not.toContain('verified');
  });

  it('what was removed by somebody stays readable to who reads it', async () => {
    const store = await open();
    const digest = await put(store, 'a');
    const fd = store.openPiece(digest, 0) ?? -1;
    const blob = store.blob(digest);

    const freed = blob === undefined ? undefined : store.remove(blob);

    expect(freed).toEqual({ entries: 3, bytes: 2500 });
    expect(readFileSync(fd).length).toBe(1000);
    closeSync(fd);
  });
});

describe('a cache of another version', () => {
  it('is emptied', async () => {
    const store = await open();
    await put(store, 'a');
    writeFileSync(join(folder.path, 'cache', 'format'), 'embedded 0\n');
    utimesSync(folder.path, 1, 1);

    const again = await open();

    expect(again.usage().entries).toBe(0);
    expect(filesIn(join(folder.path, 'cache'))).toEqual(['format']);
  });
});
