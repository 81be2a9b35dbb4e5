import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { readFile, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { Readable } from 'node:stream';
import { promisify } from 'node:util';
import type { ContainerApi } from './container-api.ts';
import { tarEnd, tarFile } from './tar-file.ts';

export interface RelayImage {
  /** As the engine knows it. */
  readonly name: string;
  /** Starts `builder/egress/relay.ts`; its own arguments follow. */
  readonly argv: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
}

interface RelayFile {
  /** In the image, absolute. */
  readonly path: string;
  readonly content: Buffer | { readonly file: string; readonly size: number };
}

/** Part of the image's name: a change of how it is made makes another one. */
const version = 1;

/** Node.js strips the types where this runs from its sources. */
const source = import.meta.url.endsWith('.ts') ? 'relay.ts' : 'relay.js';
const programPath = source === 'relay.ts' ? '/relay.mts' : '/relay.mjs';

/**
 * The image in which the relay of builds runs: this very Node.js with its libraries and one small program, so that no base image of the catalog is
 * needed for it. Loaded into the engine once for each version. Errors: ContainerApiError; those of the file system.
 */
export function createRelayImage(api: ContainerApi): { ensure(signal: AbortSignal): Promise<RelayImage> } {
  let loaded: Promise<RelayImage> | undefined;
  return {
    async ensure(signal) {
      loaded ??= load(api, signal);
      try {
        const image = await loaded;
        // Somebody may have cleared the engine's images meanwhile.
        if ((await api.inspectImage(image.name)) !== undefined) return image;
        loaded = load(api, signal);
        return await loaded;
      } catch (error) {
        loaded = undefined;
        throw error;
      }
    },
  };
}

async function load(api: ContainerApi, signal: AbortSignal): Promise<RelayImage> {
  const files = await relayFiles();
  const key = createHash('sha256').update(`${version}\0${process.version}\0${process.arch}\0`);
  for (const { path, content } of files) {
    // A hundred megabytes of program: by size, as its version is in the key already.
    key.update(`${path}\0`).update(Buffer.isBuffer(content) ? content : `${content.size}\0`);
  }
  const name = `localhost/brickyard-relay:${key.digest('hex').slice(0, 32)}`;
  const libraries = new Set(files.map(({ path }) => dirname(path)).filter((folder) => folder !== '/'));
  const image = {
    name,
    argv: ['/bin/node', '--max-old-space-size=64', programPath],
    environment: { LD_LIBRARY_PATH: [...libraries].join(':') },
  };
  if ((await api.inspectImage(name)) !== undefined) return image;
  const written = { hash: createHash('sha256'), size: 0 };
  for await (const chunk of layer(files)) {
    written.hash.update(chunk);
    written.size += chunk.length;
  }
  const contents = { diffId: written.hash.digest('hex'), size: written.size, open: () => layer(files) };
  const archive = Readable.from(dockerArchive(name, contents), { objectMode: false });
  await api.loadImage(archive, signal);
  return image;
}

async function relayFiles(): Promise<readonly RelayFile[]> {
  const program = await readFile(new URL(`../../egress/${source}`, import.meta.url));
  const files: RelayFile[] = [
    { path: programPath, content: program },
    { path: '/bin/node', content: await onDisk(process.execPath) },
  ];
  for (const path of await librariesOf(process.execPath)) files.push({ path, content: await onDisk(path) });
  return files;
}

async function onDisk(file: string): Promise<{ file: string; size: number }> {
  return { file, size: (await stat(file)).size };
}

/** As its own dynamic loader finds them (ldd(1)); none for a program that is linked statically. */
async function librariesOf(program: string): Promise<readonly string[]> {
  const text = await promisify(execFile)('ldd', [program], { env: { ...process.env, LC_ALL: 'C' } }).then(
    ({ stdout }) => stdout,
    (error: Error & { stderr?: string }) => {
      if (/not a dynamic executable|statically linked/.test(error.stderr ?? '')) return '';
      throw error;
    },
  );
  // `libm.so.6 => /lib/x86_64-linux-gnu/libm.so.6 (0x…)`, and the loader itself: `/lib64/ld-linux-x86-64.so.2 (0x…)`.
  return text.split('\n').flatMap((line) => /^\s*(?:\S+ => )?(\/\S+) \(0x/.exec(line)?.[1] ?? []);
}

async function* layer(files: readonly RelayFile[]): AsyncGenerator<Buffer, void, undefined> {
  for (const { path, content } of files) {
    const name = path.slice(1);
    if (Buffer.isBuffer(content)) yield* tarFile(name, content, { mode: 0o644 });
    else yield* tarFile(name, createReadStream(content.file), { mode: 0o755, size: content.size });
  }
  yield tarEnd();
}

/** `docker save` format. */
async function* dockerArchive(
  name: string,
  layer: { readonly diffId: string; readonly size: number; open(): AsyncIterable<Buffer> },
): AsyncGenerator<Buffer, void, undefined> {
  const config = Buffer.from(
    JSON.stringify({
      architecture: process.arch === 'x64' ? 'amd64' : process.arch,
      os: 'linux',
      config: {},
      rootfs: { type: 'layers', diff_ids: [`sha256:${layer.diffId}`] },
    }),
  );
  const configName = `${createHash('sha256').update(config).digest('hex')}.json`;
  const index = [{ Config: configName, RepoTags: [name], Layers: ['0/layer.tar'] }];
  yield* tarFile('manifest.json', Buffer.from(JSON.stringify(index)));
  yield* tarFile(configName, config);
  yield* tarFile('0/layer.tar', layer.open(), { size: layer.size });
  yield tarEnd();
}
