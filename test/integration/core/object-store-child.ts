// What another process does with a store, for object-store.test.ts: node object-store-child.ts <root> <what> [argument]

import { execFileSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { openSync, readdirSync, writeSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { createFilesystemStore } from '../../../core/object-store/filesystem.ts';
import { type ObjectStore, PreconditionFailed } from '../../../core/object-store/object-store.ts';

const [root = '', what = '', argument = ''] = process.argv.slice(2);

/** A body that shows by itself whether it is whole. */
export function sealed(size: number): Buffer {
  const body = randomBytes(size);
  return Buffer.concat([createHash('sha256').update(body).digest(), body]);
}

export function isSealed(body: Buffer): boolean {
  return createHash('sha256').update(body.subarray(32)).digest().equals(body.subarray(0, 32));
}

const say = (value: unknown): void => void process.stdout.write(`${JSON.stringify(value)}\n`);

async function increment(store: ObjectStore, times: number): Promise<void> {
  for (let done = 0; done < times; ) {
    const now = await store.get('counter');
    if (now === undefined) throw new Error('the counter is gone');
    try {
      const next = Buffer.from(`${Number(now.body) + 1}`);
      await store.put('counter', next, {
        ifMatch: now.etag,
        durability: done % 10 === 0 ? 'machine' : 'process',
      });
      done++;
    } catch (error) {
      if (!(error instanceof PreconditionFailed)) throw error;
    }
  }
  say('done');
}

/** Bursts of versions of one size, each told of in a file once it is acknowledged; between them the object is left alone for `pause`. */
async function count(store: ObjectStore, file: string): Promise<void> {
  const acknowledged = openSync(file, 'w');
  let version = 0;
  for (let burst = 0; burst < 4; burst++) {
    const end = performance.now() + 150;
    while (performance.now() < end) {
      const text = String(++version).padStart(12, '0');
      await store.put('counter', Buffer.from(text), { durability: 'process' });
      writeSync(acknowledged, text, 0);
    }
    await delay(700);
  }
  say(version);
}

/** Writes, replaces, uploads and deletes until it is killed. */
async function churn(store: ObjectStore): Promise<void> {
  const name = (): string => `churn/${Math.floor(Math.random() * 4)}/${Math.floor(Math.random() * 10)}`;
  const size = (): number => Math.floor(Math.random() ** 4 * 400_000);
  say('ready');
  for (;;) {
    const durability = Math.random() < 0.3 ? 'machine' : 'process';
    await store.put(name(), sealed(size()), { durability });
    await store.delete(name());
    const key = name();
    const state = await store.multipart.create(key);
    const writer = await store.multipart.resume(key, state);
    await writer.write(sealed(size()));
    const end = await writer.checkpoint();
    await writer.close();
    if (Math.random() < 0.5) await store.multipart.complete(key, end);
    else await store.multipart.abort(key, end);
    await store.put(`listed/${process.pid}-${Math.floor(Math.random() * 500)}`, sealed(10), {
      durability: 'process',
    });
    await store.delete(`listed/${process.pid}-${Math.floor(Math.random() * 500)}`);
  }
}

/** Writes an upload as far as a checkpoint and a little further, and stays. */
async function hold(store: ObjectStore): Promise<void> {
  const state = await store.multipart.create('data/held');
  const writer = await store.multipart.resume('data/held', state);
  await writer.write(Buffer.alloc(100_000, 'a'));
  const kept = await writer.checkpoint();
  await writer.write(Buffer.alloc(2_000_000, 'b'));
  await writer.checkpoint();
  say(kept);
  setInterval(() => {}, 1000);
}

/** In a mount namespace of its own, so that nothing is left mounted whatever happens. */
async function fillDisk(): Promise<void> {
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=4m', 'none', root]);
  const store = createFilesystemStore({ root });
  const failure = async (work: () => Promise<unknown>): Promise<string> => {
    try {
      await work();
      return 'nothing failed';
    } catch (error) {
      return error instanceof Error ? `${error.name}: ${error.message}` : String(error);
    }
  };
  await store.put('kept', Buffer.from('kept'));
  const put = await failure(() => store.put('large', Buffer.alloc(8_000_000)));
  const state = await store.multipart.create('upload');
  const writer = await store.multipart.resume('upload', state);
  const upload = await failure(async () => {
    for (let count = 0; count < 100; count++) await writer.write(Buffer.alloc(100_000));
    await writer.checkpoint();
  });
  await writer.close();
  await store.multipart.abort('upload', state);
  const left = [...readdirSync(`${root}/tmp`), ...readdirSync(`${root}/tmp/multipart`)];
  await store.put('after', Buffer.from('after'));
  const keys = (await store.list({ prefix: '' })).objects.map((object) => object.key);
  say({ put, upload, left, keys });
}

if (process.argv[1] === import.meta.filename) {
  if (what === 'full') await fillDisk();
  else {
    const store = createFilesystemStore({ root });
    if (what === 'increment') await increment(store, Number(argument));
    else if (what === 'count') await count(store, argument);
    else if (what === 'churn') await churn(store);
    else await hold(store);
  }
}
