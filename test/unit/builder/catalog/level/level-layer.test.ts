import { pack } from 'tar-stream';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { readContent } from '../../../../../builder/catalog/file-tree.ts';
import { readLevelLayer } from '../../../../../builder/catalog/level/level-layer.ts';
import type { FileChange } from '../../../../../builder/engines/level-sandbox.ts';
import { type ContentSpool, createContentSpool } from '../../../../../oci/layer/content-spool.ts';
import { fileTime, type LayerEntry } from '../../../../../oci/layer/entry.ts';

interface Member {
  readonly name: string;
  readonly type?: 'file' | 'directory' | 'symlink' | 'link' | 'fifo';
  readonly mode?: number;
  readonly linkname?: string;
  readonly text?: string | Buffer;
}

let spool: ContentSpool;

beforeEach(() => {
  // Nothing stays in memory: contents have hashes, as large ones do.
  spool = createContentSpool({ memoryBytes: 0 });
});

afterEach(async () => {
  await spool.close();
});

async function read(
  members: readonly Member[],
  changes: Readonly<Record<string, FileChange['kind']>>,
  privileged: readonly string[] = [],
): Promise<readonly LayerEntry[]> {
  return readLevelLayer({
    changes: Object.entries(changes).map(([path, kind]) => ({ path: `/${path}`, kind })),
    async open() {
      const archive = pack();
      for (const {
        text = '',
        type = 'file',
        mode = type === 'directory' ? 0o755 : 0o644,
        name,
        linkname,
      } of members) {
        archive.entry(
          { name, type, mode, mtime: new Date(), ...(linkname === undefined ? {} : { linkname }) },
          text,
        );
      }
      archive.finalize();
      return archive as AsyncIterable<Uint8Array>;
    },
    spool,
    privileged: async () => new Set(privileged),
  });
}

const directory = (name: string, mode = 0o755): Member => ({ name: `${name}/`, type: 'directory', mode });

describe('the layer of a level', () => {
  it('holds what is new or changed, with the directories on the way as they are, in byte order', async () => {
    const entries = await read(
      [
        directory('root', 0o700),
        { name: 'root/new', text: 'a' },
        { name: 'etc/old' },
        directory('etc'),
        { name: 'etc/a', text: 'b' },
      ],
      { root: 'changed', 'root/new': 'added', 'etc/a': 'changed' },
    );

    expect(entries.map(({ path }) => path)).toEqual(['etc', 'etc/a', 'root', 'root/new']);
    expect(entries[2]).toMatchObject({ type: 'directory', mode: 0o700, uid: 0 });
  });

  it('hides what was removed, once for a whole directory, and all of a directory that was replaced', async () => {
    const entries = await read([directory('opt'), directory('opt/new'), { name: 'opt/new/x' }], {
      'opt/gone': 'removed',
      'opt/gone/below': 'removed',
      'opt/new': 'removed',
      'opt/new/x': 'added',
    });

    expect(entries.map(({ path }) => path)).toEqual([
      'opt',
      'opt/.wh.gone',
      'opt/new',
      'opt/new/.wh..wh..opq',
      'opt/new/x',
    ]);
  });

  it('leaves out what a run leaves behind, and keeps the directories for logs', async () => {
    const names = [
      '.dockerenv',
      'run/x.pid',
      'tmp/x',
      'etc/hosts',
      'var/log/dpkg.log',
      'var/cache/ldconfig/aux-cache',
      'etc/passwd-',
      'etc/x.dpkg-new',
      'usr/sbin/policy-rc.d',
    ];
    const entries = await read(
      [
        ...names.map((name) => ({ name })),
        directory('var'),
        directory('var/log'),
        directory('var/log/web', 0o750),
      ],
      {
        ...Object.fromEntries(names.map((name) => [name, 'added'])),
        'var/log/web': 'added',
        'run/socket': 'added',
        tmp: 'removed',
      },
    );

    expect(entries.map(({ path }) => path)).toEqual(['var', 'var/log', 'var/log/web']);
  });

  it('carries a file of several names once, also when one of the names is the parent’s', async () => {
    const hard = (name: string, linkname: string): Member => ({ name, type: 'link', linkname });
    const members = [
      { name: 'z', text: 'one' },
      hard('b', 'z'),
      hard('a', 'z'),
      { name: 'old', text: 'two' },
      hard('p', 'old'),
      hard('q', 'old'),
    ];

    const entries = await read(members, { z: 'added', b: 'added', a: 'added', p: 'added', q: 'added' });

    expect(entries.map((entry) => [entry.path, entry.type, 'target' in entry ? entry.target : ''])).toEqual([
      ['a', 'file', ''],
      ['b', 'hardlink', 'a'],
      ['p', 'file', ''],
      ['q', 'hardlink', 'p'],
      ['z', 'hardlink', 'a'],
    ]);
    expect(entries[2]?.type === 'file' && (await readContent(entries[2].content)).toString()).toBe('two');
  });

  it('refuses setuid and setgid files but those that packages bring so', async () => {
    const members = [
      { name: 'usr/bin/su', mode: 0o4755 },
      { name: 'usr/bin/x', mode: 0o2755 },
    ];

    await expect(read(members, { 'usr/bin/su': 'added' }, ['usr/bin/su'])).resolves.toHaveLength(1);
    await expect(
      read(members, { 'usr/bin/su': 'added', 'usr/bin/x': 'added' }, ['usr/bin/su']),
    ).rejects.toThrow('static.sh made /usr/bin/x setuid or setgid');
  });

  it.each([
    [{ name: 'pipe', type: 'fifo' } as const, 'pipe', 'static.sh made /pipe, a fifo'],
    [{ name: 'other' }, 'socket', 'left /socket, which cannot be part of an image: it is a socket'],
    [{ name: 'a/.wh.b' }, 'a/.wh.b', 'a name that layers cannot hold'],
  ])('refuses what no image can hold: %j', async (member, path, message) => {
    await expect(read([member], { [path]: 'added' })).rejects.toThrow(message);
  });

  it('writes the time of a source in the layer into its compiled Python', async () => {
    const code = Buffer.alloc(20, 7);
    code.writeUInt32LE(0, 4);
    const entries = await read(
      [
        { name: 'lib/x.py', text: 'x = 1\n' },
        { name: 'lib/__pycache__/x.cpython-311.pyc', text: code },
      ],
      { 'lib/x.py': 'added', 'lib/__pycache__/x.cpython-311.pyc': 'added' },
    );

    const [compiled, source] = entries;
    if (compiled?.type !== 'file' || source?.type !== 'file' || source.content instanceof Uint8Array) {
      throw new Error('not the files that were expected');
    }
    const bytes = await readContent(compiled.content);
    expect(bytes.readUInt32LE(8)).toBe(fileTime(source.content.sha256));
    expect(bytes.subarray(12)).toEqual(code.subarray(12));
  });
});
