import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pack } from 'tar-stream';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  type BuildBaseImagesOptions,
  buildBaseImages,
} from '../../../../builder/catalog/build-base-images.ts';
import { recipeKey } from '../../../../builder/catalog/build-key.ts';
import { loadCatalog } from '../../../../builder/catalog/load-catalog.ts';
import type { LevelInput, LevelSandbox } from '../../../../builder/engines/level-sandbox.ts';
import { createMemoryStore } from '../../../../core/object-store/memory.ts';
import { JobFailed } from '../../../../core/queue/job-queue.ts';
import { digestOf } from '../../../../oci/digest.ts';
import { parseManifest } from '../../../../oci/manifest.ts';
import { mediaTypes } from '../../../../oci/media-types.ts';
import type { Registry } from '../../../../oci/registry.ts';
import { createStoredRegistry } from '../../../../registry/stored-registry.ts';
import { createImage } from '../../../helpers/image.ts';
import { createTempDirectory, type TempDirectory } from '../../../helpers/temp.ts';

const architecture = 'amd64';
const bottom = 'debian: {suite: bookworm, packages: [dash]}';

let folder: TempDirectory;
let registry: Registry;
let inputs: LevelInput[];
let tested: string[];

beforeEach(async () => {
  folder = await createTempDirectory('levels');
  registry = createStoredRegistry({ store: createMemoryStore() });
  inputs = [];
  tested = [];
  await writeEntry('base', bottom);
  await pushBottom();
});

afterEach(async () => {
  await folder.remove();
});

async function writeEntry(name: string, keys: string, script?: string): Promise<void> {
  const directory = join(folder.path, 'catalog', name);
  await mkdir(directory, { recursive: true });
  await writeFile(
    join(directory, 'base.yaml'),
    `name: ${name}\nversion: "1"\nchannels: ["1", "new"]\n${keys}\n`,
  );
  if (script !== undefined) await writeFile(join(directory, 'static.sh'), `#!/bin/sh\n${script}\n`);
}

/** An image of the bottom entry, or an index of several, that counts as built from its recipe: nothing has to be downloaded. */
async function pushBottom(architectures: readonly string[] = [architecture]): Promise<void> {
  const [entry] = (await loadCatalog(join(folder.path, 'catalog'))).entries;
  if (entry === undefined) throw new Error('the catalog is empty');
  const recipe = recipeKey({
    entry,
    staticFiles: [],
    parent: undefined,
    architecture: architectures.join('+'),
  });
  const annotations = { 'org.brickyard.base.recipe': recipe };
  const manifests: object[] = [];
  for (const each of architectures) {
    const { config, layers, manifest } = await createImage([[]], {}, each);
    for (const blob of [config, ...layers]) await registry.putBlob('baseimages/base', digestOf(blob), blob);
    const bytes = Buffer.from(JSON.stringify({ ...JSON.parse(manifest.toString()), annotations }));
    await registry.putManifest('baseimages/base', '1', bytes, mediaTypes.ociManifest);
    const platform = { os: 'linux', architecture: each };
    manifests.push({
      mediaType: mediaTypes.ociManifest,
      digest: digestOf(bytes),
      size: bytes.length,
      platform,
    });
  }
  if (manifests.length === 1) return;
  const index = { schemaVersion: 2, mediaType: mediaTypes.ociIndex, manifests, annotations };
  await registry.putManifest('baseimages/base', '1', Buffer.from(JSON.stringify(index)), mediaTypes.ociIndex);
}

/** A script "runs" by leaving one file that holds it; a test command fails when it is `false`. */
const sandbox: LevelSandbox = {
  name: 'memory',
  async run(input, context) {
    inputs.push(input);
    const script = input.inputs.find(({ path }) => path === 'static.sh')?.content;
    context.log('running');
    if (String(script as Buffer).includes('exit')) throw new JobFailed('static.sh ended with exit code 3');
    return {
      changes: [{ path: '/made', kind: 'added' }],
      async open() {
        const archive = pack();
        archive.entry({ name: 'made', mtime: new Date() }, script as Buffer);
        archive.finalize();
        return archive as AsyncIterable<Uint8Array>;
      },
      close: async () => {},
    };
  },
  async test({ image, commands }) {
    tested.push(image.name);
    if (commands.includes('false')) throw new JobFailed('test command "false" ended with exit code 1');
  },
};

async function build(options: Partial<BuildBaseImagesOptions> = {}) {
  return buildBaseImages({
    catalogDir: join(folder.path, 'catalog'),
    cacheDir: join(folder.path, 'cache'),
    registry,
    architecture,
    sandbox: async () => sandbox,
    ...options,
  });
}

async function digestAt(name: string, channel = '1'): Promise<string> {
  return registry.resolveManifest(`baseimages/${name}`, channel).then(
    ({ digest }) => digest,
    () => 'none',
  );
}

async function message(building: Promise<unknown>): Promise<string> {
  return building.then(
    () => 'built',
    (error: Error) => error.message,
  );
}

describe('levels', () => {
  it('come with their promises, and their script runs once', async () => {
    await writeEntry(
      'jdk',
      'parent: base:1\nuser: app\nworkdir: /srv\nexpose: [8080, "53/udp"]\nenvironment: {A: b}\n' +
        'contract: {abi: x, rebase: minor}\ndeprecation: {level: warn, since: "2026-01-31", replacement: "base:1"}\n' +
        'test: {commands: ["true"]}',
      'run',
    );

    await build();
    const [, again] = await build();

    expect(inputs).toHaveLength(1);
    expect(inputs[0]?.environment).toMatchObject({
      A: 'b',
      ARCH: 'amd64',
      SOURCES: '/run/brickyard/sources',
    });
    expect(tested).toEqual(['jdk:1']);
    expect(again).toMatchObject({ id: 'jdk:1', built: false });
    expect(await digestAt('jdk', 'new')).toBe(again?.digest);
    const { bytes, descriptor } = await registry.getManifest('baseimages/jdk', '1');
    const manifest = parseManifest(bytes, descriptor.mediaType);
    expect(manifest.annotations).toMatchObject({
      'org.brickyard.base.abi': 'x',
      'org.brickyard.base.rebase': 'minor',
      'org.brickyard.base.deprecation': '{"level":"warn","since":"2026-01-31","replacement":"base:1"}',
    });
    const { body } = await registry.getBlob('baseimages/jdk', manifest.config?.digest ?? digestOf(''));
    const parts: Buffer[] = [];
    for await (const part of body) parts.push(part as Buffer);
    expect(JSON.parse(Buffer.concat(parts).toString())).toMatchObject({
      config: { User: 'app', WorkingDir: '/srv', ExposedPorts: { '8080/tcp': {}, '53/udp': {} } },
    });
  });

  it('that fail keep all that changed with them where it is, and block only what stands on them', async () => {
    await writeEntry('jdk', 'parent: base:1', 'run');
    await writeEntry('resin', 'parent: jdk:1\ntest: {commands: ["false"]}', 'run');
    await writeEntry('shop', 'parent: resin:1', 'run');
    await writeEntry('python', 'parent: base:1', 'run');

    const failure = await message(build());

    expect(failure).toContain(
      'resin:1: test command "false" ended with exit code 1\n    running\n    trying baseimages/resin@',
    );
    expect(failure).toContain('shop:1: not made, as it stands on resin:1\n');
    expect(failure).toContain('not moved: jdk:1, jdk:new;');
    expect(await Promise.all(['jdk', 'resin', 'shop'].map((name) => digestAt(name)))).toEqual([
      'none',
      'none',
      'none',
    ]);
    expect(await digestAt('python')).toMatch(/^sha256:/);
  });

  it('keep the channels of an earlier build when a new one fails, and move them when it is mended', async () => {
    await writeEntry('jdk', 'parent: base:1\ntest: {commands: [java]}', 'run');
    const [, before] = await build();

    await writeEntry('jdk', 'parent: base:1', 'exit 3');
    const failure = await message(build());
    const kept = await digestAt('jdk');
    await writeEntry('jdk', 'parent: base:1', 'run other');
    const [, after] = await build();

    expect(failure).toContain('jdk:1: static.sh ended with exit code 3\n    running');
    expect(kept).toBe(before?.digest);
    expect(await digestAt('jdk')).toBe(after?.digest);
    expect(after?.digest).not.toBe(before?.digest);
  });

  it('that need a container engine are named when none answers, and the others are made', async () => {
    await writeEntry('jdk', 'parent: base:1', 'run');
    await writeEntry('tomcat', 'parent: jdk:1');
    await writeEntry('plain', 'parent: base:1\ntest: {commands: [x]}');
    const notes: string[] = [];

    const failure = await message(build({ sandbox: async () => undefined, log: (line) => notes.push(line) }));

    expect(failure).toMatch(
      /^jdk:1: made by a script in a container, and no container engine answers; start Docker/,
    );
    expect(failure).toContain('tomcat:1: not made, as it stands on jdk:1');
    expect(await digestAt('plain')).toMatch(/^sha256:/);
    expect(notes).toEqual([
      'plain:1: nothing was tried, as no container engine answers to run its smoke test',
    ]);
  });

  it('are an index of images for several architectures where no script runs, and stay one', async () => {
    await pushBottom(['amd64', 'arm64']);
    await writeEntry('plain', 'parent: base:1');
    await writeEntry('jdk', 'parent: base:1', 'run');
    await writeEntry('tomcat', 'parent: jdk:1');
    const notes: string[] = [];

    const first = await build({ architectures: ['amd64', 'arm64'], log: (line) => notes.push(line) });
    const again = await build();

    const plain = await registry.getManifest('baseimages/plain', 'new');
    const { kind, manifests, annotations } = parseManifest(plain.bytes, plain.descriptor.mediaType);
    expect(kind).toBe('index');
    expect(manifests.map(({ platform }) => platform?.architecture)).toEqual(['amd64', 'arm64']);
    expect(annotations).toMatchObject({ 'org.opencontainers.image.base.digest': first[0]?.digest });
    expect((await registry.resolveManifest('baseimages/jdk', '1')).mediaType).toBe(mediaTypes.ociManifest);
    expect(notes.sort()).toEqual([
      'jdk:1: no image for arm64: its script runs on amd64, the architecture of this machine',
      'tomcat:1: no image for arm64: jdk:1 has none (base build jdk:1 --architectures …)',
    ]);
    expect(again.map(({ built: anew, digest }) => [anew, digest])).toEqual(
      first.map(({ digest }) => [false, digest]),
    );
    await writeEntry('only', 'parent: jdk:1\narchitectures: [arm64]');
    await expect(build()).rejects.toThrow('only:1 cannot be made for arm64: jdk:1 has none');
    await expect(build({ architectures: ['x86'] })).rejects.toThrow('no base images can be made for "x86"');
  });

  it('miss a file that their test names, which takes no engine', async () => {
    await writeEntry('plain', 'parent: base:1\ntest: {files: [/usr/bin/x]}');

    expect(await message(build())).toContain(
      'plain:1: the smoke test misses the file /usr/bin/x (test.files)',
    );
  });

  it('are the same image whoever is to be asked and however they are tried', async () => {
    await writeEntry('jdk', 'parent: base:1', 'run');
    const [, before] = await build();

    await writeEntry('jdk', 'parent: base:1\nowners: [team]\ntimeout: 1m\ntest: {commands: [x]}');
    const [, after] = await build();

    expect(after).toMatchObject({ built: false, digest: before?.digest });
  });

  it('refuse a script over nothing, and one that no shell would start', async () => {
    await writeEntry('jdk', 'parent: base:1', 'run\r');
    expect(await message(build())).toMatch(/static\.sh:2:4 error/);

    await rm(join(folder.path, 'catalog/jdk'), { recursive: true });
    await writeEntry('base', bottom, 'run');
    expect(await message(build())).toContain('a script runs over a parent, and base:1 has none');
  });
});
