import { PassThrough, type Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createSpool } from '../../../../registry/mirror/spool.ts';
import { waitFor } from '../../../helpers/process.ts';
import { createTempDirectory, type TempDirectory } from '../../../helpers/temp.ts';

let folder: TempDirectory;
beforeAll(async () => {
  folder = await createTempDirectory('spool');
});
afterAll(() => folder.remove());

const content = Buffer.from('the bytes of a blob');

/** Counts what a reader has been given so far. */
function follow(body: Readable): { received: () => number; ended: Promise<Buffer> } {
  let received = 0;
  body.on('data', (chunk: Buffer) => {
    received += chunk.length;
  });
  return { received: () => received, ended: buffer(body) };
}

describe('a spool', () => {
  it('keeps the last byte back until the content is whole, and from clients until it is released', async () => {
    const spool = await createSpool(folder.path, content.length);
    const source = new PassThrough();
    const filled = spool.fill(source);
    const storing = follow(spool.read('storing', 0, content.length - 1));
    const serving = follow(spool.read('serving', 0, content.length - 1));
    const last = spool.read('serving', content.length - 1, content.length - 1);
    source.write(content);

    await waitFor(() => serving.received() === content.length - 1, { what: 'all but one byte' });
    await waitFor(() => storing.received() === content.length - 1, { what: 'all but one byte' });
    expect(last.read()).toBeNull();

    source.end();
    await filled;
    expect((await storing.ended).equals(content)).toBe(true);
    // Time enough for a byte that nothing holds back.
    for (let round = 0; round < 10; round += 1) await buffer(spool.read('serving', 0, 3));
    expect(serving.received()).toBe(content.length - 1);

    spool.release();
    expect((await serving.ended).equals(content)).toBe(true);
    expect((await buffer(last)).toString()).toBe('b');
    await waitFor(() => spool.closed, { what: 'the file is closed' });
  });

  it.each([
    ['fewer bytes than announced', content.subarray(1)],
    ['more bytes than announced', Buffer.concat([content, content])],
  ])('fails for all its readers when %s come', async (_, bytes) => {
    const spool = await createSpool(folder.path, content.length);
    const source = new PassThrough();
    const readers = (['storing', 'serving'] as const).map((purpose) =>
      buffer(spool.read(purpose, 0, content.length - 1)),
    );
    const results = Promise.allSettled([spool.fill(source), ...readers]);
    source.end(bytes);

    expect((await results).map(({ status }) => status)).toEqual(['rejected', 'rejected', 'rejected']);
    spool.release();
    await waitFor(() => spool.closed, { what: 'the file is closed' });
  });

  it('is closed when readers leave that have not begun', async () => {
    const spool = await createSpool(folder.path, content.length);
    const idle = spool.read('serving', 0, 5);
    const waiting = spool.read('serving', 0, 5);
    waiting.resume();
    spool.release();
    expect(spool.closed).toBe(false);

    idle.destroy();
    waiting.destroy();

    await waitFor(() => spool.closed, { what: 'the file is closed' });
  });

  it('leaves no file behind, and begins none that the disk has no room for', async () => {
    const { readdir } = await import('node:fs/promises');
    await createSpool(folder.path, 5).then((spool) => spool.release());

    await expect(createSpool(folder.path, Number.MAX_SAFE_INTEGER)).rejects.toMatchObject({
      code: 'UNAVAILABLE',
      message: 'the mirror has no room on its disk for this blob',
    });
    expect(await readdir(folder.path)).toEqual([]);
  });
});
