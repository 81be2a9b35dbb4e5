import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { createFilesystemStore, type FilesystemStore } from '../../../core/object-store/filesystem.ts';
import { createMemoryStore } from '../../../core/object-store/memory.ts';
import {
  type ListOptions,
  type MultipartState,
  PreconditionFailed,
} from '../../../core/object-store/object-store.ts';
import { UserError } from '../../../core/user-error.ts';
import { objectStoreSuite } from '../../suites/object-store.ts';

const idOf = ({ id }: MultipartState): string => (typeof id === 'string' ? id : '');
const newRoot = (): string => mkdtempSync(join(tmpdir(), 'brickyard-store-'));

objectStoreSuite('the filesystem store', () => {
  const root = newRoot();
  const store = createFilesystemStore({ root });
  return {
    store,
    close() {
      store.close();
      rmSync(root, { recursive: true });
    },
  };
});

describe('the filesystem store', () => {
  let root: string;
  let store: FilesystemStore;
  beforeEach(() => {
    root = newRoot();
    store = createFilesystemStore({ root });
  });
  afterEach(() => {
    store.close();
    rmSync(root, { recursive: true });
  });

  it('keeps a small object that has settled, and sees at once when another store replaces or deletes it', async () => {
    const other = createFilesystemStore({ root });
    await other.put('k', Buffer.from('first'));
    await vi.waitFor(async () => {
      expect((await store.get('k'))?.body).toBe((await store.get('k'))?.body);
    }, 5000);
    expect((await store.get('k', { limit: 2 }))?.body.toString()).toBe('fi');
    expect(await store.get('k')).toMatchObject({ size: 5, etag: (await other.head('k'))?.etag });

    await other.put('k', Buffer.from('other'), { durability: 'process' });
    expect((await store.get('k'))?.body.toString()).toBe('other');
    await other.delete('k');
    expect(await store.get('k')).toBe(undefined);
    other.close();
  });

  // Made of what is special to file names, to our own marks, and to the order of '/' among other bytes.
  const pieces = [
    'a',
    'b',
    '-',
    '.',
    '0',
    '=',
    '~',
    '+',
    '+~',
    '..',
    'ä',
    '🙂',
    '\uffee',
    '\\',
    '%',
    ' ',
    'x'.repeat(199),
  ];
  const part = fc
    .array(fc.constantFrom(...pieces), { minLength: 1, maxLength: 4 })
    .map((chosen) =>
      Buffer.from(chosen.join(''))
        .subarray(0, 255)
        .toString()
        .replace(/\ufffd/g, ''),
    )
    .filter((name) => name !== '' && name !== '.' && name !== '..' && Buffer.byteLength(name) <= 255);
  const key = fc.array(part, { minLength: 1, maxLength: 3 }).map((parts) => parts.join('/'));

  it('lists like the memory store, whatever the keys are called', async () => {
    let round = 0;
    await fc.assert(
      fc.asyncProperty(
        fc.array(key, { maxLength: 25 }),
        fc.array(fc.tuple(key, fc.nat(6), key, fc.nat(8), fc.boolean(), fc.nat(6)), {
          minLength: 1,
          maxLength: 6,
        }),
        async (keys, questions) => {
          const directory = join(root, `${round++}`);
          const files = createFilesystemStore({ root: directory });
          const memory = createMemoryStore();
          for (const name of keys) {
            await files.put(name, Buffer.from(name), { durability: 'process' });
            await memory.put(name, Buffer.from(name));
          }
          for (const [around, prefixLength, after, limit, delimiter, deleted] of questions) {
            const near = keys[prefixLength] ?? around;
            const options: ListOptions = {
              prefix: Array.from(near).slice(0, prefixLength).join(''),
              ...(limit % 2 === 0 && { startAfter: limit % 4 === 0 ? (keys[limit] ?? after) : after }),
              ...(limit > 0 && { limit }),
              ...(delimiter && { delimiter: '/' }),
            };
            const plain = async (from: typeof memory) => {
              const page = await from.list(options);
              return { ...page, objects: page.objects.map((object) => [object.key, object.size]) };
            };
            expect(await plain(files)).toEqual(await plain(memory));
            const gone = keys[deleted];
            if (gone !== undefined) await Promise.all([files.delete(gone), memory.delete(gone)]);
          }
          const remaining = (await memory.list({ prefix: '' })).objects.map((object) => object.key);
          await files.deleteMany(remaining);
          expect(readdirSync(join(directory, 'objects'))).toEqual([]);
          files.close();
        },
      ),
      { numRuns: 60 },
    );
  });

  it('lists a large directory page by page, remembered or not, and sees what changes in between', async () => {
    const directory = join(root, 'objects', 'many');
    mkdirSync(directory, { recursive: true });
    const names = Array.from({ length: 3000 }, (_, index) => String(index * 3).padStart(5, '0'));
    for (const name of names) writeFileSync(join(directory, `${name}=`), '');
    for (const name of ['00000', '04500']) mkdirSync(join(directory, name));
    const readAll = async (): Promise<string[]> => {
      const found: string[] = [];
      let startAfter: string | undefined;
      do {
        const page = await store.list({ prefix: 'many/', limit: 400, ...(startAfter && { startAfter }) });
        found.push(...page.objects.map((object) => object.key.slice('many/'.length)));
        startAfter = page.next;
      } while (startAfter !== undefined);
      return found;
    };

    const fresh = await readAll();
    const before = new Date(Date.now() - 1000);
    // Only a directory that has been quiet for a moment is remembered: let this one look so.
    utimesSync(directory, before, before);
    await vi.waitFor(() => expect(Date.now() - statSync(directory).ctimeMs).toBeGreaterThan(250));
    const quiet = await readAll();
    const again = await readAll();
    await store.put('many/04501', Buffer.alloc(0), { durability: 'process' });
    await store.delete('many/00003');
    const changed = await readAll();

    expect(fresh).toEqual(names);
    expect(quiet).toEqual(names);
    expect(again).toEqual(names);
    expect(changed).toEqual([...names, '04501'].toSorted().filter((name) => name !== '00003'));
  });

  it('names versions of large objects without reading them', async () => {
    const first = await store.put('large', Buffer.alloc(9_000_000, 'a'));
    const got = await store.get('large', { limit: 10 });
    expect([got?.etag, (await store.head('large'))?.etag]).toEqual([first.etag, first.etag]);

    await store.put('large', Buffer.alloc(9_000_000, 'b'), { ifMatch: first.etag });

    expect((await store.head('large'))?.etag).not.toBe(first.etag);
    await expect(store.put('large', Buffer.from('c'), { ifMatch: first.etag })).rejects.toThrow(
      PreconditionFailed,
    );
  });

  it('gives a version that was replaced before it was named an ETag that nothing has', async () => {
    await store.put('a', Buffer.from('1'));
    const seen = await store.head('a');
    await store.put('a', Buffer.from('2'));

    await expect(store.put('a', Buffer.from('3'), { ifMatch: seen?.etag ?? '' })).rejects.toThrow(
      PreconditionFailed,
    );
  });

  it('leaves no empty directory and no temporary file behind', async () => {
    await store.put('a/b/c', Buffer.from('x'));
    await expect(store.put('a/b/c', Buffer.from('y'), { ifNoneMatch: '*' })).rejects.toThrow();

    await store.delete('a/b/c');

    expect(readdirSync(join(root, 'objects'))).toEqual([]);
    expect(readdirSync(join(root, 'tmp'))).toEqual(['multipart']);
  });

  it('keeps a put whose directory is removed under it', async () => {
    const rounds = Array.from({ length: 200 }, (_, index) => index);
    await Promise.all(
      rounds.map(async (index) => {
        await store.put(`d/e/${index}`, Buffer.from('x'), { durability: 'process' });
        expect(await store.head(`d/e/${index}`)).toBeDefined();
        await store.delete(`d/e/${index}`);
      }),
    );
    expect((await store.list({ prefix: '' })).objects).toEqual([]);
  });

  it('marks its directory, opens it again, and refuses a version that it does not know', () => {
    expect(JSON.parse(readFileSync(join(root, 'format.json'), 'utf8'))).toEqual({ version: 1 });
    createFilesystemStore({ root }).close();

    writeFileSync(join(root, 'format.json'), '{"version":2}');

    expect(() => createFilesystemStore({ root })).toThrow(UserError);
  });

  it('sweeps temporaries of the dead, not of the living and not idle uploads of today', async () => {
    writeFileSync(join(root, 'tmp', 'dead'), 'half');
    const state = await store.multipart.create('data/1');
    const forgotten = await store.multipart.create('data/2');
    const held = await store.multipart.create('data/3');
    const writer = await store.multipart.resume('data/3', held);
    const longAgo = new Date(Date.now() - 25 * 60 * 60 * 1000);
    for (const old of [forgotten, held]) utimesSync(join(root, 'tmp/multipart', idOf(old)), longAgo, longAgo);

    const swept = await store.sweepTemporaries(0);

    expect(swept).toBe(2);
    expect(readdirSync(join(root, 'tmp'))).toEqual(['multipart']);
    expect(readdirSync(join(root, 'tmp/multipart')).toSorted()).toEqual([idOf(state), idOf(held)].toSorted());
    await writer.close();
  });

  it('never takes an upload’s state for a path', async () => {
    await expect(store.multipart.resume('data/1', { offset: 0, id: '../../format.json' })).rejects.toThrow(
      'names no upload',
    );
  });

  it('waits for its turn when all upload buffers are taken', async () => {
    const tight = createFilesystemStore({ root, uploadBufferBytes: 100_000 });
    const bodies = [1, 2, 3].map((value) => Buffer.alloc(500_000, value));
    await Promise.all(
      bodies.map(async (body, index) => {
        const state = await tight.multipart.create(`data/${index}`);
        const writer = await tight.multipart.resume(`data/${index}`, state);
        for (let at = 0; at < body.length; at += 60_000) await writer.write(body.subarray(at, at + 60_000));
        const end = await writer.checkpoint();
        await writer.close();
        await tight.multipart.complete(`data/${index}`, end);
      }),
    );
    for (const [index, body] of bodies.entries()) {
      expect((await tight.get(`data/${index}`))?.body.equals(body)).toBe(true);
    }
    tight.close();
  });
});
