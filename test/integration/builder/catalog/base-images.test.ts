import { createWriteStream } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type BuiltBaseImage, buildBaseImages } from '../../../../builder/catalog/build-base-images.ts';
import { createFilesystemStore } from '../../../../core/object-store/filesystem.ts';
import { parseManifest } from '../../../../oci/manifest.ts';
import type { Registry } from '../../../../oci/registry.ts';
import { createStoredRegistry } from '../../../../registry/stored-registry.ts';
import { runOk } from '../../../helpers/process.ts';
import { createTempDirectory, type TempDirectory } from '../../../helpers/temp.ts';

const catalogDir = join(import.meta.dirname, '../../../../baseimages');
let folder: TempDirectory;
let registry: Registry;
let built: readonly BuiltBaseImage[];
/** The files of nodejs:26, both layers laid over one another by tar, not by us. */
let root: string;

beforeAll(async () => {
  folder = await createTempDirectory('bases');
  registry = createStoredRegistry({ store: createFilesystemStore({ root: join(folder.path, 'data') }) });
  built = await build();
  root = join(folder.path, 'root');
  await mkdir(root);
  const { bytes, descriptor } = await registry.getManifest('baseimages/nodejs', '26');
  for (const layer of parseManifest(bytes, descriptor.mediaType).layers) {
    const file = join(folder.path, 'layer.tgz');
    const { body } = await registry.getBlob('baseimages/nodejs', layer.digest);
    await pipeline(body, createWriteStream(file));
    await runOk('tar', ['-xzf', file, '-C', root, '--numeric-owner', '--preserve-permissions']);
  }
});

afterAll(async () => {
  await folder.remove();
});

async function build(
  options: { update?: boolean; names?: readonly string[] } = {},
): Promise<readonly BuiltBaseImage[]> {
  const cacheDir = join(folder.path, 'cache');
  return buildBaseImages({ catalogDir, names: ['nodejs'], registry, cacheDir, ...options });
}

/** Runs a program of the image: in it where we may, else through its own dynamic linker. */
async function runInside(program: string, args: readonly string[]): Promise<string> {
  if (process.getuid?.() === 0) return runOk('chroot', [root, program, ...args]);
  const libraries = join(root, 'usr/lib', process.arch === 'x64' ? 'x86_64-linux-gnu' : 'aarch64-linux-gnu');
  const linker = process.arch === 'x64' ? 'ld-linux-x86-64.so.2' : 'ld-linux-aarch64.so.1';
  return runOk(join(libraries, linker), ['--library-path', libraries, join(root, program), ...args]);
}

describe('the base images', () => {
  it('are tagged with their channels and a tag of their own', async () => {
    expect(built.map(({ name, tags }) => [name, ...tags])).toEqual([
      ['base', '12', 'latest', expect.stringMatching(/^12\.1-[0-9a-f]{8}$/)],
      ['nodejs', '26', 'latest', expect.stringMatching(/^26\.10\.0-[0-9a-f]{8}$/)],
    ]);
    for (const { repository, tags, digest } of built) {
      for (const tag of tags) expect((await registry.resolveManifest(repository, tag)).digest).toBe(digest);
    }
  });

  it('have one layer for each level, and the upper one mounts the lower', async () => {
    const [base, nodejs] = await Promise.all(
      ['base', 'nodejs'].map(async (name) => {
        const { bytes, descriptor } = await registry.getManifest(`baseimages/${name}`, 'latest');
        return parseManifest(bytes, descriptor.mediaType);
      }),
    );

    expect(base?.layers).toHaveLength(1);
    expect(nodejs?.layers).toHaveLength(2);
    expect(nodejs?.layers[0]).toEqual(base?.layers[0]);
  });

  it('run Node.js, npm and OpenSSL', async () => {
    expect(await runInside('/usr/local/bin/node', ['-p', 'process.version + process.arch'])).toBe(
      `v26.10.0${process.arch}\n`,
    );
    expect(await runInside('/usr/bin/openssl', ['version'])).toMatch(/^OpenSSL 3\./);
    expect(
      await runInside(
        '/usr/local/bin/node',
        ['-p', 'require("/usr/local/lib/node_modules/npm/package.json").version'].map((arg) =>
          process.getuid?.() === 0 ? arg : arg.replace('/usr/local', join(root, 'usr/local')),
        ),
      ),
    ).toBe('12.2.0\n');
  });

  it('tell dpkg what is installed, and dpkg finds every file that was not left out', async () => {
    const database = [`--root=${root}`];

    const list = await runOk('dpkg-query', [
      `--admindir=${root}/var/lib/dpkg`,
      '-W',
      '-f',
      '${Package} ${db:Status-Status}\n',
    ]);
    const audit = await runOk('dpkg', [...database, '--audit']);
    const verified = await runOk('sh', ['-c', `dpkg --root=${root} --verify || true`]);

    expect(list).toContain('tini installed\n');
    expect(
      list
        .trim()
        .split('\n')
        .every((line) => line.endsWith(' installed')),
    ).toBe(true);
    expect(audit).toBe('');
    const leftOut = /^missing +(?:\w )?\/usr\/share\/(?:doc|man|info|locale|lintian|bug)\//;
    expect(verified.split('\n').filter((line) => line !== '' && !leftOut.test(line))).toEqual([]);
  });

  it('have the linker cache that ldconfig would write', async () => {
    const libraries = async (cache: string) =>
      (await runOk('/sbin/ldconfig', ['-p', '-C', cache])).split('\n').filter((line) => line.includes('=>'));
    const ours = await libraries(join(root, 'etc/ld.so.cache'));

    await runOk('/sbin/ldconfig', ['-r', root, '-X', '-C', '/etc/theirs.cache']);

    expect(ours.length).toBeGreaterThan(50);
    expect(ours).toEqual(await libraries(join(root, 'etc/theirs.cache')));
  });

  it('have a merged /usr, locked accounts with app as 10001, certificates and world-writable temporary folders', async () => {
    const text = (command: string): Promise<string> => runOk('sh', ['-c', `cd ${root} && ${command}`]);

    expect(await text('readlink bin lib lib64 sbin var/run')).toBe(
      'usr/bin\nusr/lib\nusr/lib64\nusr/sbin\n/run\n',
    );
    expect(await text('grep ^app: etc/passwd')).toBe('app:x:10001:10001:app:/home:/usr/sbin/nologin\n');
    expect(
      await text('grep -c "BEGIN CERTIFICATE" etc/ssl/certs/ca-certificates.crt').then(Number),
    ).toBeGreaterThan(100);
    expect(await text('stat -c %a tmp var/tmp root usr/bin/passwd usr/local/bin/launcher')).toBe(
      '1777\n1777\n700\n4755\n755\n',
    );
    expect(await text('stat -c %a usr/bin/tini etc/shadow')).toBe('755\n640\n');
  });

  it('are left alone when nothing has changed', async () => {
    const again = await build();

    expect(again.map(({ built: anew }) => anew)).toEqual([false, false]);
    expect(again.map(({ digest }) => digest)).toEqual(built.map(({ digest }) => digest));
  });

  it('come out the same, byte for byte, when they are built anew from the same packages', async () => {
    const [again] = await build({ update: true, names: ['base'] });

    expect(again?.built).toBe(true);
    expect(again?.digest).toBe(built[0]?.digest);
    expect(again?.tags).toEqual(built[0]?.tags);
  });
});
