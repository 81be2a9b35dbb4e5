import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, utimesSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it, onTestFailed } from 'vitest';
import { createFilesystemStore, type FilesystemStore } from '../../../core/object-store/filesystem.ts';
import { MultipartBusy, type MultipartState } from '../../../core/object-store/object-store.ts';
import { createChildPrograms } from './child-program.ts';
import { isSealed } from './object-store-child.ts';

describe('the filesystem store among processes', () => {
  const children = createChildPrograms();
  const start = (what: string, argument = '') =>
    children.start('object-store-child.ts', [root, what, argument]);
  let root: string;
  let store: FilesystemStore;
  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), 'brickyard-store-'));
    store = createFilesystemStore({ root });
  });
  afterEach(async () => {
    await children.killAll();
    store.close();
    rmSync(root, { recursive: true });
  });

  async function everyObject(): Promise<string[]> {
    const keys: string[] = [];
    let startAfter: string | undefined;
    do {
      const page = await store.list({
        prefix: '',
        limit: 50,
        ...(startAfter !== undefined && { startAfter }),
      });
      keys.push(...page.objects.map((object) => object.key));
      startAfter = page.next;
    } while (startAfter !== undefined);
    return keys;
  }

  async function expectAllWhole(): Promise<void> {
    for (const key of await everyObject()) {
      const object = await store.get(key);
      if (object !== undefined) expect(isSealed(object.body), `${key} is whole`).toBe(true);
    }
  }

  it('loses no increment of four processes', async () => {
    await store.put('counter', Buffer.from('0'));

    const programs = [1, 2, 3, 4].map(() => start('increment', '150'));
    await Promise.all(programs.map((program) => program.nextLine()));

    expect((await store.get('counter'))?.body.toString()).toBe('600');
  });

  it('never reads an older version than another process was told is written, kept in memory or not', async () => {
    const file = join(root, 'acknowledged');
    const writer = start('count', file);
    let end: unknown;
    const ended = writer.nextLine().then((last) => (end = last));
    let previous: Buffer | undefined;
    let fromMemory = 0;
    while (end === undefined) {
      for (let reads = 0; reads < 50; reads++) {
        const told = existsSync(file) ? Number(readFileSync(file)) : 0;
        const body = (await store.get('counter'))?.body;
        expect(Number(body ?? 0)).toBeGreaterThanOrEqual(told);
        if (body !== undefined && body === previous) fromMemory++;
        previous = body;
      }
      await delay(0);
    }
    expect(Number((await store.get('counter'))?.body)).toBe(await ended);
    expect(fromMemory).toBeGreaterThan(100);
  });

  it('shows nothing half-written when writers are killed at any moment, and sweeps what they left', async () => {
    const seed = Math.floor(Math.random() * 2 ** 31);
    onTestFailed(() => void process.stderr.write(`seed ${seed}\n`));
    const random = createRandom(seed);
    let leftovers = 0;

    for (let round = 0; round < 8; round++) {
      const writers = [start('churn'), start('churn')];
      await Promise.all(writers.map((writer) => writer.nextLine()));
      const end = performance.now() + random() * 150;
      while (performance.now() < end) {
        await expectAllWhole();
        await delay(1);
      }
      await children.killAll();

      await expectAllWhole();
      await store.put('churn/after', Buffer.alloc(0), { durability: 'process' });
      await store.delete('churn/after');
      const old = new Date(Date.now() - 25 * 60 * 60 * 1000);
      for (const name of readdirSync(join(root, 'tmp/multipart')))
        utimesSync(join(root, 'tmp/multipart', name), old, old);
      leftovers += await store.sweepTemporaries(0);
      expect(readdirSync(join(root, 'tmp'))).toEqual(['multipart']);
      expect(readdirSync(join(root, 'tmp/multipart'))).toEqual([]);
    }

    // Otherwise the moments were never in the middle of anything.
    expect(leftovers).toBeGreaterThan(0);
  });

  it('never sweeps what a living process is writing', async () => {
    const writers = [start('churn'), start('churn')];
    await Promise.all(writers.map((writer) => writer.nextLine()));

    for (let round = 0; round < 300; round++) await store.sweepTemporaries(0);

    // A writer whose file was taken from under it ends with an error.
    const alive = await Promise.race([...writers.map((writer) => writer.ended), delay(50, 'alive')]);
    expect(alive).toBe('alive');
  });

  it('lets one process at a time write an upload, and the next go on when it dies', async () => {
    const holder = start('hold');
    const state = (await holder.nextLine()) as MultipartState;

    await expect(store.multipart.resume('data/held', state)).rejects.toThrow(MultipartBusy);
    await holder.kill();
    const writer = await store.multipart.resume('data/held', state);
    await writer.write(Buffer.from('c'));
    const end = await writer.checkpoint();
    await writer.close();
    await store.multipart.complete('data/held', end);

    expect((await store.get('data/held'))?.body.toString()).toBe(`${'a'.repeat(100_000)}c`);
  });

  it('lists every lasting key once and in order while others come and go around it', async () => {
    const lasting = Array.from({ length: 300 }, (_, index) => `listed/${String(index * 7).padStart(5, '0')}`);
    for (const key of lasting) await store.put(key, Buffer.from('x'), { durability: 'process' });
    const writers = [start('churn'), start('churn')];
    await Promise.all(writers.map((writer) => writer.nextLine()));

    for (let round = 0; round < 20; round++) {
      const keys = await everyObject();
      expect(keys.filter((key) => lasting.includes(key))).toEqual(lasting);
      expect(keys).toEqual(keys.toSorted());
      expect(new Set(keys).size).toBe(keys.length);
      await store.put(lasting[round] ?? '', Buffer.from('y'), { durability: 'process' });
    }
  });

  it('says that the disk is full, shows nothing of what failed, and works again', async () => {
    const program = children.start(
      'object-store-child.ts',
      [root, 'full'],
      ['unshare', '--map-root-user', '--mount'],
    );

    const report = await program.nextLine();

    expect(report).toEqual({
      put: 'ObjectStoreFull: writing large: the disk is full: free space or enlarge it',
      upload: 'ObjectStoreFull: writing an upload: the disk is full: free space or enlarge it',
      left: ['multipart'],
      keys: ['after', 'kept'],
    });
  });
});

/** Small, seeded: the same moments again when a seed is known. */
function createRandom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}
