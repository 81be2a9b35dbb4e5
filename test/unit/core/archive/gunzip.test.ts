import { Readable } from 'node:stream';
import { gzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import type { ArchiveLimits } from '../../../../core/archive/archive-limits.ts';
import { gunzip } from '../../../../core/archive/gunzip.ts';

async function unpack(source: AsyncIterable<Uint8Array>, limits?: ArchiveLimits): Promise<Buffer> {
  const parts: Buffer[] = [];
  for await (const chunk of gunzip(source, limits)) parts.push(chunk);
  return Buffer.concat(parts);
}

describe('gunzip', () => {
  it('unpacks, also several members in a row', async () => {
    const packed = Buffer.concat([gzipSync('one '), gzipSync('two')]);

    expect((await unpack(Readable.from([packed]))).toString()).toBe('one two');
  });

  it('stops a bomb by its ratio, having unpacked no more than is harmless (builder.md 6, row 13)', async () => {
    const packed = gzipSync(Buffer.alloc(4 * 1024 * 1024));
    let unpacked = 0;

    await expect(async () => {
      for await (const chunk of gunzip(Readable.from([packed]), { ratioFrom: 1024 * 1024 }))
        unpacked += chunk.length;
    }).rejects.toThrow('it unpacks to more than 200 times its size');
    expect(unpacked).toBeLessThanOrEqual(1024 * 1024);
  });

  it('stops at the limit in bytes', async () => {
    await expect(unpack(Readable.from([gzipSync(Buffer.alloc(2000))]), { bytes: 1000 })).rejects.toThrow(
      'it unpacks to more than 1000 bytes',
    );
  });

  it.each([
    ['is no gzip', Buffer.from('plain text')],
    ['is cut short', gzipSync('a text that is long enough').subarray(0, 20)],
    ['is empty', Buffer.alloc(0)],
  ])('says so when the data %s', async (_what, bytes) => {
    await expect(unpack(Readable.from([bytes]))).rejects.toThrow('its gzip data is damaged or cut short');
  });

  it('hands on what its source failed with', async () => {
    async function* broken(): AsyncGenerator<Buffer> {
      yield gzipSync('x').subarray(0, 5);
      throw new RangeError('the connection broke');
    }

    await expect(unpack(broken())).rejects.toThrow(new RangeError('the connection broke'));
  });
});
