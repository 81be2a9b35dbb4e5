import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { Readable } from 'node:stream';
import type { BuildPlan, BuildStep } from '../../../builder/plan/plan.ts';
import type { SourceEntry, SourceTree } from '../../../builder/plan/source-tree.ts';
import { createMemoryStore } from '../../../core/object-store/memory.ts';
import { type Digest, digestOf } from '../../../oci/digest.ts';
import type { LayerEntry } from '../../../oci/layer/entry.ts';
import { mediaTypes } from '../../../oci/media-types.ts';
import type { Registry } from '../../../oci/registry.ts';
import { createStoredRegistry } from '../../../registry/stored-registry.ts';
import { createImage, type TestImage } from '../../helpers/image.ts';

/** Debian's static busybox with its usual names: the smallest base image that has a shell. */
export async function createBusyboxImage(): Promise<TestImage> {
  const busybox = await readFile('/bin/busybox');
  const names =
    'awk cat chmod chown cp dd echo env false find head id kill ln ls mkdir mkfifo mount mv pwd rm sed seq sh sleep stat tail tar test touch true tr wc wget yes'.split(
      ' ',
    );
  const owner = { uid: 0, gid: 0 };
  const entries: LayerEntry[] = [
    { type: 'directory', path: 'bin', mode: 0o755, ...owner },
    { type: 'file', path: 'bin/busybox', mode: 0o755, content: busybox, ...owner },
    ...names.map(
      (name): LayerEntry => ({ type: 'symlink', path: `bin/${name}`, target: 'busybox', ...owner }),
    ),
    { type: 'directory', path: 'etc', mode: 0o755, ...owner },
    {
      type: 'file',
      path: 'etc/group',
      mode: 0o644,
      content: Buffer.from('root:x:0:\napp:x:10001:\n'),
      ...owner,
    },
    {
      type: 'file',
      path: 'etc/passwd',
      mode: 0o644,
      content: Buffer.from('root:x:0:0::/:/bin/sh\napp:x:10001:10001::/:/bin/sh\n'),
      ...owner,
    },
    { type: 'directory', path: 'tmp', mode: 0o1777, ...owner },
  ];
  return createImage([entries], { Env: ['PATH=/bin', 'BASE=busybox'] });
}

/** A registry that holds these images, each under its repository with the tag `latest`. */
export async function serveImages(images: Readonly<Record<string, TestImage>>): Promise<Registry> {
  const registry = createStoredRegistry({ store: createMemoryStore() });
  for (const [repository, image] of Object.entries(images)) {
    for (const blob of [image.config, ...image.layers])
      await registry.putBlob(repository, digestOf(blob), blob);
    await registry.putManifest(repository, 'latest', image.manifest, mediaTypes.ociManifest);
  }
  return registry;
}

/** A source tree of literal files: text, or `{ link }`, or `{ run }` for an executable. */
export function createSource(
  files: Readonly<Record<string, string | { link: string } | { run: string }>>,
): SourceTree {
  const contents = new Map<string, Buffer>();
  const list = Object.entries(files)
    .map(([name, file]): SourceEntry => {
      const path = Buffer.from(name).toString('latin1');
      const text = typeof file === 'string' ? file : 'link' in file ? file.link : file.run;
      contents.set(path, Buffer.from(text));
      const kind = typeof file === 'string' ? 'file' : 'link' in file ? 'symlink' : 'executable';
      return { path, kind, id: digestOf(text) };
    })
    .sort((a, b) => Buffer.compare(Buffer.from(a.path, 'latin1'), Buffer.from(b.path, 'latin1')));
  return {
    key: createHash('sha256').update(JSON.stringify(files)).digest('hex'),
    entries: async () => list,
    readFile: async (path) => contents.get(path),
    async *read(entries) {
      for (const entry of entries) {
        const content = contents.get(entry.path) ?? Buffer.alloc(0);
        yield { entry, size: content.length, body: Readable.from([content], { objectMode: false }) };
      }
    },
    close: async () => {},
  };
}

/** A plan for `team/app` whose step runs these commands. */
export function createPlan(
  base: Digest,
  build: Partial<BuildStep> & Pick<BuildStep, 'commands'>,
): { plan: BuildPlan; step: BuildStep } {
  const planned = { name: 'busybox', repository: 'baseimages/busybox', digest: base, launcher: true };
  const step: BuildStep = { base: planned, outputs: {}, network: 'none', timeoutSeconds: 60, ...build };
  const plan: BuildPlan = {
    repository: 'team/app',
    appname: 'app',
    base: planned,
    directory: '/home/app',
    source: { include: ['**'], exclude: [] },
    build: step,
    roles: [],
    environment: {},
    labels: {},
    volumes: [],
  };
  return { plan, step };
}
