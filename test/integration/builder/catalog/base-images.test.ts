import { createWriteStream } from 'node:fs';
import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  type BuildBaseImagesOptions,
  type BuiltBaseImage,
  buildBaseImages,
} from '../../../../builder/catalog/build-base-images.ts';
import { mirrorSources } from '../../../../builder/catalog/mirror-sources.ts';
import {
  createDockerEngine,
  type DockerEngine,
  type DockerEngineOptions,
} from '../../../../builder/engines/docker.ts';
import { createSilentLogger } from '../../../../core/log.ts';
import { createFilesystemStore } from '../../../../core/object-store/filesystem.ts';
import type { Digest } from '../../../../oci/digest.ts';
import { parseManifest } from '../../../../oci/manifest.ts';
import type { Registry } from '../../../../oci/registry.ts';
import { createStoredRegistry } from '../../../../registry/stored-registry.ts';
import { startDockerd, type TestDockerd } from '../../../helpers/dockerd.ts';
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

async function build(options: Partial<BuildBaseImagesOptions> = {}): Promise<readonly BuiltBaseImage[]> {
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

  it('come out the same, byte for byte, when they are built anew without a network from what was kept', async () => {
    const options = { catalogDir, names: ['nodejs'], registry, signal: new AbortController().signal };
    const mirrored = await mirrorSources({
      ...options,
      cacheDir: join(folder.path, 'cache'),
      log: () => undefined,
    });
    expect(mirrored).toEqual({
      kept: [
        'base:12: Debian packages',
        expect.stringContaining('nodejs:26: node-linux-'),
        'nodejs:26: npm@12.2.0',
      ],
      before: [],
      failed: [],
    });

    const empty = join(folder.path, 'empty');
    const [again] = await build({ update: true, offline: true, cacheDir: empty, names: ['base'] });

    expect(again?.built).toBe(true);
    expect(again?.digest).toBe(built[0]?.digest);
    expect(again?.tags).toEqual(built[0]?.tags);
    // apt was not asked.
    expect(await readdir(empty)).toEqual(['sources']);
  });
});

describe('levels that a script makes', () => {
  let dockerd: TestDockerd;
  let engine: DockerEngine | undefined;
  let own: string;
  let first: readonly BuiltBaseImage[];

  beforeAll(async () => {
    dockerd = await startDockerd();
    engine = await connect();
    own = join(folder.path, 'catalog');
    await writeEntry('leaf', 'jdk:17', leaf, 'test: {commands: [leaf 2>&1 | grep "version .17"]}');
    first = await buildLevels(['leaf']);
  });

  afterAll(async () => {
    await dockerd.stop();
  });

  async function connect(limits: Partial<DockerEngineOptions> = {}): Promise<DockerEngine | undefined> {
    const log = createSilentLogger();
    return createDockerEngine({ socket: dockerd.socketPath, registry, log, ...limits });
  }

  /** What is left in the engine besides base images: nothing may be. */
  async function leftovers(): Promise<string> {
    const containers = await runOk('docker', ['ps', '--all', '--quiet'], { env: dockerd.env });
    return containers + (await runOk('docker', ['volume', 'ls', '--quiet'], { env: dockerd.env }));
  }

  async function writeEntry(name: string, parent: string, script: string, more: string): Promise<void> {
    await mkdir(join(own, name), { recursive: true });
    const head = `name: ${name}\nversion: "1"\nchannels: ["1"]\nparent: ${parent}\n`;
    await writeFile(join(own, name, 'base.yaml'), `${head}${more}\n`);
    await writeFile(join(own, name, 'static.sh'), `#!/bin/sh\nset -eu\n${script}\n`);
  }

  async function buildLevels(
    names: readonly string[],
    options: Partial<BuildBaseImagesOptions> = {},
  ): Promise<readonly BuiltBaseImage[]> {
    const sandbox = async () => engine?.levels;
    return build({ catalogDir: [catalogDir, own], names, sandbox, ...options });
  }

  it('hold what the script and the packages made, as one layer each, and were tried as the user app', async () => {
    const { bytes, descriptor } = await registry.getManifest('baseimages/leaf', '1');
    const { layers } = parseManifest(bytes, descriptor.mediaType);
    const list = join(folder.path, 'leaf.tgz');
    await pipeline(
      (await registry.getBlob('baseimages/leaf', layers.at(-1)?.digest as Digest)).body,
      createWriteStream(list),
    );
    const names = (await runOk('tar', ['-tzf', list])).trim().split('\n');

    expect(first.map(({ id, built: anew }) => [id, anew])).toEqual([
      ['base:12', false],
      ['jdk:17', true],
      ['leaf:1', true],
    ]);
    expect(layers).toHaveLength(3);
    expect(names).toEqual([
      'etc/',
      'etc/.wh.motd',
      'usr/',
      'usr/local/',
      'usr/local/bin/',
      'usr/local/bin/leaf',
    ]);
  });

  it('come out the same, byte for byte, when they are made anew', async () => {
    const jdk = first[1];
    if (jdk === undefined) throw new Error('no jdk');
    await registry.deleteManifest(jdk.repository, jdk.digest);

    const again = await buildLevels(['leaf']);

    expect(again.map(({ built: anew }) => anew)).toEqual([false, true, false]);
    expect(again[1]).toMatchObject({ digest: jdk.digest, tags: jdk.tags });
  });

  it('keep their channels when the smoke test of what stands on them fails', async () => {
    await writeEntry(
      'leaf',
      'jdk:17',
      `${leaf}\ntouch /opt/new`,
      'test: {commands: [leaf, "java -version", "false"]}',
    );

    await expect(buildLevels(['leaf'])).rejects.toThrow(
      /leaf:1: test command "false" ended with exit code 1\n[^]*openjdk version "17/,
    );
    expect((await registry.resolveManifest('baseimages/leaf', '1')).digest).toBe(first[2]?.digest);
    expect(await leftovers()).toBe('');
  });

  it('are refused with the reason when the script is up to no good', async () => {
    await writeEntry('setuid', 'base:12', 'cp /bin/sh /usr/bin/x; chmod u+s /usr/bin/x', '');
    await writeEntry('device', 'base:12', 'mknod /opt/disk b 8 0', '');
    await writeEntry('pipe', 'base:12', 'mkfifo /opt/pipe', '');
    await writeEntry('endless', 'base:12', 'sleep 600', 'timeout: 1s');
    await writeEntry('huge', 'base:12', 'head -c 64M /dev/zero >/opt/huge', '');
    await writeEntry('loud', 'base:12', 'yes', '');
    await writeEntry('online', 'base:12', 'cat /proc/net/dev | grep -v lo: | grep : && exit 7; exit 8', '');
    const names = ['setuid', 'device', 'pipe', 'endless', 'huge', 'loud', 'online'];

    const small = await connect({ levelDiskSize: 32 * 1024 ** 2, limits: { output: 65_536 } });

    const failed = await buildLevels(names, { sandbox: async () => small?.levels }).catch(
      (error: Error) => error.message,
    );

    for (const reason of [
      /setuid:1: static.sh made \/usr\/bin\/x setuid or setgid: only Debian packages may/,
      /device:1: static.sh ended with exit code 1\n.*mknod: .*Operation not permitted/,
      /pipe:1: static.sh made \/opt\/pipe, a fifo/,
      /endless:1: static.sh took longer than 1 s \(timeout\)/,
      /huge:1: static.sh wrote more than 32 MiB of files/,
      /loud:1: static.sh wrote more than 64 KiB of output/,
      /online:1: static.sh ended with exit code 8/,
    ]) {
      expect(failed).toMatch(reason);
    }
    expect(await leftovers()).toBe('');
  });

  it('are killed with the build, and nothing of them stays', async () => {
    await writeEntry('slow', 'base:12', 'echo begun; sleep 600', '');
    const controller = new AbortController();
    const onProgress = ({ step, done }: { step: string; done: number }): void => {
      if (step === 'install' && done === 1) controller.abort(new Error('stopped'));
    };

    await expect(buildLevels(['slow'], { signal: controller.signal, onProgress })).rejects.toThrow('stopped');
    expect(await leftovers()).toBe('');
  });
});

/** Takes a file of base away, and asks Java for its version when it is run. */
const leaf = `rm /etc/motd
dpkg -l openjdk-17-jre-headless | grep '^ii'
printf '#!/bin/sh\\nexec java -version\\n' >/usr/local/bin/leaf
chmod 755 /usr/local/bin/leaf`;
