import { createHash } from 'node:crypto';
import { type Header, pack } from 'tar-stream';
import { describe, expect, it } from 'vitest';
import { encodeHeader } from '../../../../oci/layer/tar-header.ts';
import { readTar, type TarLimits } from '../../../../oci/layer/tar-reader.ts';

interface Seen {
  path: string;
  type: string;
  text: string;
}

async function archive(entries: readonly (Partial<Header> & { name: string; text?: string })[]) {
  const tar = pack();
  for (const { text, ...header } of entries) tar.entry(header, text ?? '');
  tar.finalize();
  const parts: Buffer[] = [];
  for await (const part of tar) parts.push(part as Buffer);
  return Buffer.concat(parts);
}

async function read(bytes: Buffer, limits?: TarLimits, step = 1000): Promise<Seen[]> {
  async function* source() {
    for (let i = 0; i < bytes.length; i += step) yield bytes.subarray(i, i + step);
  }
  const seen: Seen[] = [];
  for await (const { entry, body } of readTar(source(), limits)) {
    const parts: Buffer[] = [];
    for await (const part of body) parts.push(part);
    seen.push({ path: entry.path, type: entry.type, text: Buffer.concat(parts).toString() });
  }
  return seen;
}

/** Writes `bytes` at `offset` of the first header and corrects the checksum. */
function patch(tar: Buffer, offset: number, bytes: Buffer | string): Buffer {
  Buffer.from(bytes as string).copy(tar, offset);
  tar.fill(0x20, 148, 156);
  const sum = tar.subarray(0, 512).reduce((a, b) => a + b, 0);
  tar.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
  return tar;
}

describe('readTar', () => {
  it('reads files, directories and links whatever the size of the chunks', async () => {
    const tar = await archive([
      { name: 'd/', type: 'directory' },
      { name: 'd/a', text: 'hello' },
      { name: `d/${'long'.repeat(80)}`, text: 'x'.repeat(3000) },
      { name: 'd/l', type: 'symlink', linkname: 'a' },
    ]);

    for (const step of [1, 511, 512, 100_000]) {
      expect(await read(tar, undefined, step)).toEqual([
        { path: 'd/', type: 'directory', text: '' },
        { path: 'd/a', type: 'file', text: 'hello' },
        { path: `d/${'long'.repeat(80)}`, type: 'file', text: 'x'.repeat(3000) },
        { path: 'd/l', type: 'symlink', text: '' },
      ]);
    }
  });

  it('reads on behind a body that nobody consumed', async () => {
    const tar = await archive([{ name: 'a', text: 'x'.repeat(5000) }, { name: 'b' }]);
    async function* source() {
      yield tar;
    }

    const paths: string[] = [];
    for await (const { entry } of readTar(source())) paths.push(entry.path);

    expect(paths).toEqual(['a', 'b']);
  });

  it('stops reading an endless stream of zeros at the end of the archive', async () => {
    let closed = false;
    async function* source() {
      try {
        for (;;) yield Buffer.alloc(65_536);
      } finally {
        closed = true;
      }
    }

    const seen: unknown[] = [];
    for await (const item of readTar(source())) seen.push(item);

    expect(seen).toEqual([]);
    expect(closed).toBe(true);
  });

  it.each([
    ['a damaged header', async () => patch(Buffer.alloc(512, '1'), 0, 'x').fill('2', 0, 9), 'checksum'],
    [
      'a cut body',
      async () => (await archive([{ name: 'a', text: 'x'.repeat(2000) }])).subarray(0, 1500),
      'cut short',
    ],
    ['a cut header', async () => (await archive([{ name: 'a' }])).subarray(0, 300), 'cut short'],
    ['a negative size', async () => patch(await archive([{ name: 'a' }]), 124, '-0000000001\0'), 'negative'],
    [
      'a negative size in base 256',
      async () => patch(await archive([{ name: 'a' }]), 124, Buffer.alloc(12, 0xff)),
      'negative',
    ],
    [
      'a size beyond 2^53',
      async () => patch(await archive([{ name: 'a' }]), 124, Buffer.from([0x80, ...Buffer.alloc(11, 0x7f)])),
      'out of range',
    ],
    ['a GNU sparse file', async () => patch(await archive([{ name: 'a' }]), 156, 'S'), 'sparse'],
    ['a PAX sparse file', () => archive([{ name: 'a', pax: { 'GNU.sparse.major': '1' } }]), 'sparse'],
    ['a PAX size that is no number', () => archive([{ name: 'a', pax: { size: '-5' } }]), 'not a number'],
    ['a PAX size larger than the body', () => archive([{ name: 'a', pax: { size: '9999' } }]), 'cut short'],
    ['an unknown type', async () => patch(await archive([{ name: 'a' }]), 156, 'M'), 'unknown type'],
    [
      'a directory with a body',
      async () => patch(await archive([{ name: 'a', text: 'x' }]), 156, '5'),
      'with a body',
    ],
    [
      'a symlink with a body',
      async () => patch(await archive([{ name: 'a', text: 'x' }]), 156, '2'),
      'with a body',
    ],
    ['a nameless entry', async () => patch(await archive([{ name: 'a' }]), 0, '\0'), 'usable name'],
    [
      'a symlink without target',
      async () => patch(await archive([{ name: 'a' }]), 156, '2'),
      'without a target',
    ],
    [
      'a global header that renames',
      async () => patch(await archive([{ name: 'b', pax: { mtime: '1' } }]), 156, 'g'),
      'global header',
    ],
  ])('refuses %s', async (_, make, reason) => {
    const tar = await make();

    await expect(read(tar)).rejects.toMatchObject({
      name: 'TarError',
      message: expect.stringContaining(reason),
    });
  });

  it('refuses a PAX header whose lengths lie', async () => {
    const tar = await archive([{ name: 'a', pax: { comment: 'x' } }]);
    tar.write('99', 512);

    await expect(read(tar)).rejects.toThrow('damaged PAX header');
  });

  it('refuses an extension header of a gigabyte without reading it', async () => {
    const header = encodeHeader(
      { type: 'file', path: 'a', mode: 0, uid: 0, gid: 0, content: Buffer.alloc(0) },
      1024 ** 3,
      0,
    );

    await expect(read(patch(header, 156, 'L'))).rejects.toThrow('extension header too large');
  });

  it('refuses an endless stream of entries at the limit', async () => {
    const one = encodeHeader({ type: 'directory', path: 'd', mode: 0, uid: 0, gid: 0 }, 0, 0);
    async function* source() {
      for (;;) yield one;
    }

    const drain = async () => {
      for await (const _ of readTar(source(), { entries: 1000 }));
    };

    await expect(drain()).rejects.toThrow('more than 1000 entries');
  });

  it('refuses more bytes than allowed before reading them', async () => {
    const tar = await archive([{ name: 'a', text: 'x'.repeat(2000) }]);

    await expect(read(tar, { bytes: 1999 })).rejects.toThrow('more than 1999 bytes');
  });
});

describe('createContentSpool', () => {
  it('gives back what it took, from memory and from its file, and removes the file', async () => {
    const { createContentSpool } = await import('../../../../oci/layer/content-spool.ts');
    const { mkdtemp, readdir, rm } = await import('node:fs/promises');
    const folder = await mkdtemp('/tmp/spool-test-');
    const spool = createContentSpool({ memoryBytes: 1000, folder });
    async function* body(text: string) {
      for (let i = 0; i < text.length; i += 300) yield Buffer.from(text.slice(i, i + 300));
    }
    const texts = ['a'.repeat(900), 'b'.repeat(5000), 'c'.repeat(90), 'd'.repeat(2000), ''];

    const contents = [];
    for (const text of texts) contents.push(await spool.add(body(text)));
    const during = await readdir(folder);
    const back: string[] = [];
    for (const content of contents) {
      let text = '';
      for await (const part of content.open()) text += Buffer.from(part).toString();
      back.push(text);
    }
    await spool.close();
    const after = await readdir(folder);
    await rm(folder, { recursive: true });

    expect(back).toEqual(texts);
    expect(contents.map((c) => Buffer.from(c.sha256).toString('hex'))).toEqual(
      texts.map((text) => createHash('sha256').update(text).digest('hex')),
    );
    expect(during).toHaveLength(1);
    expect(after).toEqual([]);
  });
});
