import { describe, expect, it } from 'vitest';
import { type CacheNotKept, cacheArchive } from '../../../../builder/cache/cache-archive.ts';
import { tarEnd, tarFile, tarHeader } from '../../../../builder/engines/docker/tar-file.ts';
import { createSecretFinder } from '../../../../builder/secrets/find-secret.ts';
import { readTar } from '../../../../oci/layer/tar-reader.ts';

const ids = { uid: 10001, gid: 10001 };
const limits = { bytes: 1000, entries: 10 };

const file = (path: string, content = 'x', mode = 0o644) => tarFile(path, Buffer.from(content), { mode });
const directory = (path: string, mode = 0o755) => [
  tarHeader({ type: 'directory', path, mode, uid: 0, gid: 0 }),
];
const symlink = (path: string, target: string) => [tarHeader({ type: 'symlink', path, target, ...ids })];
const hardlink = (path: string, target: string) => [
  tarHeader({ type: 'hardlink', path, target, mode: 0o644, sha256: Buffer.alloc(32), ...ids }),
];

type Part = AsyncIterable<Buffer> | Iterable<Buffer>;

async function archive(...parts: Part[]): Promise<AsyncIterable<Buffer>> {
  const chunks: Buffer[] = [];
  for (const part of parts) for await (const chunk of part) chunks.push(chunk);
  return (async function* () {
    yield* [...chunks, tarEnd()];
  })();
}

/** `type mode owner path → target` of what is kept of these folders. */
async function kept(
  folders: Readonly<Record<string, AsyncIterable<Buffer> | undefined>>,
  more: Partial<Parameters<typeof cacheArchive>[1]> = {},
): Promise<string[]> {
  const list = Object.entries(folders).map(([path, content]) => ({ path, open: async () => content }));
  const entries: string[] = [];
  for await (const { entry, body } of readTar(cacheArchive(list, { owner: 10001, limits, ...more }))) {
    let content = '';
    for await (const chunk of body) content += chunk.toString();
    const shown = entry.target === '' ? content : `→ ${entry.target}`;
    const mode = entry.mode.toString(8);
    entries.push(`${entry.type} ${mode} ${entry.uid} ${entry.path.replace(/\/$/, '')} ${shown}`.trim());
  }
  return entries;
}

describe('the archive of a cache', () => {
  it('has the folders at their places below $HOME, as the build user has them', async () => {
    const npm = await archive(directory('mod'), directory('mod/a', 0o555), file('mod/a/b', 'hello', 0o4755));
    const go = await archive(directory('go-build'), file('go-build/c', 'there', 0o444));

    expect(await kept({ 'go/pkg/mod': npm, '.cache/go-build': go, '.cache/none': undefined })).toEqual([
      'directory 755 10001 go',
      'directory 755 10001 go/pkg',
      'directory 755 10001 go/pkg/mod',
      'directory 755 10001 go/pkg/mod/a',
      'file 755 10001 go/pkg/mod/a/b hello',
      'directory 755 10001 .cache',
      'directory 755 10001 .cache/go-build',
      'file 444 10001 .cache/go-build/c there',
    ]);
  });

  it('row 24: what would be written elsewhere when it is laid out stays behind', async () => {
    const evil = await archive(
      directory('.m2'),
      symlink('.m2/link', '/etc'),
      file('.m2/link/passwd'),
      file('.m2/../../../etc/passwd'),
      file('/etc/passwd'),
      file('elsewhere/x'),
      file('.m2/file'),
      file('.m2/file/below'),
      file('.m2/file', 'twice'),
      hardlink('.m2/hard', '.m2/file'),
      hardlink('.m2/out', '/etc/shadow'),
      hardlink('.m2/later', '.m2/none'),
    );

    expect(await kept({ '.m2': evil })).toEqual([
      'directory 755 10001 .m2',
      'symlink 777 10001 .m2/link → /etc',
      'file 644 10001 .m2/file x',
      'hardlink 644 10001 .m2/hard → .m2/file',
    ]);
  });

  it('settings stay behind: each build has its own', async () => {
    const maven = await archive(
      directory('.m2'),
      file('.m2/settings.xml'),
      file('.m2/a/settings.xml'),
      file('.m2/b'),
    );

    expect(await kept({ '.m2': maven })).toEqual(['directory 755 10001 .m2', 'file 644 10001 .m2/b x']);
  });

  it.each<[string, Part[], CacheNotKept['reason']]>([
    ['nothing', [], 'empty'],
    ['folders alone', [directory('.m2'), directory('.m2/x')], 'empty'],
    ['too many bytes', [directory('.m2'), file('.m2/x', 'x'.repeat(1001))], 'too large'],
    [
      'too many files',
      [directory('.m2'), ...Array.from({ length: 10 }, (_, index) => file(`.m2/${index}`))],
      'too large',
    ],
    ['a secret', [directory('.m2'), file('.m2/x.xml', '<p>s3cr3t-value</p>')], 'secret'],
  ])('of %s is not kept', async (_, parts, reason) => {
    const finder = createSecretFinder(new Map([['nexus', Buffer.from('s3cr3t-value')]]));
    const content = parts.length === 0 ? undefined : await archive(...parts);

    await expect(kept({ '.m2': content }, { finder })).rejects.toMatchObject({ reason });
  });
});
