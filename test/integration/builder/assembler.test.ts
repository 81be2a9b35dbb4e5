import { createHash, randomBytes } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { mkdir, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { createAssembler } from '../../../builder/engines/assembler.ts';
import type { BuildPlan } from '../../../builder/plan/plan.ts';
import type { SourceEntry, SourceTree } from '../../../builder/plan/source-tree.ts';
import { createFilesystemStore } from '../../../core/object-store/filesystem.ts';
import { JobFailed } from '../../../core/queue/job-queue.ts';
import { digestOf } from '../../../oci/digest.ts';
import { parseManifest } from '../../../oci/manifest.ts';
import { mediaTypes } from '../../../oci/media-types.ts';
import type { Registry } from '../../../oci/registry.ts';
import { createStoredRegistry } from '../../../registry/stored-registry.ts';
import { runOk } from '../../helpers/process.ts';
import { createTempDirectory } from '../../helpers/temp.ts';

const chunk = randomBytes(1024 * 1024);

/** `megabytes` that do not compress, made as they are read. */
async function* content(megabytes: number) {
  for (let i = 0; i < megabytes; i += 1) yield chunk;
}

function sourceOf(files: Record<string, number>): SourceTree {
  const entries = Object.keys(files).map((path) => ({ path, kind: 'file' as const, id: path }));
  return {
    key: randomBytes(8).toString('hex'),
    entries: async () => entries,
    readFile: async () => undefined,
    async *read(wanted: readonly SourceEntry[]) {
      for (const entry of wanted) {
        const megabytes = files[entry.path] ?? 0;
        yield { entry, size: megabytes * chunk.length, body: Readable.from(content(megabytes)) };
      }
    },
    close: async () => {},
  };
}

/** A base without layers is enough: what lies below is never read. */
async function pushBase(registry: Registry): Promise<BuildPlan['base']> {
  const repository = 'baseimages/empty';
  const config = Buffer.from(
    '{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}',
  );
  await registry.putBlob(repository, digestOf(config), config);
  const descriptor = { mediaType: mediaTypes.ociConfig, digest: digestOf(config), size: config.length };
  const manifest = Buffer.from(
    JSON.stringify({ schemaVersion: 2, mediaType: mediaTypes.ociManifest, config: descriptor, layers: [] }),
  );
  await registry.putManifest(repository, '1', manifest, mediaTypes.ociManifest);
  return { name: 'empty:1', repository, digest: digestOf(manifest), launcher: true };
}

function planOn(base: BuildPlan['base']): BuildPlan {
  return {
    repository: 'shop/web',
    appname: 'web',
    base,
    directory: '/home/web',
    source: { include: ['**'], exclude: [] },
    roles: [
      {
        name: 'web',
        command: ['true'],
        environment: {},
        workingDirectory: '/home/web',
        user: 'app',
        ports: [],
      },
    ],
    environment: {},
    labels: {},
    volumes: [],
  };
}

/** Temporary files of layers; each test has a folder of its own for them. */
const spools = async (folder: string) =>
  (await readdir(folder)).filter((name) => name.startsWith('brickyard-layer-'));

afterEach(() => {
  vi.unstubAllEnvs();
});

describe('the assembler on the filesystem store', () => {
  it('streams a 150 MB file into a layer that tar reads, in bounded memory, and leaves no temporary file', async () => {
    await using folder = await createTempDirectory('assembler');
    const store = createFilesystemStore({ root: join(folder.path, 'data') });
    const registry = createStoredRegistry({ store });
    const plan = planOn(await pushBase(registry));
    const assembler = createAssembler({ registry, store });
    vi.stubEnv('TMPDIR', folder.path);
    let largest = 0;
    const start = process.memoryUsage().rss;
    const timer = setInterval(() => {
      largest = Math.max(largest, process.memoryUsage().rss - start);
    }, 20);

    const result = await assembler.build(
      { plan, source: sourceOf({ large: 150, small: 1 }), annotations: {}, tags: ['main'] },
      { signal: new AbortController().signal, log: () => {} },
    );
    clearInterval(timer);

    expect(result.storedBytes).toBeGreaterThan(150 * chunk.length);
    expect(largest).toBeLessThan(120 * 1024 * 1024);
    expect(await spools(folder.path)).toEqual([]);
    const { bytes, descriptor } = await registry.getManifest('shop/web', 'main');
    const [layer] = parseManifest(bytes, descriptor.mediaType).layers;
    const file = join(folder.path, 'layer.tgz');
    if (layer === undefined) throw new Error('no layer');
    await pipeline((await registry.getBlob('shop/web', layer.digest)).body, createWriteStream(file));
    const root = join(folder.path, 'root');
    await mkdir(root);
    await runOk('tar', ['-xzf', file, '-C', root]);
    const expected = createHash('sha256');
    for await (const part of content(150)) expected.update(part);
    expect(await runOk('sha256sum', [join(root, 'home/web/large')])).toContain(expected.digest('hex'));
  });

  it('stops in the middle when it is cancelled, without a tag and without a temporary file', async () => {
    await using folder = await createTempDirectory('assembler');
    const store = createFilesystemStore({ root: join(folder.path, 'data') });
    const registry = createStoredRegistry({ store });
    const plan = planOn(await pushBase(registry));
    vi.stubEnv('TMPDIR', folder.path);
    const controller = new AbortController();
    const source = sourceOf({ a: 20, b: 20, c: 1000 });
    const original = source.read.bind(source);
    source.read = async function* (entries) {
      for await (const item of original(entries)) {
        if (item.entry.path === 'b') controller.abort();
        yield item;
      }
    };

    const building = createAssembler({ registry, store }).build(
      { plan, source, annotations: {}, tags: ['main'] },
      { signal: controller.signal, log: () => {} },
    );

    await expect(building).rejects.toMatchObject({ name: 'AbortError' });
    expect(await spools(folder.path)).toEqual([]);
    await expect(registry.resolveManifest('shop/web', 'main')).rejects.toMatchObject({
      code: 'NAME_UNKNOWN',
    });
  });

  it('tells what was wrong with a file when it is refused in the middle of an upload', async () => {
    await using folder = await createTempDirectory('assembler');
    const store = createFilesystemStore({ root: join(folder.path, 'data') });
    const registry = createStoredRegistry({ store });
    const plan = planOn(await pushBase(registry));
    const source = sourceOf({ a: 20, b: 20 });
    source.read = async function* (entries) {
      for (const entry of entries) {
        if (entry.path === 'b') throw new JobFailed('b is refused');
        yield { entry, size: 20 * chunk.length, body: Readable.from(content(20)) };
      }
    };

    const building = createAssembler({ registry, store }).build(
      { plan, source, annotations: {}, tags: ['main'] },
      { signal: new AbortController().signal, log: () => {} },
    );

    await expect(building).rejects.toThrow('b is refused');
  });
});
