import { Readable } from 'node:stream';
import { json } from 'node:stream/consumers';
import { gunzipSync } from 'node:zlib';
import { pack } from 'tar-stream';
import { describe, expect, it } from 'vitest';
import { createAssembler } from '../../../builder/engines/assembler.ts';
import type { EngineInput } from '../../../builder/engines/engine.ts';
import type { BuildPlan } from '../../../builder/plan/plan.ts';
import type { SourceEntry, SourceTree } from '../../../builder/plan/source-tree.ts';
import { createMemoryStore } from '../../../core/object-store/memory.ts';
import { type Digest, digestOf } from '../../../oci/digest.ts';
import { readTar } from '../../../oci/layer/tar-reader.ts';
import { writeLayer } from '../../../oci/layer.ts';
import { mediaTypes } from '../../../oci/media-types.ts';
import type { Registry } from '../../../oci/registry.ts';
import { createStoredRegistry } from '../../../registry/stored-registry.ts';

const team = 'shop/web';

interface Setup {
  readonly registry: Registry;
  readonly store: ReturnType<typeof createMemoryStore>;
  readonly base: { digest: Digest; layer: { digest: Digest; size: number } };
}

async function setup(options: { docker?: boolean } = {}): Promise<Setup> {
  const store = createMemoryStore();
  const registry = createStoredRegistry({ store });
  const { layer, result } = await writeLayer(
    [
      {
        type: 'file',
        path: 'etc/os-release',
        mode: 0o644,
        uid: 0,
        gid: 0,
        content: Buffer.from('ID=debian\n'),
      },
    ],
    buffer,
  );
  await registry.putBlob('baseimages/base', layer.digest, result);
  const config = Buffer.from(
    JSON.stringify({
      architecture: 'amd64',
      os: 'linux',
      config: { Env: ['PATH=/bin', 'LANG=C.UTF-8'], Labels: { a: 'base' }, StopSignal: 'SIGINT' },
      rootfs: { type: 'layers', diff_ids: [layer.diffId] },
      history: [{ created_by: 'base' }],
    }),
  );
  await registry.putBlob('baseimages/base', digestOf(config), config);
  const docker = options.docker === true;
  const mediaType = docker ? mediaTypes.dockerManifest : mediaTypes.ociManifest;
  const manifest = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType,
      config: {
        mediaType: docker ? mediaTypes.dockerConfig : mediaTypes.ociConfig,
        digest: digestOf(config),
        size: config.length,
      },
      layers: [
        {
          mediaType: docker ? mediaTypes.dockerLayerGzip : mediaTypes.ociLayerGzip,
          digest: layer.digest,
          size: layer.size,
        },
      ],
    }),
  );
  await registry.putManifest('baseimages/base', '12', manifest, mediaType);
  return { registry, store, base: { digest: digestOf(manifest), layer } };
}

function plan(base: Digest, changes: Partial<BuildPlan> = {}): BuildPlan {
  return {
    repository: team,
    appname: 'web',
    base: { name: 'base:12', repository: 'baseimages/base', digest: base, launcher: true },
    directory: '/home/web',
    source: { include: ['**'], exclude: [] },
    roles: [
      {
        name: 'web',
        command: ['node', 'server.js'],
        environment: {},
        workingDirectory: '/home/web',
        user: 'app',
        ports: [{ port: 8080, protocol: 'tcp' }],
      },
    ],
    environment: { LANG: 'de' },
    labels: { b: 'app' },
    volumes: [],
    ...changes,
  };
}

type File = string | { text: string; kind: SourceEntry['kind'] };

/** `opened` counts how many files were read. Ids name contents, as git's do. */
function source(files: Record<string, File>): SourceTree & { opened: number } {
  const entries = Object.entries(files)
    .map(([path, file]) => ({
      path,
      kind: typeof file === 'string' ? ('file' as const) : file.kind,
      id: digestOf(typeof file === 'string' ? file : file.text),
    }))
    .sort((a, b) => (a.path < b.path ? -1 : 1));
  const textOf = (path: string): Buffer | undefined => {
    const file = files[path];
    return file === undefined ? undefined : Buffer.from(typeof file === 'string' ? file : file.text);
  };
  const tree = {
    key: digestOf(JSON.stringify(files)),
    opened: 0,
    entries: async () => entries,
    readFile: async (path: string) => textOf(path),
    async *read(wanted: readonly SourceEntry[]) {
      for (const entry of wanted) {
        tree.opened += 1;
        const text = textOf(entry.path) ?? Buffer.alloc(0);
        yield { entry, size: text.length, body: Readable.from([text]) };
      }
    },
    close: async () => {},
  };
  return tree;
}

async function tarOf(
  entries: readonly {
    name: string;
    type?: string;
    linkname?: string;
    mode?: number;
    text?: string;
    uid?: number;
  }[],
) {
  const tar = pack();
  for (const { text, ...header } of entries) tar.entry(header as { name: string }, text ?? '');
  tar.finalize();
  return Readable.from([await buffer(tar)]);
}

async function buffer(body: AsyncIterable<unknown>): Promise<Buffer> {
  const parts: Buffer[] = [];
  for await (const part of body) parts.push(part as Buffer);
  return Buffer.concat(parts);
}

const context = () => ({ signal: new AbortController().signal, log: () => {} });

function build(on: Setup, input: Partial<EngineInput> & Pick<EngineInput, 'source'>) {
  const assembler = createAssembler({ registry: on.registry, store: on.store });
  return assembler.build(
    { plan: plan(on.base.digest), annotations: {}, tags: ['main'], ...input },
    context(),
  );
}

/** Everything of the image behind `reference`. */
async function inspect(registry: Registry, reference: string) {
  const { bytes, descriptor } = await registry.getManifest(team, reference);
  const manifest = JSON.parse(bytes.toString());
  const config = JSON.parse(
    (await buffer((await registry.getBlob(team, manifest.config.digest)).body)).toString(),
  );
  const { files, texts } = await readLayer(registry, manifest.layers.at(-1).digest);
  return { descriptor, manifest, config, files, texts };
}

async function readLayer(registry: Registry, digest: Digest) {
  const tar = gunzipSync(await buffer((await registry.getBlob(team, digest)).body));
  const files: string[] = [];
  const texts: Record<string, string> = {};
  for await (const { entry, body } of readTar(Readable.from([tar]))) {
    files.push(
      `${entry.type} ${entry.mode.toString(8)} ${entry.uid}:${entry.gid} ${entry.path}${entry.target && ` -> ${entry.target}`}`,
    );
    texts[entry.path] = (await buffer(body)).toString();
  }
  return { files, texts };
}

describe('the assembler', () => {
  it('lays the source under /home/<app>, owned by the app, and roles under /etc/appimg, owned by root', async () => {
    const on = await setup();

    await build(on, {
      source: source({
        'bin/run': { text: '#!/bin/sh', kind: 'executable' },
        'lib-x': 'b',
        'lib/link': { text: '../../../etc/passwd', kind: 'symlink' },
        'server.js': 'a',
      }),
    });

    const image = await inspect(on.registry, 'main');
    expect(image.files).toEqual(
      [
        'directory 755 0:0 etc/',
        'directory 755 0:0 etc/appimg/',
        'directory 755 0:0 etc/appimg/roles/',
        'file 644 0:0 etc/appimg/roles/web',
        'directory 755 0:0 home/',
        'directory 755 10001:10001 home/web/',
        'directory 755 10001:10001 home/web/bin/',
        'file 755 10001:10001 home/web/bin/run',
        'directory 755 10001:10001 home/web/lib/',
        'file 644 10001:10001 home/web/lib-x',
        'symlink 777 10001:10001 home/web/lib/link -> ../../../etc/passwd',
        'file 644 10001:10001 home/web/server.js',
      ].sort((a, b) => (name(a) < name(b) ? -1 : 1)),
    );
    expect(image.texts['etc/appimg/roles/web']).toMatch(/^# user: app\n/);
    expect(image.texts['home/web/server.js']).toBe('a');

    function name(line: string): string {
      return (line.split(' ')[3] ?? '').replace(/\/$/, '');
    }
  });

  it('makes a directory of the app for each volume where nothing is in the way', async () => {
    const on = await setup();
    const volumes = [
      '/data',
      '/home/web/data/',
      '/home/web/kept',
      '/home/web/link/x',
      '/var/lib/web',
      '/tmp',
    ];

    await build(on, {
      plan: plan(on.base.digest, { volumes: volumes.map((path) => path.replace(/\/$/, '')) }),
      source: source({ 'kept/README': 'a', link: { text: '/mnt', kind: 'symlink' } }),
    });

    const { files } = await inspect(on.registry, 'main');
    expect(files.filter((line) => !/etc/.test(line))).toEqual([
      'directory 755 10001:10001 data/',
      'directory 755 0:0 home/',
      'directory 755 10001:10001 home/web/',
      'directory 755 10001:10001 home/web/data/',
      'directory 755 10001:10001 home/web/kept/',
      'file 644 10001:10001 home/web/kept/README',
      'symlink 777 10001:10001 home/web/link -> /mnt',
      'directory 755 0:0 var/',
      'directory 755 0:0 var/lib/',
      'directory 755 10001:10001 var/lib/web/',
    ]);
  });

  it('mounts the base, stores only the layer of the app, and keeps the commit out of layers and config', async () => {
    const on = await setup();
    const files = source({ 'server.js': 'a' });

    const result = await build(on, {
      source: files,
      annotations: { 'org.opencontainers.image.revision': 'abc' },
      tags: ['main', 'abc'],
    });

    const image = await inspect(on.registry, 'main');
    expect(result).toMatchObject({
      mountedLayers: 1,
      mountedBytes: on.base.layer.size,
      storedLayers: 1,
      storedBytes: image.manifest.layers[1].size,
      skippedLayers: 0,
    });
    expect(image.descriptor.digest).toBe(result.manifest.digest);
    expect((await on.registry.getManifest(team, 'abc')).descriptor.digest).toBe(result.manifest.digest);
    expect(image.manifest.annotations).toEqual({
      'org.opencontainers.image.base.name': 'baseimages/base:12',
      'org.opencontainers.image.base.digest': on.base.digest,
      'org.opencontainers.image.revision': 'abc',
      'org.brickyard.base.layers': '1',
    });
    expect(image.config.config).toMatchObject({
      User: '10001:10001',
      Env: ['PATH=/bin', 'LANG=de', 'APP_NAME=web', 'HOME=/home/web'],
      Entrypoint: ['/usr/bin/tini', '--', '/usr/local/bin/launcher'],
      Cmd: ['web'],
      WorkingDir: '/home/web',
      ExposedPorts: { '8080/tcp': {} },
      StopSignal: 'SIGINT',
    });
    expect(image.config.config.Labels).toMatchObject({ a: 'base', b: 'app' });
    expect(image.config.rootfs.diff_ids).toHaveLength(2);
    expect(image.config.history).toHaveLength(2);
    expect(JSON.stringify(image.config)).not.toContain('abc');
  });

  it('skips a tree that it has seen without reading a file of it', async () => {
    const on = await setup();
    const files = { 'server.js': 'a' };
    const first = await build(on, { source: source(files), tags: ['one'] });
    const again = source(files);

    const second = await build(on, { source: again, tags: ['two'] });

    expect(again.opened).toBe(0);
    expect(second).toMatchObject({ skippedLayers: 1, storedLayers: 0, storedBytes: 0 });
    expect(second.manifest.digest).toBe(first.manifest.digest);
  });

  it('does not believe its cache when the repository has lost the layer', async () => {
    const on = await setup();
    const files = { 'server.js': 'a' };
    await build(on, { source: source(files) });
    const { manifest } = await inspect(on.registry, 'main');
    await on.registry.deleteBlob(team, manifest.layers[1].digest);
    const again = source(files);

    const result = await build(on, { source: again });

    expect(again.opened).toBe(1);
    expect(result.storedLayers).toBe(1);
  });

  it('gives the same layer for the same files, whatever tree or outputs they come from', async () => {
    const on = await setup();
    await build(on, { source: source({ 'a.txt': 'x' }), tags: ['tree'] });
    const outputs = await tarOf([{ name: '/home/web/a.txt', text: 'x', mode: 0o600, uid: 0 }]);
    const step = {
      base: plan(on.base.digest).base,
      commands: ['true'],
      outputs: {},
      network: 'none' as const,
      timeoutSeconds: 1,
    };

    await build(on, {
      source: source({ 'b.txt': 'y' }),
      outputs,
      plan: plan(on.base.digest, { build: step }),
      tags: ['out'],
    });

    const [tree, out] = [await inspect(on.registry, 'tree'), await inspect(on.registry, 'out')];
    expect(out.manifest.layers[1].digest).toBe(tree.manifest.layers[1].digest);
  });

  it('writes OCI media types over a base that Docker pushed', async () => {
    const on = await setup({ docker: true });

    await build(on, { source: source({ a: 'x' }) });

    const { manifest } = await inspect(on.registry, 'main');
    expect(manifest.mediaType).toBe(mediaTypes.ociManifest);
    expect(manifest.layers.map((layer: { mediaType: string }) => layer.mediaType)).toEqual([
      mediaTypes.ociLayerGzip,
      mediaTypes.ociLayerGzip,
    ]);
  });

  it('copies the base where the registry cannot mount', async () => {
    const on = await setup();
    const registry = { ...on.registry, mountBlob: async () => false };

    const result = await build({ ...on, registry }, { source: source({ a: 'x' }) });

    expect(result).toMatchObject({ mountedLayers: 0, storedLayers: 2 });
  });

  it.each([
    ['its manifest', (on: Setup) => on.registry.deleteManifest('baseimages/base', on.base.digest)],
    ['a layer', (on: Setup) => on.registry.deleteBlob('baseimages/base', on.base.layer.digest)],
  ])(
    'leaves it to a new attempt when the base lost %s during the build (builder.md 6, row 31)',
    async (_, lose) => {
      const on = await setup();
      await lose(on);

      const building = build(on, { source: source({ a: 'x' }) });

      await expect(building).rejects.toMatchObject({
        name: 'BaseImageGone',
        message: expect.stringContaining('base:12'),
      });
      await expect(on.registry.resolveManifest(team, 'main')).rejects.toMatchObject({ code: 'NAME_UNKNOWN' });
    },
  );

  it('sets the tags that beforeTags leaves, after the manifest is in place', async () => {
    const on = await setup();
    const assembler = createAssembler({
      registry: on.registry,
      beforeTags: async (_, manifest) => {
        await on.registry.resolveManifest(team, manifest.digest);
        return ['sha'];
      },
    });

    await assembler.build(
      { plan: plan(on.base.digest), source: source({ a: 'x' }), annotations: {}, tags: ['main', 'sha'] },
      context(),
    );

    await expect(on.registry.resolveManifest(team, 'main')).rejects.toMatchObject({
      code: 'MANIFEST_UNKNOWN',
    });
    await on.registry.resolveManifest(team, 'sha');
  });

  it('puts the runtime script of the app beside the roles, and fails when the source lacks it', async () => {
    const on = await setup();
    const withScript = plan(on.base.digest, { runtimeScript: 'deploy/start.sh' });

    await build(on, { source: source({ 'deploy/start.sh': 'echo hi' }), plan: withScript });
    const missing = build(on, { source: source({ a: 'x' }), plan: withScript });

    expect((await inspect(on.registry, 'main')).texts['etc/appimg/runtime.sh']).toBe('echo hi');
    await expect(missing).rejects.toThrow('deploy/start.sh is not a file of the source');
  });

  it('keeps names of bytes, newlines and dashes literally (builder.md 6, row 9)', async () => {
    const on = await setup();
    const names = ['-rf', '.GIT/config', 'a\nb', 'git~1', 'raw\xff\xfe', 'x'.repeat(255)];

    await build(on, { source: source(Object.fromEntries(names.map((name) => [name, 'x']))) });

    const { texts } = await inspect(on.registry, 'main');
    for (const name of names.filter((n) => !/^\.git/i.test(n)))
      expect(texts).toHaveProperty([`home/web/${name}`], 'x');
  });

  it.each([
    ['.wh.passwd', 'a whiteout (row 11)'],
    ['lib/.wh..wh..opq', 'an opaque whiteout (row 11)'],
    ['a/../../etc/passwd', 'a path with .. (row 9)'],
    ['x'.repeat(256), 'a name too long for Linux (row 9)'],
    ['/etc/passwd', 'an absolute path (row 12)'],
  ])('refuses the source file %j: %s', async (path) => {
    const on = await setup();

    await expect(build(on, { source: source({ [path]: 'x' }) })).rejects.toMatchObject({ name: 'JobFailed' });
  });

  it.each([
    [
      'a submodule',
      { x: { text: '', kind: 'submodule' as const } },
      '"x" cannot enter the image: it is a git submodule',
    ],
    [
      'a pointer of Git LFS',
      { x: 'version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n' },
      '"x" cannot enter the image: it is a Git LFS pointer',
    ],
  ])('refuses %s and says what to do (rows 16 and 17)', async (_, files, message) => {
    const on = await setup();

    await expect(build(on, { source: source(files) })).rejects.toThrow(message);
  });

  it('refuses a file below a file, as only a forged git tree has it (row 9)', async () => {
    const on = await setup();
    const forged = source({ a: { text: '/etc', kind: 'symlink' }, 'a/passwd': 'x' });

    await expect(build(on, { source: forged })).rejects.toThrow('below a file or a link');
  });

  it.each(['/', '/etc', '/home', '/home/', '/home/../etc', '/lib'])(
    'refuses %j as the directory of an app (row 12)',
    async (directory) => {
      const on = await setup();

      const building = build(on, { source: source({ a: 'x' }), plan: plan(on.base.digest, { directory }) });

      await expect(building).rejects.toMatchObject({ name: 'JobFailed' });
    },
  );
});

describe('the layers of an app', () => {
  const java = {
    'App.yaml': 'appname: web',
    'classes/Web.class': 'v1',
    'lib/readme.txt': 'not a library',
    'lib/spring.jar': 'spring',
    'lib/web-1.0.jar': 'own',
    'static/logo.png': 'logo',
  };

  it('part files by how often they change, in one tree of directories that are equal in all layers', async () => {
    const on = await setup();

    await build(on, { source: source(java) });

    const { manifest, config } = await inspect(on.registry, 'main');
    const layers = await Promise.all(
      manifest.layers.slice(1).map((layer: { digest: Digest }) => readLayer(on.registry, layer.digest)),
    );
    const inHome = layers.map(({ files }) => files.filter((file: string) => file.includes(' home/web/')));
    expect(inHome).toEqual([
      [
        'directory 755 10001:10001 home/web/',
        'directory 755 10001:10001 home/web/lib/',
        'file 644 10001:10001 home/web/lib/spring.jar',
      ],
      [
        'directory 755 10001:10001 home/web/',
        'directory 755 10001:10001 home/web/static/',
        'file 644 10001:10001 home/web/static/logo.png',
      ],
      [
        'directory 755 10001:10001 home/web/',
        'file 644 10001:10001 home/web/App.yaml',
        'directory 755 10001:10001 home/web/classes/',
        'file 644 10001:10001 home/web/classes/Web.class',
        'directory 755 10001:10001 home/web/lib/',
        'file 644 10001:10001 home/web/lib/readme.txt',
        'file 644 10001:10001 home/web/lib/web-1.0.jar',
      ],
    ]);
    expect(layers.map(({ files }) => files.some((file: string) => file.includes('etc/appimg')))).toEqual([
      false,
      false,
      true,
    ]);
    expect(config.rootfs.diff_ids).toHaveLength(4);
    expect(config.history.map((entry: { created_by: string }) => entry.created_by)).toEqual([
      'base',
      'brickyard: dependencies',
      'brickyard: resources',
      'brickyard: app',
    ]);
    expect(manifest.annotations['org.brickyard.base.layers']).toBe('1');
  });

  it('that did not change are neither read nor stored when another one does', async () => {
    const on = await setup();
    const first = await build(on, { source: source(java), tags: ['one'] });
    const changed = source({ ...java, 'classes/Web.class': 'v2' });

    const second = await build(on, { source: changed, tags: ['two'] });

    expect(changed.opened).toBe(4);
    expect(first).toMatchObject({ storedLayers: 3, skippedLayers: 0 });
    expect(second).toMatchObject({ storedLayers: 1, skippedLayers: 2 });
    const [one, two] = [await inspect(on.registry, 'one'), await inspect(on.registry, 'two')];
    expect(two.manifest.layers.slice(0, 3)).toEqual(one.manifest.layers.slice(0, 3));
    expect(two.manifest.layers[3].digest).not.toBe(one.manifest.layers[3].digest);
    expect(second.skippedBytes).toBe(two.manifest.layers[1].size + two.manifest.layers[2].size);
  });

  it('are found by the hashes of their contents when a build made them, and not compressed again', async () => {
    const on = await setup();
    const written: string[] = [];
    const store = {
      ...on.store,
      put: (...args: Parameters<typeof on.store.put>) => {
        if (args[0].startsWith('cache/layers/')) written.push(args[0]);
        return on.store.put(...args);
      },
    };
    const step = {
      base: plan(on.base.digest).base,
      commands: ['make'],
      outputs: {},
      network: 'none' as const,
      timeoutSeconds: 1,
    };
    const made = async (main: string, time: number) =>
      build(
        { ...on, store },
        {
          source: source({}),
          plan: plan(on.base.digest, { build: step }),
          outputs: await tarOf([
            { name: 'home/web/lib/', type: 'directory' },
            { name: 'home/web/lib/a.so', text: 'a' },
            { name: 'home/web/main.js', text: main },
            { name: 'home/web/node_modules/', type: 'directory' },
            { name: 'home/web/node_modules/a/', type: 'directory' },
            { name: 'home/web/node_modules/a/index.js', text: 'a' },
            { name: 'home/web/node_modules/empty/', type: 'directory' },
            { name: 'home/web/node_modules/.cache/time', text: String(time) },
          ]),
        },
      );
    await made('v1', 1);
    const before = written.length;

    const second = await made('v2', 2);

    expect(second).toMatchObject({ storedLayers: 1, skippedLayers: 1 });
    // Only a part that was made is remembered anew.
    expect([before, written.length - before]).toEqual([2, 1]);
    const { manifest, files } = await inspect(on.registry, 'main');
    const dependencies = await readLayer(on.registry, manifest.layers[1].digest);
    expect(dependencies.files.filter((file) => file.includes('home/web/'))).toEqual([
      'directory 755 10001:10001 home/web/',
      'directory 755 10001:10001 home/web/lib/',
      'file 644 10001:10001 home/web/lib/a.so',
      'directory 755 10001:10001 home/web/node_modules/',
      'directory 755 10001:10001 home/web/node_modules/a/',
      'file 644 10001:10001 home/web/node_modules/a/index.js',
      'directory 755 10001:10001 home/web/node_modules/empty/',
    ]);
    expect(files.filter((file) => file.includes('home/web/'))).toEqual([
      'directory 755 10001:10001 home/web/',
      'file 644 10001:10001 home/web/main.js',
      'directory 755 10001:10001 home/web/node_modules/',
      'directory 755 10001:10001 home/web/node_modules/.cache/',
      'file 644 10001:10001 home/web/node_modules/.cache/time',
    ]);
  });

  it.each<[string, Record<string, File>]>([
    ['content', { 'lib/a.jar': 'other' }],
    ['name', { 'lib/b.jar': 'x' }],
    ['mode', { 'lib/a.jar': { text: 'x', kind: 'executable' } }],
    ['kind', { 'lib/a.jar': { text: 'x', kind: 'symlink' } }],
    ['number', { 'lib/a.jar': 'x', 'lib/b.jar': 'x' }],
  ])('are made again when a %s in them changes', async (_, files) => {
    const on = await setup();
    await build(on, { source: source({ 'lib/a.jar': 'x' }), tags: ['one'] });

    const result = await build(on, { source: source(files), tags: ['two'] });

    expect(result.storedLayers).toBe(1);
    const [one, two] = [await inspect(on.registry, 'one'), await inspect(on.registry, 'two')];
    expect(two.config.rootfs.diff_ids[1]).not.toBe(one.config.rootfs.diff_ids[1]);
    expect(two.config.rootfs.diff_ids[2]).toBe(one.config.rootfs.diff_ids[2]);
  });

  it('are refused as one tree: a file of one part cannot lie below a link of another', async () => {
    const on = await setup();
    const forged = source({ lib: { text: '/etc', kind: 'symlink' }, 'lib/a.jar': 'x' });

    await expect(build(on, { source: forged })).rejects.toThrow('below a file or a link');
  });

  it('stay out of one repository when only another one has them', async () => {
    const on = await setup();
    await build(on, { source: source(java) });
    const other = source(java);

    const result = await build(on, {
      source: other,
      plan: plan(on.base.digest, { repository: 'shop/other' }),
    });

    expect(other.opened).toBe(6);
    expect(result).toMatchObject({ storedLayers: 3, skippedLayers: 0 });
  });
});

describe('an image for several platforms', () => {
  /** An index over the base of `setup` and one like it for arm64. */
  async function setupIndex() {
    const on = await setup();
    const { bytes, descriptor } = await on.registry.getManifest('baseimages/base', on.base.digest);
    const manifest = JSON.parse(bytes.toString());
    const { body } = await on.registry.getBlob('baseimages/base', manifest.config.digest);
    const config = Buffer.from(JSON.stringify({ ...((await json(body)) as object), architecture: 'arm64' }));
    await on.registry.putBlob('baseimages/base', digestOf(config), config);
    const arm = Buffer.from(
      JSON.stringify({
        ...manifest,
        config: { ...manifest.config, digest: digestOf(config), size: config.length },
      }),
    );
    await on.registry.putManifest('baseimages/base', digestOf(arm), arm, mediaTypes.ociManifest);
    const index = Buffer.from(
      JSON.stringify({
        schemaVersion: 2,
        mediaType: mediaTypes.ociIndex,
        manifests: [
          { ...descriptor, platform: { os: 'linux', architecture: 'amd64' } },
          {
            mediaType: mediaTypes.ociManifest,
            digest: digestOf(arm),
            size: arm.length,
            platform: { os: 'linux', architecture: 'arm64' },
          },
        ],
      }),
    );
    await on.registry.putManifest('baseimages/base', '13', index, mediaTypes.ociIndex);
    return { on, index: digestOf(index) };
  }

  it('is an index whose images share the layers of the app', async () => {
    const { on, index } = await setupIndex();
    const platforms = ['linux/arm64', 'linux/amd64'];

    const result = await build(on, { source: source({ a: 'x' }), plan: plan(index, { platforms }) });

    const { bytes, descriptor } = await on.registry.getManifest(team, 'main');
    const made = JSON.parse(bytes.toString());
    expect(descriptor.mediaType).toBe(mediaTypes.ociIndex);
    expect(result).toMatchObject({
      manifest: { digest: descriptor.digest },
      storedLayers: 1,
      mountedLayers: 1,
    });
    expect(made.annotations['org.opencontainers.image.base.digest']).toBe(index);
    expect(made.manifests.map(({ platform }: { platform: object }) => platform)).toEqual([
      { architecture: 'arm64', os: 'linux' },
      { architecture: 'amd64', os: 'linux' },
    ]);
    const images = await Promise.all(
      made.manifests.map(async ({ digest }: { digest: Digest }) => {
        const child = JSON.parse((await on.registry.getManifest(team, digest)).bytes.toString());
        const { body } = await on.registry.getBlob(team, child.config.digest);
        return {
          layers: child.layers,
          architecture: ((await json(body)) as { architecture: string }).architecture,
        };
      }),
    );
    expect(images.map(({ architecture }) => architecture)).toEqual(['arm64', 'amd64']);
    expect(images[0]?.layers).toEqual(images[1]?.layers);
  });

  it('is refused over a base that lacks one of them', async () => {
    const { on, index } = await setupIndex();
    const wanted = (digest: Digest, platform: string) =>
      build(on, { source: source({ a: 'x' }), plan: plan(digest, { platforms: [platform] }) });

    await expect(wanted(index, 'linux/s390x')).rejects.toThrow('has no image for linux/s390x');
    await expect(wanted(on.base.digest, 'linux/arm64')).rejects.toThrow(
      'is for linux/amd64, not linux/arm64',
    );
  });
});

describe('outputs of a build (builder.md 6, rows 10 to 12)', () => {
  async function assemble(entries: Parameters<typeof tarOf>[0], changes: Partial<BuildPlan> = {}) {
    const on = await setup();
    const step = {
      base: plan(on.base.digest).base,
      commands: ['true'],
      outputs: {},
      network: 'none' as const,
      timeoutSeconds: 1,
    };
    await build(on, {
      source: source({}),
      outputs: await tarOf(entries),
      plan: plan(on.base.digest, { build: step, ...changes }),
    });
    return { ...(await inspect(on.registry, 'main')), registry: on.registry };
  }

  it('loses owners, setuid bits and odd modes, and sorts what comes unsorted', async () => {
    const { files } = await assemble([
      { name: '/home/web/z', mode: 0o4755, text: 'x' },
      { name: 'home/web/b', mode: 0o2600, uid: 0, text: 'x' },
      { name: './home/web/a/', type: 'directory', mode: 0o1777 },
    ]);

    expect(files.filter((file) => file.includes('home/web/'))).toEqual([
      'directory 755 10001:10001 home/web/',
      'directory 755 10001:10001 home/web/a/',
      'file 644 10001:10001 home/web/b',
      'file 755 10001:10001 home/web/z',
    ]);
  });

  it('lays what lies outside of the app into a layer of its own, in an image that is never rebased', async () => {
    const { manifest, config, files, registry } = await assemble(
      [
        { name: '/usr/bin/core', mode: 0o4755, uid: 10001, text: 'x' },
        { name: '/usr/share/core/', type: 'directory' },
        { name: '/usr/share/core/a', text: 'y' },
        { name: '/home/web/b', text: 'z' },
      ],
      { rebase: 'never' },
    );

    expect(manifest.annotations['org.brickyard.base.rebase']).toBe('never');
    expect(config.history.map((entry: { created_by: string }) => entry.created_by)).toEqual([
      'base',
      'brickyard: system',
      'brickyard: app',
    ]);
    expect((await readLayer(registry, manifest.layers[1].digest)).files).toEqual([
      'directory 755 0:0 usr/',
      'directory 755 0:0 usr/bin/',
      'file 755 0:0 usr/bin/core',
      'directory 755 0:0 usr/share/',
      'directory 755 0:0 usr/share/core/',
      'file 644 0:0 usr/share/core/a',
    ]);
    expect(files).toContain('file 644 10001:10001 home/web/b');
  });

  it.each(['/etc/passwd', '/lib/x', '/usr/local/bin/launcher', '/etc/appimg/roles/web', '/root/x'])(
    'refuses %s even there (row 12)',
    async (name) => {
      await expect(assemble([{ name, text: 'x' }], { rebase: 'never' })).rejects.toMatchObject({
        name: 'JobFailed',
      });
    },
  );

  it('makes a hard link to another output a file of its own', async () => {
    const { files, texts } = await assemble([
      { name: '/home/web/b', text: 'same' },
      { name: '/home/web/a', type: 'link', linkname: '/home/web/b' },
    ]);

    expect(files.at(-2)).toBe('file 644 10001:10001 home/web/a');
    expect(texts['home/web/a']).toBe('same');
  });

  it.each([
    ['../ in a name', [{ name: '/home/web/../../etc/passwd', text: 'x' }]],
    ['a file outside of the app', [{ name: '/etc/passwd', text: 'x' }]],
    ['a file over the launcher', [{ name: '/usr/local/bin/launcher', text: 'x' }]],
    ['a preload for every program', [{ name: '/etc/ld.so.preload', text: 'x' }]],
    ['a directory over a link of the base', [{ name: '/lib/', type: 'directory' }]],
    ['a role of its own', [{ name: '/etc/appimg/roles/web', text: '# user: root' }]],
    ['a file in the place of the directory', [{ name: '/home/web', text: 'x' }]],
    ['a neighbour whose name begins alike', [{ name: '/home/web2/a', text: 'x' }]],
    ['a hard link outside', [{ name: '/home/web/a', type: 'link', linkname: '/etc/shadow' }]],
    ['a hard link to what comes later', [{ name: '/home/web/a', type: 'link', linkname: '/home/web/b' }]],
    ['a character device', [{ name: '/home/web/null', type: 'character-device' }]],
    ['a block device', [{ name: '/home/web/sda', type: 'block-device' }]],
    ['a fifo', [{ name: '/home/web/pipe', type: 'fifo' }]],
    [
      'a name that is there twice',
      [
        { name: '/home/web/a', text: 'x' },
        { name: '/home/web/a', text: 'y' },
      ],
    ],
    [
      'a write through a symlink',
      [
        { name: '/home/web/etc', type: 'symlink', linkname: '/etc' },
        { name: '/home/web/etc/passwd', text: 'x' },
      ],
    ],
    [
      'a symlink over a directory that holds files',
      [
        { name: '/home/web/etc/passwd', text: 'x' },
        { name: '/home/web/etc', type: 'symlink', linkname: '/etc' },
      ],
    ],
    ['a whiteout', [{ name: '/home/web/.wh.node_modules', text: '' }]],
    ['an opaque whiteout', [{ name: '/home/web/.wh..wh..opq', text: '' }]],
  ])('refuses %s', async (_, entries) => {
    await expect(assemble(entries)).rejects.toMatchObject({ name: 'JobFailed' });
  });

  it('refuses an archive that is cut short', async () => {
    const on = await setup();
    const whole = await buffer(await tarOf([{ name: '/home/web/a', text: 'x'.repeat(5000) }]));
    const building = build(on, { source: source({}), outputs: Readable.from([whole.subarray(0, 2000)]) });

    await expect(building).rejects.toThrow('cut short');
  });
});
