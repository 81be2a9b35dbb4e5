import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { type Header, pack } from 'tar-stream';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readArchive } from '../../../../builder/package/read-package.ts';
import { spoolPackage } from '../../../../builder/package/spool-package.ts';
import type { ArchiveLimits } from '../../../../core/archive/archive-limits.ts';
import { type TestZipEntry, zipOf } from '../../../helpers/zip.ts';

let folder = '';
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'brickyard-package-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

interface Read {
  files: Record<string, string>;
  top: string | undefined;
  texts: Record<string, string>;
}

/** Reads an archive as the service does, keeping what would have entered the commit. */
async function read(bytes: Buffer, limits: ArchiveLimits = {}): Promise<Read> {
  async function* body(): AsyncGenerator<Buffer> {
    yield bytes;
  }
  const spooled = await spoolPackage(body(), { folder, maxBytes: 100_000_000 });
  const contents: string[] = [];
  const commit = {
    async content(size: number, source: AsyncIterable<Uint8Array>) {
      const parts: Uint8Array[] = [];
      for await (const chunk of source) parts.push(chunk);
      const all = Buffer.concat(parts);
      expect(all.length).toBe(size);
      return contents.push(all.toString()) - 1;
    },
  };
  try {
    const { tree, texts } = await readArchive(spooled, { commit, limits, wanted: ['package.json'] });
    const top = tree.top();
    const files = tree.files(top).map(({ path, kind, content }) => [path, `${kind} ${contents[content]}`]);
    return { files: Object.fromEntries(files), top, texts: Object.fromEntries(texts) };
  } finally {
    await spooled.close();
  }
}

type TarMember = Pick<Header, 'name'> & Partial<Header> & { content?: string };

async function tarOf(members: readonly TarMember[]): Promise<Buffer> {
  const tar = pack();
  for (const { content, ...header } of members) tar.entry(header, content ?? '');
  tar.finalize();
  const parts: Buffer[] = [];
  for await (const chunk of tar) parts.push(chunk as Buffer);
  return Buffer.concat(parts);
}

const refusalOf = (promise: Promise<unknown>): Promise<string> =>
  promise.then(
    () => 'taken',
    (error: Error) => `${error.name}: ${error.message}`,
  );

describe('an archive on its way into a commit', () => {
  const members: TarMember[] = [
    { name: 'shop-1.2/', type: 'directory', mode: 0o2775 },
    { name: 'shop-1.2/package.json', content: '{}' },
    { name: 'shop-1.2/bin/run', content: '#!/bin/sh', mode: 0o755 },
    { name: 'shop-1.2/bin/again', type: 'link', linkname: 'shop-1.2/bin/run' },
    { name: 'shop-1.2/current', type: 'symlink', linkname: './bin/../bin' },
    { name: 'shop-1.2/empty/', type: 'directory' },
  ];
  const files = {
    'package.json': 'file {}',
    'bin/run': 'executable #!/bin/sh',
    'bin/again': 'executable #!/bin/sh',
    current: 'symlink ./bin/../bin',
  };

  it.each(['tar', 'tgz'])(
    'of type %s gives its files without the directory that all lie in',
    async (type) => {
      const tar = await tarOf(members);

      expect(await read(type === 'tar' ? tar : gzipSync(tar))).toEqual({
        files,
        top: 'shop-1.2',
        texts: { 'shop-1.2/package.json': '{}' },
      });
    },
  );

  it('of type zip gives the same', async () => {
    const zip = zipOf([
      { path: 'shop-1.2/package.json', content: '{}' },
      { path: 'shop-1.2/bin/run', content: '#!/bin/sh', mode: 0o100_755 },
      { path: 'shop-1.2/current', content: './bin/../bin', mode: 0o120_777 },
    ]);
    const { 'bin/again': _, ...same } = files;

    expect(await read(zip)).toMatchObject({ files: same, top: 'shop-1.2' });
  });

  it('with something beside a directory keeps all of its paths', async () => {
    const found = await read(await tarOf([{ name: 'a/b' }, { name: './c' }]));

    expect({ files: Object.keys(found.files), top: found.top }).toEqual({
      files: ['a/b', 'c'],
      top: undefined,
    });
  });

  it('gives the same whatever its times, owners and order say', async () => {
    const one = await tarOf([
      { name: 'a', content: 'A' },
      { name: 'b', content: 'B' },
    ]);
    const other = await tarOf([
      { name: 'b', content: 'B', mtime: new Date(5), uid: 7, uname: 'dev' },
      { name: 'a', content: 'A', gid: 9 },
    ]);

    expect(JSON.stringify(await read(other))).toBe(JSON.stringify(await read(one)));
  });
});

describe('a hostile archive is refused with the name of the entry (builder.md 6, rows 8 to 13)', () => {
  const ok: TarMember = { name: 'dir/ok', content: 'x' };
  const link = (name: string, linkname: string): TarMember => ({ name, type: 'symlink', linkname });
  const hardLink = (name: string, linkname: string): TarMember => ({ name, type: 'link', linkname });

  it.each<[string, TarMember[], string]>([
    ['a path that climbs out', [{ name: '../../etc/passwd' }], '"../../etc/passwd": its path climbs out of'],
    ['an absolute path', [{ name: '/etc/passwd' }], '"/etc/passwd": its path is absolute'],
    [
      'a link that climbs out',
      [ok, link('l', 'dir/../../etc')],
      '"l": it links to "dir/../../etc", outside of the package',
    ],
    [
      'an absolute link',
      [ok, link('l', '/etc/shadow')],
      '"l": it links to "/etc/shadow", outside of the package',
    ],
    [
      'a file written through a link',
      [ok, link('l', 'dir'), { name: 'l/ok' }],
      '"l/ok": it lies below "l", which',
    ],
    ['a file below a file', [ok, { name: 'dir/ok/more' }], '"dir/ok/more": it lies below "dir/ok", which'],
    ['a hard link to the outside', [hardLink('h', '../etc/shadow')], '"../etc/shadow": its path climbs out'],
    [
      'a hard link to nothing',
      [hardLink('h', 'etc/shadow')],
      '"h": it is a hard link to "etc/shadow", which',
    ],
    [
      'a hard link to a link',
      [ok, link('s', 'dir'), hardLink('h', 's')],
      '"h": it is a hard link to "s", which',
    ],
    ['a character device', [{ name: 'tty', type: 'character-device' }], '"tty": it is a character device'],
    ['a block device', [{ name: 'sda', type: 'block-device' }], '"sda": it is a block device'],
    ['a named pipe', [{ name: 'p', type: 'fifo' }], '"p": it is a fifo'],
    ['a setuid file', [{ name: 'su', mode: 0o4755 }], '"su": it is setuid or setgid'],
    ['a setgid file', [{ name: 'sg', mode: 0o2755 }], '"sg": it is setuid or setgid'],
    [
      'the same name twice',
      [ok, { name: './dir//ok' }],
      '"./dir//ok": the same name stands in the archive twice',
    ],
    [
      'a file where a directory is',
      [{ name: 'dir/', type: 'directory' }, { name: 'dir' }],
      '"dir": the same name stands in the archive twice',
    ],
    ['a whiteout', [{ name: 'etc/.wh.passwd' }], '"etc/.wh.passwd": a name that begins with ".wh."'],
    ['an opaque whiteout', [{ name: '.wh..wh..opq' }], '".wh..wh..opq": a name that begins with ".wh."'],
    [
      'a git repository',
      [{ name: 'shop/.git/config' }],
      '"shop/.git/config": nothing in a package may be called',
    ],
    ['a look-alike of one', [{ name: 'shop/.GIT/x' }], '"shop/.GIT/x": nothing in a package may be called'],
    ['a short name of one', [{ name: 'git~1/x' }], '"git~1/x": nothing in a package may be called'],
  ])('%s', async (_what, members, message) => {
    expect(await refusalOf(read(await tarOf(members)))).toContain(`ArchiveError: entry ${message}`);
  });

  it.each<[string, TestZipEntry, string]>([
    ['zip slip', { path: 'a/../../b' }, '"a/../../b": its path climbs out'],
    ['zip slip of Windows', { path: '..\\b', mode: 0 }, '"../b": its path climbs out'],
    ['an absolute path', { path: '/etc/cron.d/x' }, '"/etc/cron.d/x": its path is absolute'],
    [
      'a link to the outside',
      { path: 'l', content: '../x', mode: 0o120_777 },
      '"l": it links to "../x", outside',
    ],
    ['a link without a target', { path: 'l', mode: 0o120_777 }, '"l": it links to "", outside'],
    ['a device', { path: 'd', mode: 0o020_600 }, '"d": it is a device or pipe'],
    ['a setuid file', { path: 'su', mode: 0o104_755 }, '"su": it is setuid or setgid'],
    ['the same name twice', { path: 'first' }, '"first": the same name stands in the archive twice'],
    ['a whiteout', { path: '.wh.a' }, '".wh.a": a name that begins with ".wh."'],
    ['a git repository', { path: '.git/HEAD' }, '".git/HEAD": nothing in a package may be called ".git"'],
  ])('%s in a zip', async (_what, entry, message) => {
    expect(await refusalOf(read(zipOf([{ path: 'first' }, entry])))).toContain(
      `ArchiveError: entry ${message}`,
    );
  });

  it.each<[string, Record<string, string>, RegExp]>([
    ['says more bytes than there are', { size: '99999999' }, /cut short/],
    ['says a size below zero', { size: '-1' }, /not a number/],
    ['names two paths', { path: '../../x' }, /names "path" twice/],
    ['makes it sparse', { 'GNU.sparse.major': '1' }, /sparse file/],
  ])('a PAX header that %s', async (_what, pax, message) => {
    expect(await refusalOf(read(await tarOf([{ name: 'a', content: 'x', pax }])))).toMatch(message);
  });

  const zeros = Buffer.alloc(3_000_000);
  it.each<[string, () => Promise<Buffer> | Buffer, ArchiveLimits, string]>([
    ['a gzip bomb', () => gzipSync(zeros), { ratioFrom: 1_000_000 }, 'to more than 200 times its size'],
    [
      'a zip bomb',
      () => zipOf([{ path: 'a', content: zeros }]),
      { ratioFrom: 1_000_000 },
      'to more than 200 times',
    ],
    [
      'too large a tar',
      () => tarOf([{ name: 'a', content: 'x'.repeat(2000) }]),
      { bytes: 1000 },
      'more than 1000 bytes',
    ],
    [
      'too many files in a tar',
      () => tarOf([{ name: 'a' }, { name: 'b' }]),
      { entries: 1 },
      'more than 1 entries',
    ],
    [
      'too many files in a zip',
      () => zipOf([{ path: 'a' }, { path: 'b' }]),
      { entries: 1 },
      'more than 1 entries',
    ],
    [
      'a gzip whose end is missing',
      async () => gzipSync(await tarOf([{ name: 'a' }])).subarray(0, -4),
      {},
      'its gzip data is damaged or cut short',
    ],
    [
      'a gzip with another checksum',
      async () => withChecksumChanged(gzipSync(await tarOf([{ name: 'a' }]))),
      {},
      'its gzip data is damaged',
    ],
    [
      'text that is no archive',
      () => Buffer.from('x'.repeat(2000)),
      {},
      'it is no tar archive that can be read',
    ],
    [
      'a format that is not read',
      () => Buffer.from('\xfd7zXZ\0xxxx', 'latin1'),
      {},
      'it is compressed by xz, which',
    ],
  ])('%s', async (_what, bytes, limits, message) => {
    expect(await refusalOf(read(await bytes(), limits))).toContain(message);
  });
});

function withChecksumChanged(bytes: Buffer): Buffer {
  const at = bytes.length - 5;
  bytes[at] = (bytes[at] ?? 0) ^ 1;
  return bytes;
}
