import { createHash } from 'node:crypto';
import { Readable } from 'node:stream';
import { gunzipSync } from 'node:zlib';
import { extract, type Header } from 'tar-stream';
import { describe, expect, it } from 'vitest';
import { digestOf } from '../../../oci/digest.ts';
import { type LayerEntry, layerEpoch } from '../../../oci/layer/entry.ts';
import { readTar } from '../../../oci/layer/tar-reader.ts';
import { writeLayer } from '../../../oci/layer.ts';

const owner = { uid: 10001, gid: 10001 };

function file(path: string, text: string, mode = 0o644): LayerEntry {
  return { type: 'file', path, mode, ...owner, content: Buffer.from(text) };
}

async function collect(body: AsyncIterable<Buffer>): Promise<Buffer> {
  const parts: Buffer[] = [];
  for await (const part of body) parts.push(part);
  return Buffer.concat(parts);
}

async function write(entries: readonly LayerEntry[]) {
  const { layer, result } = await writeLayer(entries, collect);
  return { layer, bytes: result, tar: gunzipSync(result) };
}

/** What an independent reader sees. */
async function headersOf(tar: Buffer): Promise<Header[]> {
  const headers: Header[] = [];
  const reader = extract();
  reader.end(tar);
  for await (const entry of reader) {
    headers.push(entry.header);
    entry.resume();
  }
  return headers;
}

describe('writeLayer', () => {
  it('tells the digests and the size of exactly the bytes it hands out', async () => {
    const { layer, bytes, tar } = await write([file('home/shop/a', 'one'), file('home/shop/b', 'two')]);

    expect(layer.digest).toBe(digestOf(bytes));
    expect(layer.diffId).toBe(digestOf(tar));
    expect(layer.size).toBe(bytes.length);
    expect(layer.mediaType).toBe('application/vnd.oci.image.layer.v1.tar+gzip');
  });

  it('gives the same bytes for the same entries, however their contents are cut', async () => {
    const bytes = Buffer.alloc(300_000, 'some text that repeats but not too evenly. ');
    const sha256 = createHash('sha256').update(bytes).digest();
    async function* pieces() {
      for (let i = 0; i < bytes.length; i += 777) yield bytes.subarray(i, i + 777);
    }

    const whole = await write([{ type: 'file', path: 'a', mode: 0o644, ...owner, content: bytes }]);
    const cut = await write([
      {
        type: 'file',
        path: 'a',
        mode: 0o644,
        ...owner,
        content: { size: bytes.length, sha256, open: pieces },
      },
    ]);

    expect(cut.layer).toEqual(whole.layer);
  });

  it('adds missing parents as root:root 0755 directories, once', async () => {
    const { tar } = await write([file('etc/appimg/x', ''), file('etc/appimg/y', '')]);

    const headers = await headersOf(tar);
    expect(headers.map((h) => [h.name, h.type, h.mode, h.uid])).toEqual([
      ['etc/', 'directory', 0o755, 0],
      ['etc/appimg/', 'directory', 0o755, 0],
      ['etc/appimg/x', 'file', 0o644, 10001],
      ['etc/appimg/y', 'file', 0o644, 10001],
    ]);
  });

  it('dates directories and links 1980-01-01T00:00:01Z, and files by their content', async () => {
    const { tar } = await write([
      { type: 'directory', path: 'd', mode: 0o755, ...owner },
      file('d/a', 'one'),
      file('d/b', 'two'),
      file('d/c', 'one'),
      { type: 'symlink', path: 'd/l', target: '../x', ...owner },
    ]);

    const times = (await headersOf(tar)).map((h) => (h.mtime as Date).getTime() / 1000);
    const [directory, a, b, c, link] = times as [number, number, number, number, number];
    expect(directory).toBe(layerEpoch);
    expect(link).toBe(layerEpoch);
    expect(new Date(directory * 1000).toISOString()).toBe('1980-01-01T00:00:01.000Z');
    expect(a).toBe(layerEpoch + createHash('sha256').update('one').digest().readUIntBE(0, 3));
    expect(c).toBe(a);
    expect(b).not.toBe(a);
  });

  it('keeps names and link targets that are not UTF-8, contain newlines or are 4,000 bytes long', async () => {
    const names = [
      '-rf',
      'a\nb',
      `long/${'x'.repeat(200)}/${'y'.repeat(200)}`,
      `raw/\xff\xfe\x80`,
      `split/${'p'.repeat(90)}/${'q'.repeat(80)}`,
      `z/${'\xff'.repeat(4000)}`,
    ];
    const entries = names.map((path) => file(path, path));
    const { tar } = await write([
      ...entries,
      { type: 'symlink', path: 'zz', target: `${'t'.repeat(150)}\xe9`, ...owner },
    ]);

    const seen: string[] = [];
    for await (const { entry } of readTar(Readable.from([tar]))) {
      if (entry.type !== 'directory') seen.push(entry.path + (entry.target === '' ? '' : `>${entry.target}`));
    }
    expect(seen).toEqual([...names, `zz>${'t'.repeat(150)}\xe9`]);
  });

  it('uses plain ustar headers for names of up to 255 bytes', async () => {
    const { tar } = await write([file(`${'p'.repeat(80)}/${'r'.repeat(69)}/${'q'.repeat(100)}`, '')]);

    expect((await headersOf(tar)).filter((h) => h.type === 'file')).toMatchObject([{ pax: null }]);
    expect(tar.includes('PaxHeader')).toBe(false);
  });

  it.each([
    ['out of order', [file('b', ''), file('a', '')]],
    ['twice', [file('a', ''), file('a', '')]],
    ['with ..', [file('a/../b', '')]],
    ['absolute', [file('/a', '')]],
    ['ending in a slash', [file('a/', '')]],
  ])('refuses a path %s', async (_, entries) => {
    await expect(write(entries)).rejects.toThrow(RangeError);
  });

  it('fails when a content is not as long as announced', async () => {
    async function* open() {
      yield Buffer.from('abc');
    }
    const content = { size: 4, sha256: Buffer.alloc(32), open };

    await expect(write([{ type: 'file', path: 'a', mode: 0o644, ...owner, content }])).rejects.toThrow(
      '3 bytes instead of 4',
    );
  });

  it('writes 20 GB sizes into a PAX header', async () => {
    const { encodeHeader } = await import('../../../oci/layer/tar-header.ts');

    const header = encodeHeader(file('big', ''), 20 * 1024 ** 3, layerEpoch);

    expect(header.length).toBe(3 * 512);
    expect(header.toString('latin1', 512, 1024)).toContain(`size=${20 * 1024 ** 3}\n`);
  });

  it('passes on the failure of the consumer', async () => {
    const failing = writeLayer([file('a', 'x')], async () => {
      throw new Error('upload refused');
    });

    await expect(failing).rejects.toThrow('upload refused');
  });
});
