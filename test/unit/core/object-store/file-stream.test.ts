import {
  closeSync,
  fstatSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough, Writable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { FileStream } from '../../../../core/object-store/file-stream.ts';
import { ObjectStoreUnavailable } from '../../../../core/object-store/object-store.ts';
import { createReadBuffers } from '../../../../core/object-store/read-buffers.ts';

const size = 5_000_001;

describe('an object that is sent', () => {
  const directory = mkdtempSync(join(tmpdir(), 'brickyard-stream-'));
  const file = join(directory, 'object');
  const bytes = Buffer.alloc(size);
  for (let at = 0; at + 4 <= size; at += 4) bytes.writeUInt32LE(at, at);
  const buffers = createReadBuffers();
  const open = (start = 0, end = size): { fd: number; stream: FileStream } => {
    const fd = openSync(file, 'r');
    return { fd, stream: new FileStream(fd, start, end, buffers) };
  };
  beforeAll(() => writeFileSync(file, bytes));
  afterAll(() => rmSync(directory, { recursive: true }));

  it('arrives whole and in order, also when several are sent through the same buffers', async () => {
    const received = await Promise.all(
      [0, 1, 300_000, size - 1, size].map(async (start) => {
        const target = new Collector();
        await open(start).stream.sendTo(target);
        return target.body.equals(bytes.subarray(start));
      }),
    );
    expect(received).toEqual([true, true, true, true, true]);
  });

  it('never changes bytes that the target has not taken yet', async () => {
    const held: { chunk: Buffer; done: () => void }[] = [];
    let wake: () => void = () => {};
    const slow = new Writable({
      write(chunk: Buffer, _encoding, done) {
        held.push({ chunk, done });
        wake();
      },
    });
    const sent = open().stream.sendTo(slow);
    let offset = 0;
    const taken = (async () => {
      while (offset < size) {
        if (held.length === 0) await new Promise<void>((resolve) => (wake = resolve));
        // While this write is under way somebody else reads through the same buffers.
        await open().stream.sendTo(new Collector());
        const { chunk, done } = held.shift() as (typeof held)[0];
        expect(chunk.equals(bytes.subarray(offset, offset + chunk.length))).toBe(true);
        offset += chunk.length;
        done();
      }
    })();
    await Promise.all([sent, taken]);
    expect(offset).toBe(size);
  });

  it('ends with an error, and closes the file, when the target goes away in the middle', async () => {
    const { fd, stream } = open();
    const target = new Writable({ write: () => {} });
    const sent = stream.sendTo(target);
    target.destroy();
    await expect(sent).rejects.toThrow('the client left');
    await closed(stream);
    expect(isSameFile(fd, file)).toBe(false);
    expect(stream.errored).toBe(null);
  });

  it('ends with the target’s own error', async () => {
    const { stream } = open();
    const target = new Writable({ write: (_chunk, _encoding, done) => done(new Error('no route')) });
    await expect(stream.sendTo(target)).rejects.toThrow('no route');
  });

  it('ends with the store’s error, and the target with it, when the file is shorter than it was', async () => {
    const short = join(directory, 'short');
    writeFileSync(short, bytes.subarray(0, 1_000_000));
    const stream = new FileStream(openSync(short, 'r'), 0, 1_000_000, buffers);
    truncateSync(short, 400_000);
    const target = new PassThrough();
    target.resume();
    const error: unknown = await stream.sendTo(target).catch((cause: unknown) => cause);
    expect(error).toMatchObject({ message: 'it is shorter than it was' });
    expect(stream.errored).toBe(error);
    expect(target.destroyed).toBe(true);
  });

  it('says that the store is unavailable when the file cannot be read', async () => {
    const { fd, stream } = open();
    closeSync(fd);
    const directoryFd = openSync(directory, 'r');
    expect(directoryFd).toBe(fd);
    await expect(stream.sendTo(new PassThrough())).rejects.toThrow(ObjectStoreUnavailable);
  });

  it('stops when somebody destroys it', async () => {
    const { stream } = open();
    const sent = stream.sendTo(
      new Writable({ highWaterMark: 1, write: (_c, _e, done) => void setImmediate(done) }),
    );
    stream.destroy();
    await expect(sent).rejects.toThrow('not read any more');
  });

  it('can be read like any other stream', async () => {
    expect((await buffer(open(100, 2_000_000).stream)).equals(bytes.subarray(100, 2_000_000))).toBe(true);
  });
});

describe('buffers for reading', () => {
  it('go round, and are small for whoever comes when many are in use', () => {
    const buffers = createReadBuffers();
    const first = buffers.take();
    first.release(true);
    first.release(true);
    const again = buffers.take();
    expect(again.bytes).toBe(first.bytes);
    again.release(false);
    const taken = Array.from({ length: 1000 }, () => buffers.take());
    expect(new Set(taken.map(({ bytes }) => bytes)).size).toBe(1000);
    expect(taken.some(({ bytes }) => bytes === first.bytes)).toBe(false);
    const total = taken.reduce((sum, { bytes }) => sum + bytes.length, 0);
    expect(total).toBeLessThan(64 * 1024 * 1024);
    for (const each of taken) each.release(true);
    expect(buffers.take().bytes.length).toBe(first.bytes.length);
  });
});

/** As a socket does it: has taken a chunk when it calls back, and not before. */
class Collector extends Writable {
  readonly #chunks: Buffer[] = [];
  get body(): Buffer {
    return Buffer.concat(this.#chunks);
  }
  override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    setImmediate(() => {
      this.#chunks.push(Buffer.from(chunk));
      done();
    });
  }
}

function closed(stream: FileStream): Promise<void> {
  return new Promise((resolve) => (stream.closed ? resolve() : stream.once('close', resolve)));
}

function isSameFile(fd: number, path: string): boolean {
  try {
    return fstatSync(fd).size === readFileSync(path).length;
  } catch {
    return false;
  }
}
