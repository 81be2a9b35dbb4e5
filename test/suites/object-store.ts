import { randomBytes, randomUUID } from 'node:crypto';
import type { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  type ListOptions,
  MultipartBusy,
  MultipartUnknown,
  type ObjectStore,
  ObjectStoreUnavailable,
  PreconditionFailed,
  RangeNotSatisfiable,
} from '../../core/object-store/object-store.ts';

export interface StoreUnderTest {
  readonly store: ObjectStore;
  /** Removes everything and stops what was started. */
  close(): Promise<void> | void;
}

export interface ObjectStoreSuiteOptions {
  /** The store keeps keys that lie below another key and reads them, but does not list them (MinIO). */
  readonly hidesKeysBelowKeys?: boolean;
}

/** What every driver of the object store must do. */
export function objectStoreSuite(
  name: string,
  open: () => Promise<StoreUnderTest> | StoreUnderTest,
  options: ObjectStoreSuiteOptions = {},
): void {
  describe(`${name} is an object store`, () => {
    let opened: StoreUnderTest;
    let store: ObjectStore;
    beforeEach(async () => {
      opened = await open();
      store = opened.store;
    });
    afterEach(async () => {
      await opened.close();
    });

    const text = async (key: string) => (await store.get(key))?.body.toString();
    const keys = async (options: ListOptions) =>
      (await store.list(options)).objects.map((object) => object.key);
    const read = async (body: Readable | undefined) => body && (await buffer(body));
    const fill = async (names: readonly string[]) => {
      for (const key of names) await store.put(key, Buffer.from(key), { durability: 'process' });
    };

    describe('reading and writing', () => {
      it('gives back what was put, with size, time and one ETag from every method', async () => {
        const before = Date.now() - 5_000;

        const { etag } = await store.put('a/b', Buffer.from('hello'));

        const got = await store.get('a/b');
        const head = await store.head('a/b');
        const streamed = await store.getStream('a/b');
        expect(got?.body.toString()).toBe('hello');
        expect((await read(streamed?.body))?.toString()).toBe('hello');
        expect([got?.size, head?.size, streamed?.size]).toEqual([5, 5, 5]);
        expect([got?.etag, head?.etag, streamed?.etag]).toEqual([etag, etag, etag]);
        expect(head?.modified.getTime()).toBeGreaterThan(before);
      });

      it('answers undefined for what is not there', async () => {
        await store.put('a/b', Buffer.from('x'));

        expect(await store.get('a')).toBeUndefined();
        expect(await store.head('a/b/c')).toBeUndefined();
        expect(await store.getStream('b')).toBeUndefined();
      });

      it('keeps empty objects', async () => {
        await store.put('empty', Buffer.alloc(0));

        expect((await store.get('empty'))?.size).toBe(0);
        expect(await read((await store.getStream('empty'))?.body)).toHaveLength(0);
      });

      it('replaces the whole object and names the new version', async () => {
        const first = await store.put('a', Buffer.from('a long first body'));
        const second = await store.put('a', Buffer.from('short'));

        expect(await text('a')).toBe('short');
        expect(second.etag).not.toBe(first.etag);
        expect((await store.head('a'))?.etag).toBe(second.etag);
      });

      it.each([1_000, 64 * 1024, 64 * 1024 + 1, 3_000_000])('keeps %d bytes', async (size) => {
        const body = randomBytes(size);

        const { etag } = await store.put('body', body);

        expect((await store.get('body'))?.body.equals(body)).toBe(true);
        expect((await read((await store.getStream('body'))?.body))?.equals(body)).toBe(true);
        expect((await store.head('body'))?.etag).toBe(etag);
      });

      it('is not changed when the caller uses the buffer again', async () => {
        const body = Buffer.from('before');
        await store.put('a', body);
        body.write('after!');

        expect(await text('a')).toBe('before');
      });

      it('cuts a get at its limit and still says size and ETag of the whole', async () => {
        const { etag } = await store.put('a', Buffer.from('0123456789'));

        const cut = await store.get('a', { limit: 4 });

        expect(cut?.body.toString()).toBe('0123');
        expect(cut?.size).toBe(10);
        expect(cut?.etag).toBe(etag);
      });

      it.each([
        [0, 0, '0'],
        [3, 5, '345'],
        [8, 9, '89'],
        [8, 4_000, '89'],
      ])('streams the bytes %d to %d', async (start, end, expected) => {
        await store.put('a', Buffer.from('0123456789'));

        const part = await store.getStream('a', { start, end });

        expect((await read(part?.body))?.toString()).toBe(expected);
        expect(part?.size).toBe(10);
      });

      it('refuses a range that begins behind the end', async () => {
        await store.put('a', Buffer.from('0123456789'));

        await expect(store.getStream('a', { start: 10, end: 12 })).rejects.toThrow(RangeNotSatisfiable);
        expect(await store.getStream('b', { start: 10, end: 12 })).toBeUndefined();
      });

      it('lets a stream be given up half way', async () => {
        await store.put('a', randomBytes(3_000_000));

        const stream = await store.getStream('a');
        for await (const _ of stream?.body ?? []) break;

        expect(stream?.body.destroyed).toBe(true);
      });
    });

    describe('compare-and-set', () => {
      it('creates only once', async () => {
        await store.put('a', Buffer.from('first'), { ifNoneMatch: '*' });

        await expect(store.put('a', Buffer.from('second'), { ifNoneMatch: '*' })).rejects.toThrow(
          PreconditionFailed,
        );
        expect(await text('a')).toBe('first');
      });

      it('replaces only the version it names', async () => {
        const first = await store.put('a', Buffer.from('1'));
        const second = await store.put('a', Buffer.from('2'), { ifMatch: first.etag });

        await expect(store.put('a', Buffer.from('3'), { ifMatch: first.etag })).rejects.toThrow(
          PreconditionFailed,
        );
        await store.put('a', Buffer.from('4'), { ifMatch: second.etag });
        expect(await text('a')).toBe('4');
      });

      it('replaces nothing that is not there', async () => {
        const { etag } = await store.put('a', Buffer.from('1'));
        await store.delete('a');

        await expect(store.put('a', Buffer.from('2'), { ifMatch: etag })).rejects.toThrow(PreconditionFailed);
        expect(await text('a')).toBeUndefined();
      });

      it('has exactly one winner among many creators', async () => {
        const results = await Promise.allSettled(
          Array.from({ length: 16 }, (_, index) =>
            store.put('race', Buffer.from(`${index}`), { ifNoneMatch: '*' }),
          ),
        );

        const winners = results.flatMap((result, index) => (result.status === 'fulfilled' ? [index] : []));
        expect(winners).toHaveLength(1);
        expect(await text('race')).toBe(`${winners[0]}`);
      });

      it('loses no increment of a counter', async () => {
        // With a nonce, as whatever is changed by compare-and-set: losers may be told that nothing is known of their write (Ceph: 500).
        const numberOf = (body: Buffer | undefined): number => Number(body?.toString().split(' ')[0]);
        await store.put('counter', Buffer.from('0 -'));
        const increment = async (): Promise<void> => {
          for (;;) {
            const now = await store.get('counter');
            if (now === undefined) throw new Error('the counter is gone');
            const body = Buffer.from(`${numberOf(now.body) + 1} ${randomUUID()}`);
            for (let sent = 1; ; sent++) {
              try {
                await store.put('counter', body, { ifMatch: now.etag, durability: 'process' });
                return;
              } catch (error) {
                if (error instanceof ObjectStoreUnavailable) continue;
                if (!(error instanceof PreconditionFailed)) throw error;
                if (sent > 1 && (await store.get('counter'))?.body.equals(body) === true) return;
                break;
              }
            }
          }
        };

        await Promise.all(Array.from({ length: 20 }, increment));

        expect(numberOf((await store.get('counter'))?.body)).toBe(20);
      });
    });

    describe('deleting', () => {
      it('removes one, and does not mind when it is not there', async () => {
        await fill(['a/b/c', 'a/b/d']);

        await store.delete('a/b/c');
        await store.delete('a/b/c');

        expect(await keys({ prefix: '' })).toEqual(['a/b/d']);
      });

      it('removes many', async () => {
        await fill(['a/1', 'a/2', 'b/1', 'c']);

        await store.deleteMany(['a/1', 'b/1', 'nothing', 'c']);
        await store.deleteMany([]);

        expect(await keys({ prefix: '' })).toEqual(['a/2']);
      });

      it('leaves keys below and above alone', async () => {
        await fill(['a', 'a/b', 'a/b/c']);

        await store.delete('a/b');

        expect([await text('a'), await text('a/b'), await text('a/b/c')]).toEqual(['a', undefined, 'a/b/c']);
      });
    });

    describe('keys', () => {
      it('may be prefixes of one another', async () => {
        await fill(['catalog/a', 'catalog/a/b', 'catalog']);

        expect(await text('catalog')).toBe('catalog');
        expect(await text('catalog/a')).toBe('catalog/a');
        expect(await text('catalog/a/b')).toBe('catalog/a/b');
      });

      it.each([
        ['a part of 255 bytes', 'x'.repeat(255)],
        ['a part of 255 bytes with more below', `${'x'.repeat(255)}/${'y'.repeat(255)}/z`],
        ['255 bytes of umlauts', `a/${'ä'.repeat(127)}b/c`],
        ['text beyond ASCII', 'größe/日本/🙂'],
        ['characters that mean something elsewhere', 'a=/b~/c+~/~/=/%2F/\\/a b/:*?"<>|'],
        ['a digest and an attempt', 'refs/sha256/ab/sha256:cd#1/team/app'],
      ])('may hold %s', async (_, key) => {
        await fill([key]);

        expect(await text(key)).toBe(key);
        expect(await keys({ prefix: '' })).toEqual([key]);
        await store.delete(key);
        expect(await keys({ prefix: '' })).toEqual([]);
      });

      it.each([
        '',
        '/',
        'a//b',
        '/a',
        'a/',
        '.',
        'a/..',
        '../a',
        'a/./b',
        'a\0b',
        'x'.repeat(256),
        'a/'.repeat(600),
      ])('are refused when they are %j', async (key) => {
        await expect(async () => store.put(key, Buffer.from('x'))).rejects.toThrow(TypeError);
        await expect(async () => store.get(key)).rejects.toThrow(TypeError);
      });
    });

    describe('listing', () => {
      it('goes by the bytes of the whole key', async () => {
        const names = [
          'a',
          'a!',
          'a-b',
          'a.b',
          'a/b',
          'a/b/c',
          'a/b-',
          'a0',
          'aa',
          'B',
          'ä',
          '\uffee',
          '🙂',
          'z',
        ].filter((key) => options.hidesKeysBelowKeys !== true || !/^a(\/b)?$/.test(key));
        await fill(names.toReversed());

        const sorted = names.toSorted((x, y) => Buffer.compare(Buffer.from(x), Buffer.from(y)));
        expect(await keys({ prefix: '' })).toEqual(sorted);
      });

      it('says size and time', async () => {
        await store.put('a', Buffer.from('12345'));

        const [only] = (await store.list({ prefix: '' })).objects;

        expect(only?.size).toBe(5);
        expect(Math.abs((only?.modified.getTime() ?? 0) - Date.now())).toBeLessThan(10_000);
      });

      it('takes a prefix that ends anywhere', async () => {
        await fill(['ab', 'abc/d', 'abd', 'b']);

        expect(await keys({ prefix: 'ab' })).toEqual(['ab', 'abc/d', 'abd']);
        expect(await keys({ prefix: 'abc/' })).toEqual(['abc/d']);
        expect(await keys({ prefix: 'x' })).toEqual([]);
        expect(await keys({ prefix: '../' })).toEqual([]);
      });

      it('folds what lies below the delimiter', async () => {
        await fill(['a/x', 'a/y/z', 'b', 'c/x']);

        const page = await store.list({ prefix: '', delimiter: '/' });
        const below = await store.list({ prefix: 'a/', delimiter: '/' });

        expect(page.objects.map((object) => object.key)).toEqual(['b']);
        expect(page.prefixes).toEqual(['a/', 'c/']);
        expect(below.objects.map((object) => object.key)).toEqual(['a/x']);
        expect(below.prefixes).toEqual(['a/y/']);
      });

      it.each([undefined, '/' as const])(
        'gives every entry once, page by page (delimiter %s)',
        async (delimiter) => {
          await fill(Array.from({ length: 23 }, (_, index) => `p/${index % 5}/${index}`));
          await fill(['p/0', 'p/1-x', 'p/2.y', 'q']);
          const all = await store.list({ prefix: 'p/', ...(delimiter && { delimiter }) });
          const everything = [...all.objects.map((object) => object.key), ...all.prefixes].sort();

          for (const limit of [1, 2, 7]) {
            const seen: string[] = [];
            let startAfter: string | undefined;
            do {
              const page = await store.list({
                prefix: 'p/',
                limit,
                ...(delimiter && { delimiter }),
                ...(startAfter !== undefined && { startAfter }),
              });
              seen.push(...page.objects.map((object) => object.key), ...page.prefixes);
              expect(page.objects.length + page.prefixes.length).toBeLessThanOrEqual(limit);
              startAfter = page.next;
            } while (startAfter !== undefined);
            expect(seen.toSorted()).toEqual(everything);
          }
        },
      );

      it('starts after a key that need not exist', async () => {
        await fill(options.hidesKeysBelowKeys === true ? ['a/b', 'b', 'c'] : ['a', 'a/b', 'b', 'c']);

        expect(await keys({ prefix: '', startAfter: 'a' })).toEqual(['a/b', 'b', 'c']);
        expect(await keys({ prefix: '', startAfter: 'a/a' })).toEqual(['a/b', 'b', 'c']);
        expect(await keys({ prefix: '', startAfter: 'bb' })).toEqual(['c']);
        expect(await keys({ prefix: 'b', startAfter: 'a' })).toEqual(['b']);
      });

      it('sees every write and deletion that was acknowledged', async () => {
        for (let index = 0; index < 20; index++) {
          await store.put(`n/${index}`, Buffer.from('x'), { durability: 'process' });
          expect(await keys({ prefix: 'n/' })).toContain(`n/${index}`);
        }
        await store.delete('n/7');
        expect(await keys({ prefix: 'n/' })).not.toContain('n/7');
      });

      it('makes references durable by their prefixes', async () => {
        await store.put('refs/a/1/team/app', Buffer.alloc(0), { durability: 'process' });

        await store.syncPrefixes(['refs/a/1/', 'refs/nothing/', '']);

        expect(await keys({ prefix: 'refs/' })).toEqual(['refs/a/1/team/app']);
      });
    });

    describe('multipart', () => {
      const part = (letter: string) => Buffer.from(letter);

      it('makes one object of what came in several requests', async () => {
        const chunks = [part('a'), part('b'), randomBytes(100_000)];
        let state = await store.multipart.create('data/1');

        for (const chunk of chunks) {
          const writer = await store.multipart.resume('data/1', JSON.parse(JSON.stringify(state)));
          await writer.write(Buffer.from(chunk));
          state = await writer.checkpoint();
          await writer.close();
        }
        expect(await store.get('data/1')).toBeUndefined();
        await store.multipart.complete('data/1', state);

        expect(state.offset).toBe(100_002);
        expect((await read((await store.getStream('data/1'))?.body))?.equals(Buffer.concat(chunks))).toBe(
          true,
        );
        expect((await store.head('data/1'))?.etag).toBe((await store.get('data/1'))?.etag);
      });

      it('keeps every byte, whatever the sizes of requests and chunks', async () => {
        const body = randomBytes(Math.max(1 * 2, 9_000_000));
        // The first parts are as large as S3 wants them; where a request ends is no multiple of anything.
        const ends = [1 + 4_097, 1 + 2_100_001, body.length - 3, body.length];
        const chunkSizes = [65_536, 1_048_577, 300_001, 1];
        let state = await store.multipart.create('data/odd');
        let at = 0;

        for (const [index, end] of ends.entries()) {
          const writer = await store.multipart.resume('data/odd', state);
          while (at < end) {
            const size = Math.min(chunkSizes[index] ?? 1, end - at);
            await writer.write(Buffer.from(body.subarray(at, at + size)));
            at += size;
          }
          state = await writer.checkpoint();
          await writer.close();
        }
        await store.multipart.complete('data/odd', state);

        expect((await read((await store.getStream('data/odd'))?.body))?.equals(body)).toBe(true);
      });

      it('can be completed twice', async () => {
        const state = await store.multipart.create('data/1');
        const writer = await store.multipart.resume('data/1', state);
        await writer.write(Buffer.from('x'));
        const end = await writer.checkpoint();
        await writer.close();

        await store.multipart.complete('data/1', end);
        await store.multipart.complete('data/1', end);

        expect(await text('data/1')).toBe('x');
      });

      it('makes an empty object of nothing', async () => {
        const state = await store.multipart.create('data/1');

        await store.multipart.complete('data/1', state);

        expect((await store.head('data/1'))?.size).toBe(0);
      });

      it('drops what came after the last checkpoint', async () => {
        const state = await store.multipart.create('data/1');
        const writer = await store.multipart.resume('data/1', state);
        await writer.write(part('a'));
        const kept = await writer.checkpoint();
        await writer.write(part('b'));
        await writer.close();

        const next = await store.multipart.resume('data/1', kept);
        await next.write(Buffer.from('c'));
        const end = await next.checkpoint();
        await next.close();
        await store.multipart.complete('data/1', end);

        expect(await text('data/1')).toBe('ac');
      });

      it.each([false, true])(
        'takes many bytes again that came after the last checkpoint (read back first: %s)',
        async (readBack) => {
          const [kept, lost, rest] = [17, 18, 3].map((size) => randomBytes(size * 1024 * 1024)) as [
            Buffer,
            Buffer,
            Buffer,
          ];
          const writer = await store.multipart.resume('data/1', await store.multipart.create('data/1'));
          await writer.write(Buffer.from(kept));
          const state = await writer.checkpoint();
          await writer.write(Buffer.from(lost));
          await writer.close();

          if (readBack) {
            expect((await read(await store.multipart.read('data/1', state)))?.equals(kept)).toBe(true);
          }
          const next = await store.multipart.resume('data/1', state);
          await next.write(Buffer.concat([lost, rest]));
          const end = await next.checkpoint({ last: true });
          await next.close();
          await store.multipart.complete('data/1', end);

          const whole = await read((await store.getStream('data/1'))?.body);
          expect(whole?.equals(Buffer.concat([kept, lost, rest]))).toBe(true);
        },
      );

      it('reads back what has arrived', async () => {
        const state = await store.multipart.create('data/1');
        const writer = await store.multipart.resume('data/1', state);
        expect(await read(await store.multipart.read('data/1', state))).toHaveLength(0);
        await writer.write(part('a'));
        const end = await writer.checkpoint();
        await writer.close();

        expect((await read(await store.multipart.read('data/1', end)))?.equals(part('a'))).toBe(true);
      });

      it('lets one writer in at a time', async () => {
        const state = await store.multipart.create('data/1');
        const writer = await store.multipart.resume('data/1', state);

        await expect(store.multipart.resume('data/1', state)).rejects.toThrow(MultipartBusy);
        await writer.close();
        await writer.close();

        const next = await store.multipart.resume('data/1', state);
        await next.close();
      });

      it('keeps what came later when somebody with an older state takes the upload up and lets it go', async () => {
        const state = await store.multipart.create('data/1');
        const writer = await store.multipart.resume('data/1', state);
        await writer.write(part('a'));
        const end = await writer.checkpoint();
        await writer.close();

        const late = await store.multipart.resume('data/1', state);
        await late.close();

        await store.multipart.complete('data/1', end);
        expect((await read((await store.getStream('data/1'))?.body))?.equals(part('a'))).toBe(true);
      });

      it('knows nothing of an upload that was aborted', async () => {
        const writer = await store.multipart.resume('data/1', await store.multipart.create('data/1'));
        await writer.write(part('a'));
        const state = await writer.checkpoint();
        await writer.close();
        const goOn = async (): Promise<void> => {
          // A store may find out only when it needs the bytes.
          const next = await store.multipart.resume('data/1', state);
          try {
            await next.write(Buffer.from('b'));
            await store.multipart.complete('data/1', await next.checkpoint());
          } finally {
            await next.close();
          }
        };

        await store.multipart.abort('data/1', state);
        await store.multipart.abort('data/1', state);

        await expect(goOn()).rejects.toThrow(MultipartUnknown);
        await expect(store.multipart.complete('data/1', state)).rejects.toThrow(MultipartUnknown);
        expect(await store.head('data/1')).toBeUndefined();
      });

      it('takes many uploads at once', async () => {
        const bodies = Array.from({ length: 8 }, (_, index) => Buffer.alloc(2_000_000, index));

        await Promise.all(
          bodies.map(async (body, index) => {
            const state = await store.multipart.create(`data/${index}`);
            const writer = await store.multipart.resume(`data/${index}`, state);
            for (let at = 0; at < body.length; at += 65_536)
              await writer.write(body.subarray(at, at + 65_536));
            const end = await writer.checkpoint();
            await writer.close();
            await store.multipart.complete(`data/${index}`, end);
          }),
        );

        for (const [index, body] of bodies.entries()) {
          expect((await store.get(`data/${index}`))?.body.equals(body)).toBe(true);
        }
      });
    });
  });
}
