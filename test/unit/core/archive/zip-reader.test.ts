import { crc32 } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import type { ArchiveLimits } from '../../../../core/archive/archive-limits.ts';
import { memoryBytes } from '../../../../core/archive/random-bytes.ts';
import { openZip } from '../../../../core/archive/zip-reader.ts';
import { type TestZipEntry, type TestZipOptions, zipOf } from '../../../helpers/zip.ts';

async function readAll(
  bytes: Buffer,
  limits?: ArchiveLimits,
): Promise<{ path: string; type: string; mode: number; content: string }[]> {
  const zip = await openZip(memoryBytes(bytes), limits);
  const found: { path: string; type: string; mode: number; content: string }[] = [];
  for (const entry of zip.entries) {
    const parts: Buffer[] = [];
    for await (const chunk of zip.read(entry)) parts.push(chunk);
    const content = Buffer.concat(parts).toString();
    found.push({ path: entry.path, type: entry.type, mode: entry.mode, content });
  }
  return found;
}

const refusal = (
  entries: TestZipEntry[],
  options?: TestZipOptions,
  limits?: ArchiveLimits,
): Promise<unknown> =>
  readAll(zipOf(entries, options), limits).then(
    () => 'taken',
    (error: Error) => `${error.name}: ${error.message}`,
  );

describe('a zip archive is read by its directory', () => {
  it('gives files, directories and links with their modes and contents', async () => {
    const zip = zipOf([
      { path: 'bin/', mode: 0o040_755 },
      { path: 'bin/run', content: '#!/bin/sh\n', mode: 0o100_755 },
      { path: 'plain.txt', content: 'stored', stored: true },
      { path: 'dos.txt', content: 'dos', mode: 0 },
      { path: 'link', content: 'bin/run', mode: 0o120_777 },
      { path: 'tty', mode: 0o020_600 },
    ]);

    expect(await readAll(zip)).toEqual([
      { path: 'bin/', type: 'directory', mode: 0o755, content: '' },
      { path: 'bin/run', type: 'file', mode: 0o755, content: '#!/bin/sh\n' },
      { path: 'plain.txt', type: 'file', mode: 0o644, content: 'stored' },
      { path: 'dos.txt', type: 'file', mode: 0o644, content: 'dos' },
      { path: 'link', type: 'symlink', mode: 0o777, content: 'bin/run' },
      { path: 'tty', type: 'other', mode: 0o600, content: '' },
    ]);
  });

  it.each<[string, TestZipOptions]>([
    ['an empty archive with a comment', { comment: 'PK\u0005\u0006 is no second end' }],
    ['a program in front that unpacks it', { prefix: Buffer.from('#!/bin/sh\nexit 0\n') }],
    ['zip64', { zip64: true }],
    ['zip64 with a program in front', { zip64: true, prefix: Buffer.alloc(1000, 'x') }],
  ])('reads %s', async (_what, options) => {
    expect(await readAll(zipOf([{ path: 'a', content: 'A' }], options))).toMatchObject([
      { path: 'a', content: 'A' },
    ]);
  });

  it('reads sizes and places of more than 32 bits from the zip64 field', async () => {
    const extra = Buffer.alloc(28);
    extra.writeUInt16LE(1, 0);
    extra.writeUInt16LE(24, 2);
    extra.writeBigUInt64LE(1n, 4);
    extra.writeBigUInt64LE(1n, 12);
    const says = { size: 0xffffffff, compressedSize: 0xffffffff, offset: 0xffffffff };

    expect(await readAll(zipOf([{ path: 'a', content: 'A', stored: true, says, extra }]))).toMatchObject([
      { content: 'A' },
    ]);
  });

  it('keeps bytes of names, takes a Unicode Path field and turns the separators of Windows', async () => {
    const name = Buffer.from([0x62, 0xe4]);
    const told = Buffer.from('bä');
    const extra = Buffer.alloc(9);
    extra.writeUInt16LE(0x7075, 0);
    extra.writeUInt16LE(5 + told.length, 2);
    extra[4] = 1;
    extra.writeUInt32LE(crc32(name), 5);
    const zip = zipOf([
      { path: name, flags: 0 },
      { path: name, flags: 0, extra: Buffer.concat([extra, told]) },
      { path: 'web\\index.html', mode: 0 },
      { path: 'web\\unix.html' },
    ]);

    expect((await readAll(zip)).map(({ path }) => path)).toEqual([
      'b\xe4',
      told.toString('latin1'),
      'web/index.html',
      'web\\unix.html',
    ]);
  });

  it('reads an entry of many chunks', async () => {
    const content = Buffer.alloc(1_000_000, 'abcdefg');

    expect((await readAll(zipOf([{ path: 'a', content }])))[0]?.content).toBe(content.toString());
  });
});

describe('a zip archive that lies is refused (builder.md 6, row 13)', () => {
  const a: TestZipEntry = { path: 'a', content: 'AAAA' };

  it.each<[string, TestZipEntry, RegExp]>([
    ['is larger than it says', { ...a, says: { size: 3 } }, /entry "a": it is not 3 bytes long/],
    ['is smaller than it says', { ...a, says: { size: 5 } }, /entry "a": it is not 5 bytes long/],
    ['has another checksum', { ...a, says: { crc: 1 } }, /entry "a": its checksum is wrong/],
    [
      'has bytes behind its content',
      { ...a, behind: Buffer.from('xx') },
      /entry "a": bytes stand behind its content/,
    ],
    ['is damaged', { ...a, stored: true, method: 8 }, /entry "a": its compressed content is damaged/],
    ['is encrypted', { ...a, flags: 1 }, /entry "a": it is encrypted/],
    [
      'is compressed by bzip2',
      { ...a, method: 12 },
      /entry "a": its compression \(method 12\) is not read; pack it with "deflate"/,
    ],
    [
      'is called otherwise in the directory',
      { ...a, says: { name: 'b' } },
      /entry "b": its header and the directory differ/,
    ],
    [
      'has a name that is not the UTF-8 it says',
      { ...a, path: Buffer.from([0x62, 0xff]) },
      /its name says that it is UTF-8/,
    ],
    ['is a directory with a content', { ...a, path: 'd/' }, /entry "d\/": a directory with a content/],
    [
      'lies outside of the archive',
      { ...a, says: { offset: 5_000 } },
      /entry "a": its bytes are also another entry's, or missing/,
    ],
    ['has no name', { ...a, path: '' }, /its name is empty/],
  ])('when an entry %s', async (_what, entry, message) => {
    expect(await refusal([entry])).toMatch(message);
  });

  it('when entries share their bytes, as bombs do', async () => {
    expect(await refusal([a, { ...a, path: 'b', says: { offset: 0, name: 'a' } }])).toMatch(
      /ArchiveError: entry "a": its bytes are also another entry's/,
    );
  });

  it('when it unpacks to far more than its size', async () => {
    const content = Buffer.alloc(1024 * 1024);

    expect(await refusal([{ path: 'zeros', content }], {}, { ratioFrom: 1000 })).toBe(
      'ArchiveError: it unpacks to more than 200 times its size',
    );
  });

  it('when its entries say together more than the limit, before any is read', async () => {
    const says = { size: 900 };

    expect(
      await refusal(
        [
          { ...a, says },
          { ...a, path: 'b', says },
        ],
        {},
        { bytes: 1000 },
      ),
    ).toBe('ArchiveError: it unpacks to more than 1000 bytes');
  });

  it('when it holds more entries than the limit', async () => {
    expect(await refusal([a, { ...a, path: 'b' }], {}, { entries: 1 })).toBe(
      'ArchiveError: it holds more than 1 entries',
    );
  });

  it('when it is cut short, at any place', async () => {
    const whole = zipOf([a, { path: 'b', content: 'B', stored: true }]);

    for (let length = 0; length < whole.length; length += 1) {
      await expect(readAll(whole.subarray(0, length)), String(length)).rejects.toThrow(/no zip archive/);
    }
  });

  it('never with anything but an ArchiveError when any one byte is changed', async () => {
    const whole = zipOf([a, { path: 'b', content: 'B', stored: true }]);

    for (let at = 0; at < whole.length; at += 1) {
      const changed = Buffer.from(whole);
      changed[at] = (changed[at] ?? 0) ^ 0xff;
      const result = await readAll(changed).then(
        () => 'read',
        (error: Error) => error.name,
      );
      expect(['read', 'ArchiveError'], String(at)).toContain(result);
    }
  });
});
