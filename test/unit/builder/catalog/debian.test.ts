import { describe, expect, it } from 'vitest';
import { addAccounts } from '../../../../builder/catalog/debian/accounts.ts';
import { parsePlan } from '../../../../builder/catalog/debian/apt.ts';
import { addCaBundle } from '../../../../builder/catalog/debian/ca-certificates.ts';
import { addDpkgDatabase } from '../../../../builder/catalog/debian/dpkg-database.ts';
import {
  compareNames,
  encodeLinkerCache,
  sonameOf,
} from '../../../../builder/catalog/debian/linker-cache.ts';
import { mergedPath } from '../../../../builder/catalog/debian/read-package.ts';
import { createFileTree, textFile } from '../../../../builder/catalog/file-tree.ts';

async function text(tree: ReturnType<typeof createFileTree>, path: string): Promise<string> {
  return (await tree.read(path)).toString('latin1');
}

describe('accounts', () => {
  it('come from the masters of base-passwd, locked, with app as 10001', async () => {
    const tree = createFileTree();
    tree.add(textFile('usr/share/base-passwd/passwd.master', 'root:*:0:0:root:/root:/bin/bash\n'));
    tree.add(textFile('usr/share/base-passwd/group.master', 'root:*:0:\nshadow:*:42:\n'));

    await addAccounts(tree);

    expect(await text(tree, 'etc/passwd')).toBe(
      'root:x:0:0:root:/root:/bin/bash\napp:x:10001:10001:app:/home:/usr/sbin/nologin\n',
    );
    expect(await text(tree, 'etc/group')).toBe('root:x:0:\nshadow:x:42:\napp:x:10001:\n');
    expect(await text(tree, 'etc/shadow')).toBe('root:*::0:99999:7:::\napp:*::0:99999:7:::\n');
    expect(tree.get('etc/shadow')).toMatchObject({ mode: 0o640, uid: 0, gid: 42 });
  });
});

describe('the CA bundle', () => {
  it('holds all certificates in order of their names, and lists names of raw bytes', async () => {
    const tree = createFileTree();
    tree.add(textFile('usr/share/ca-certificates/mozilla/B\xc5\x91.crt', 'two'));
    tree.add(textFile('usr/share/ca-certificates/mozilla/A.crt', 'one\n'));

    await addCaBundle(tree);

    expect(await text(tree, 'etc/ssl/certs/ca-certificates.crt')).toBe('one\ntwo\n');
    expect(await text(tree, 'etc/ca-certificates.conf')).toBe('mozilla/A.crt\nmozilla/B\xc5\x91.crt\n');
  });
});

describe("dpkg's database", () => {
  it('says what is installed, with conffiles, file lists and triggers', async () => {
    const tree = createFileTree();
    tree.add(textFile('etc/ld.so.conf', 'x'));
    const control = 'Package: libc-bin\nVersion: 2.36\nArchitecture: amd64\nMulti-Arch: foreign\n';
    const library = 'Package: libz\nVersion: 1\nArchitecture: amd64\nMulti-Arch: same\n';
    const member = (name: string, content: string) => ({ name, mode: 0o644, text: Buffer.from(content) });

    await addDpkgDatabase(tree, [
      {
        name: 'libc-bin',
        control,
        members: [
          member('conffiles', '/etc/ld.so.conf\nremove-on-upgrade /etc/old\n'),
          member('triggers', '# comment\ninterest-noawait ldconfig\ninterest /usr/share/x\nactivate y\n'),
        ],
        paths: ['/.', '/etc', '/etc/ld.so.conf'],
      },
      { name: 'libz', control: library, members: [], paths: ['/.', '/\xc5\x91'] },
    ]);

    expect(await text(tree, 'var/lib/dpkg/status')).toBe(
      'Package: libc-bin\nStatus: install ok installed\nVersion: 2.36\nArchitecture: amd64\nMulti-Arch: foreign\n' +
        'Conffiles:\n /etc/ld.so.conf 9dd4e461268c8034f5c8564e155c67a6\n\n' +
        'Package: libz\nStatus: install ok installed\nVersion: 1\nArchitecture: amd64\nMulti-Arch: same\n',
    );
    expect(await text(tree, 'var/lib/dpkg/info/libc-bin.list')).toBe('/.\n/etc\n/etc/ld.so.conf\n');
    expect(await text(tree, 'var/lib/dpkg/info/libz:amd64.list')).toBe('/.\n/\xc5\x91\n');
    expect(await text(tree, 'var/lib/dpkg/triggers/ldconfig')).toBe('libc-bin/noawait\n');
    expect(await text(tree, 'var/lib/dpkg/triggers/File')).toBe('/usr/share/x libc-bin\n');
    expect(tree.get('var/lib/dpkg/triggers/y')).toBeUndefined();
  });
});

describe('the linker cache', () => {
  it.each([
    ['libc.so.6', 'libc.so.6', 0],
    ['liba.so.10', 'liba.so.9', 1],
    ['liba.so.1', 'libb.so.1', -1],
    ['liba.so', 'liba.so.1', -1],
    ['lib2', 'liba', 1],
  ])('orders %s against %s as glibc does', (a, b, sign) => {
    expect(Math.sign(compareNames(a, b))).toBe(sign);
    expect(Math.sign(compareNames(b, a)) + sign).toBe(0);
  });

  it('has its entries in descending order and its strings where they say', () => {
    const bytes = encodeLinkerCache(
      [
        { name: 'liba.so.9', path: '/lib/liba.so.9' },
        { name: 'liba.so.10', path: '/lib/liba.so.10' },
      ],
      'amd64',
    );

    const string = (at: number): string => bytes.toString('latin1', at, bytes.indexOf(0, at));
    const names = [0, 1].map((index) => string(bytes.readUInt32LE(48 + index * 24 + 4)));
    const paths = [0, 1].map((index) => string(bytes.readUInt32LE(48 + index * 24 + 8)));
    expect(bytes.toString('latin1', 0, 20)).toBe('glibc-ld.so.cache1.1');
    expect(bytes.readUInt32LE(20)).toBe(2);
    expect(names).toEqual(['liba.so.10', 'liba.so.9']);
    expect(paths).toEqual(['/lib/liba.so.10', '/lib/liba.so.9']);
  });

  it.each([
    ['text', Buffer.from('#!/bin/sh\n'.repeat(20))],
    [
      'an ELF header and nothing behind it',
      Buffer.concat([Buffer.from('\x7fELF\x02\x01', 'latin1'), Buffer.alloc(64, 0xff)]),
    ],
    ['nothing', Buffer.alloc(0)],
  ])('finds no name in %s', (_, file) => {
    expect(sonameOf(file)).toBeUndefined();
  });
});

describe('packages', () => {
  it('land in a merged /usr', () => {
    expect(['bin/sh', 'lib', 'lib64/ld.so', 'library/x', 'etc/lib'].map(mergedPath)).toEqual([
      'usr/bin/sh',
      'usr/lib',
      'usr/lib64/ld.so',
      'library/x',
      'etc/lib',
    ]);
  });

  it('are read from a simulated installation, in order of name', () => {
    const plan = parsePlan(
      'Reading package lists...\nInst tini (0.19.0-1+b3 Debian:12.15/stable [amd64])\n' +
        'Inst login (1:4.13+dfsg1-1 Debian:12/stable, Debian-Security:12/stable-security [amd64])\nConf tini (0.19)\n',
    );

    expect(plan).toEqual([
      { name: 'login', version: '1:4.13+dfsg1-1', architecture: 'amd64' },
      { name: 'tini', version: '0.19.0-1+b3', architecture: 'amd64' },
    ]);
  });

  it('that bring the same file are refused', () => {
    const tree = createFileTree();
    tree.add(textFile('usr/bin/x', 'a'));

    expect(() => tree.add(textFile('usr/bin/x', 'b'))).toThrow('two packages bring /usr/bin/x');
  });
});
