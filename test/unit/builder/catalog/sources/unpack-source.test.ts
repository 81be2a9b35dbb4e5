import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { gzipSync } from 'node:zlib';
import { type Header, pack } from 'tar-stream';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { BaseFileSource } from '../../../../../builder/catalog/base-file.ts';
import { createFileTree, type FileTree } from '../../../../../builder/catalog/file-tree.ts';
import { unpackSource } from '../../../../../builder/catalog/sources/unpack-source.ts';
import { UserError } from '../../../../../core/user-error.ts';
import { type ContentSpool, createContentSpool } from '../../../../../oci/layer/content-spool.ts';
import { createTempDirectory, type TempDirectory } from '../../../../helpers/temp.ts';
import { zipOf } from '../../../../helpers/zip.ts';

let folder: TempDirectory;
let spool: ContentSpool;

beforeAll(async () => {
  folder = await createTempDirectory('sources');
  spool = createContentSpool();
});

afterAll(async () => {
  await spool.close();
  await folder.remove();
});

type Member = Partial<Header> & { name: string; text?: string | Buffer };

async function tarOf(members: readonly Member[]): Promise<Buffer> {
  const archive = pack();
  for (const { text = '', ...header } of members) archive.entry(header, text);
  archive.finalize();
  return buffer(archive);
}

async function unpack(bytes: Buffer, source: Partial<BaseFileSource>): Promise<FileTree> {
  const file = join(folder.path, 'archive');
  await writeFile(file, bytes);
  const tree = createFileTree();
  await unpackSource(file, { name: 'a.tgz', ...source }, { tree, spool });
  return tree;
}

/** `mode owner path`, and a link's target. */
function listing(tree: FileTree): string[] {
  return tree.sorted().map((entry) => {
    const mode = entry.type === 'symlink' ? '-' : entry.mode.toString(8);
    return `${mode} ${entry.uid}:${entry.gid} ${entry.path}${entry.type === 'symlink' ? ` → ${entry.target}` : ''}`;
  });
}

const tarBomb = gzipSync(await tarOf([{ name: 'a', text: Buffer.alloc(80 * 1024 * 1024) }]));
const whole = { unpack: { '': '/opt/x' } };

describe('a source is laid into an image', () => {
  it('moves what is named, cuts leading parts, and gives everything to root', async () => {
    const bytes = await tarOf([
      { name: 'x-1.0/', type: 'directory', mode: 0o700 },
      { name: 'x-1.0/bin/run', text: 'run', mode: 0o4750, uid: 1000, gid: 1000 },
      { name: 'x-1.0/bin/also', type: 'symlink', linkname: 'run' },
      { name: 'x-1.0/lib/a.jar', text: 'a', mode: 0o600 },
      { name: 'x-1.0/lib/b.jar', type: 'link', linkname: 'x-1.0/lib/a.jar' },
      { name: 'x-1.0/docs/x.html', text: 'unwanted' },
    ]);

    const tree = await unpack(gzipSync(bytes), {
      strip: 1,
      unpack: { bin: '/opt/x/bin', lib: '/opt/x/lib', 'lib/a.jar': '/opt/a.jar' },
      links: { '/usr/local/bin/run': '/opt/x/bin/run' },
    }).catch((error: unknown) => error);

    // b.jar is a second file rather than a link: sorted by name, the link could stand before what it names.
    expect(listing(tree as FileTree)).toEqual([
      '755 0:0 opt',
      '644 0:0 opt/a.jar',
      '755 0:0 opt/x',
      '755 0:0 opt/x/bin',
      '- 0:0 opt/x/bin/also → run',
      '755 0:0 opt/x/bin/run',
      '755 0:0 opt/x/lib',
      '644 0:0 opt/x/lib/b.jar',
      '755 0:0 usr',
      '755 0:0 usr/local',
      '755 0:0 usr/local/bin',
      '- 0:0 usr/local/bin/run → /opt/x/bin/run',
    ]);
    expect(String(await (tree as FileTree).read('opt/x/lib/b.jar'))).toBe('a');
  });

  it('reads zip archives, also under another name', async () => {
    const bytes = zipOf([
      { path: 'WEB-INF/' },
      { path: 'WEB-INF/web.xml', content: '<web-app/>' },
      { path: 'run', content: '#!/bin/sh', mode: 0o100755 },
    ]);

    const tree = await unpack(bytes, { ...whole, name: 'x.war' });

    expect(listing(tree)).toEqual([
      '755 0:0 opt',
      '755 0:0 opt/x',
      '755 0:0 opt/x/WEB-INF',
      '644 0:0 opt/x/WEB-INF/web.xml',
      '755 0:0 opt/x/run',
    ]);
  });

  it('takes a file as it is under "."', async () => {
    const tree = await unpack(Buffer.from('bytes'), { name: 'x.jar', unpack: { '.': '/opt/lib/x.jar' } });

    expect(String(await tree.read('opt/lib/x.jar'))).toBe('bytes');
  });

  it('says which path the archive does not have', async () => {
    const bytes = await tarOf([{ name: 'x-1.0/bin/run', text: 'run' }]);

    await expect(unpack(bytes, { unpack: { bin: '/opt/bin' } })).rejects.toThrow(
      'the source a.tgz cannot be unpacked: it holds nothing under "bin" (strip: 0)',
    );
  });
});

describe('a source is refused when (builder.md 6, rows 10 and 13)', () => {
  it.each<[string, Member[], string]>([
    ['a name climbs out', [{ name: 'a/../../etc/passwd', text: 'x' }], 'climbs out'],
    ['a name is absolute', [{ name: '/etc/passwd', text: 'x' }], 'is absolute'],
    [
      'a link leads out',
      [{ name: 'a/l', type: 'symlink', linkname: '../../../etc' }],
      'out of what is unpacked',
    ],
    [
      'a link is absolute',
      [{ name: 'l', type: 'symlink', linkname: '/etc/shadow' }],
      'out of what is unpacked',
    ],
    ['a hard link leads out', [{ name: 'l', type: 'link', linkname: '../../etc/shadow' }], 'climbs out'],
    ['a hard link names nothing', [{ name: 'l', type: 'link', linkname: 'x' }], 'not unpacked before it'],
    [
      'a file lies below a link',
      [
        { name: 'd', type: 'symlink', linkname: 'e' },
        { name: 'd/passwd', text: 'x' },
      ],
      'bring /opt/x/d',
    ],
    [
      'a name stands twice',
      [
        { name: 'a', text: '1' },
        { name: './a', text: '2' },
      ],
      'stands twice',
    ],
    [
      'a file is also a directory',
      [
        { name: 'a', text: '1' },
        { name: 'a/b', text: '2' },
      ],
      'bring /opt/x/a',
    ],
    ['a name deletes files of the base', [{ name: 'd/.wh.passwd', text: '' }], '.wh.'],
    ['it holds a device', [{ name: 'tty', type: 'character-device', devmajor: 5 }], 'a device'],
    ['it holds a named pipe', [{ name: 'p', type: 'fifo' }], 'named pipe'],
  ])('%s', async (_, members, message) => {
    const failed: unknown = await unpack(await tarOf(members), whole).catch((error: unknown) => error);

    expect(failed).toBeInstanceOf(UserError);
    expect((failed as Error).message).toContain('the source a.tgz cannot be unpacked');
    expect((failed as Error).message).toContain(message);
  });

  it.each([
    ['a zip slips', zipOf([{ path: '../x', content: 'x' }]), 'climbs out'],
    [
      'a zip links out',
      zipOf([{ path: 'l', content: '../../etc', mode: 0o120777 }]),
      'out of what is unpacked',
    ],
    ['a zip has a name twice', zipOf([{ path: 'a' }, { path: 'a' }]), 'stands twice'],
    ['it is a gzip bomb', tarBomb, 'times its size'],
    ['it is a zip bomb', zipOf([{ path: 'a', content: Buffer.alloc(80 * 1024 * 1024) }]), 'times its size'],
    ['it is a web page', Buffer.from('<!doctype html><title>Sign in</title>'), 'cut short'],
  ])('%s', async (_, bytes, message) => {
    const failed: unknown = await unpack(bytes, whole).catch((error: unknown) => error);

    expect(failed).toBeInstanceOf(UserError);
    expect((failed as Error).message).toContain(message);
  });
});
