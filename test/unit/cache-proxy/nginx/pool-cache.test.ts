import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { parseCacheHeader } from '../../../../cache-proxy/nginx/cache-file.ts';
import { cachePath, createNginxCache, parseKey } from '../../../../cache-proxy/nginx/pool-cache.ts';
import type { CacheEntry, PoolCache } from '../../../../cache-proxy/pool-engine.ts';

/** As nginx 1.22 writes it. */
function cacheFile(key: string, answer: string, body: Buffer): Buffer {
  const head = Buffer.alloc(336);
  const keyLine = Buffer.from(`\nKEY: ${key}\n`);
  const text = Buffer.from(`${answer.replaceAll('\n', '\r\n')}\r\n\r\n`);
  head.writeBigUInt64LE(5n, 0);
  head.writeUInt16LE(head.length + keyLine.length, 54);
  head.writeUInt16LE(head.length + keyLine.length + text.length, 56);
  return Buffer.concat([head, keyLine, text, body]);
}

const digest = `sha256:${'a'.repeat(64)}`;
const slice = 4;

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'by-nginx-cache-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

function put(zone: 'blobs' | 'manifests', key: string, answer: string, body: string): void {
  const file = cachePath(join(folder, zone), key);
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, cacheFile(key, answer, Buffer.from(body)));
}

/** A layer of ten bytes in pieces of four. */
function putLayer(pieces: readonly number[]): void {
  for (const index of pieces) {
    const start = index * slice;
    const body = '0123456789'.slice(start, start + slice);
    const range = `Content-Range: bytes ${start}-${start + body.length - 1}/10`;
    const key = `b|${digest}|bytes=${start}-${start + slice - 1}`;
    put('blobs', key, `HTTP/1.1 206 Partial Content\n${range}\nETag: "x"`, body);
  }
}

async function entriesOf(cache: PoolCache): Promise<CacheEntry[]> {
  const entries: CacheEntry[] = [];
  for await (const entry of cache.entries()) entries.push(entry);
  return entries;
}

describe('nginx’ cache', () => {
  it('keeps a file where nginx looks for it', () => {
    expect(cachePath('/c', 'x')).toBe('/c/6/7a/9dd4e461268c8034f5c8564e155c67a6');
  });

  it('has a layer whole when every piece is there', async () => {
    const cache = createNginxCache({ folder, slice });
    putLayer([0, 2]);
    expect(await cache.coverage(digest)).toEqual({ cached: 6, size: 10, whole: false });
    expect(await cache.read(digest)).toBeUndefined();

    putLayer([1]);

    expect(await cache.coverage(digest)).toEqual({ cached: 10, size: 10, whole: true });
    const body = await cache.read(digest);
    expect(body === undefined ? '' : (await buffer(body)).toString()).toBe('0123456789');
  });

  it('tells the size of a layer whose first piece is gone', async () => {
    putLayer([2]);

    expect(await createNginxCache({ folder, slice }).coverage(digest)).toEqual({
      cached: 2,
      size: 10,
      whole: false,
    });
  });

  it('forgets a blob, a tag for all that clients accept, or a repository', async () => {
    const cache = createNginxCache({ folder, slice });
    putLayer([0, 1, 2]);
    put('manifests', 't|team/app|v1|im---', 'HTTP/1.1 200 OK', '{}');
    put('manifests', 't|team/app|v1|imlda', 'HTTP/1.1 200 OK', '{}');
    put('manifests', `m|team/app|${digest}`, 'HTTP/1.1 200 OK', '{}');
    put('manifests', `m|team/other|${digest}`, 'HTTP/1.1 200 OK', '{}');

    expect((await cache.purge({ repository: 'team/app', tag: 'v1' })).entries).toBe(2);
    expect((await cache.purge({ repository: 'team/app' })).entries).toBe(1);
    expect((await cache.purge({ digest })).entries).toBe(4);
    expect(await cache.usage()).toEqual({ entries: 0, bytes: 0 });
  });

  it('lists what it holds, but not what is still being written', async () => {
    putLayer([1]);
    const [level] = readdirSync(join(folder, 'blobs'));
    writeFileSync(join(folder, 'blobs', level ?? '', `${'0'.repeat(32)}.0000000001`), 'half');

    const entries = await entriesOf(createNginxCache({ folder, slice }));

    expect(entries).toEqual([{ kind: 'blob', digest, offset: 4, bytes: expect.any(Number) }]);
  });

  it('is empty before nginx made its folders', async () => {
    const cache = createNginxCache({ folder: join(folder, 'none'), slice });

    expect(await entriesOf(cache)).toEqual([]);
    expect(await cache.coverage(digest)).toEqual({ cached: 0, whole: false });
    expect(await cache.usage()).toEqual({ entries: 0, bytes: 0 });
  });

  it.each([
    ['nothing', Buffer.of()],
    ['zeros', Buffer.alloc(400)],
    [
      'another version',
      Buffer.concat([Buffer.from([6]), cacheFile('b|x|y', 'HTTP/1.1 200 OK', Buffer.of()).subarray(1)]),
    ],
    [
      'a head without a key',
      Buffer.concat([cacheFile('', '', Buffer.of()).subarray(0, 336), Buffer.alloc(100)]),
    ],
  ])('takes %s for no file of its own', (_what, head) => {
    expect(parseCacheHeader(head)).toBeUndefined();
  });

  it('knows its own keys alone', () => {
    expect(parseKey(`m|docker.io/library/x|${digest}`)).toEqual({
      kind: 'manifest',
      repository: 'docker.io/library/x',
      digest,
    });
    expect(parseKey('t|team/app|v1|imlda')).toEqual({ kind: 'tag', repository: 'team/app', tag: 'v1' });
    expect(parseKey('b|sha256:0|')).toBeUndefined();
    expect(parseKey('$uri')).toBeUndefined();
  });
});
