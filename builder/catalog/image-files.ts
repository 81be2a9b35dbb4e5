import { pipeline } from 'node:stream/promises';
import { createGunzip, createZstdDecompress } from 'node:zlib';
import { readTar } from '../../oci/layer/tar-reader.ts';
import type { Reader } from '../../oci/registry.ts';
import type { BaseImage } from '../engines/assembler/base-image.ts';
import { readingBase } from '../engines/base-image-gone.ts';
import type { LevelImage } from '../engines/level-sandbox.ts';

/** Paths of an image, without a leading slash: the target of a symlink, `directory`, or anything else as `file`. */
export interface ImageFiles {
  /** What a path names when all symlinks are followed. */
  resolve(path: string): 'file' | 'directory' | undefined;
}

type Node = { readonly type: 'file' | 'directory' } | { readonly type: 'symlink'; readonly target: string };

/** As many as Linux follows. */
const mostLinks = 40;

/** Reads the headers of an image's layers, whiteouts applied. Errors: BaseImageGone, those of the registry. */
export async function readImageFiles(
  registry: Reader,
  image: LevelImage,
  layers: BaseImage['layers'],
): Promise<ImageFiles> {
  const nodes = new Map<string, Node>();
  for (const { digest, mediaType } of layers) {
    const { body } = await readingBase(image, () => registry.getBlob(image.repository, digest));
    const decompress = mediaType.endsWith('zstd') ? createZstdDecompress() : createGunzip();
    await pipeline(body, decompress, async (source: AsyncIterable<Buffer>) => {
      await addLayer(nodes, source);
    });
  }
  return { resolve: (path) => resolvePath(nodes, path) };
}

async function addLayer(nodes: Map<string, Node>, source: AsyncIterable<Buffer>): Promise<void> {
  const own = new Set<string>();
  for await (const { entry } of readTar(source, { readToEnd: true })) {
    const path = entry.path.replace(/^(?:\.?\/)+|\/+$/g, '');
    const slash = path.lastIndexOf('/') + 1;
    const name = path.slice(slash);
    if (name === '.wh..wh..opq') removeBelow(nodes, path.slice(0, slash), own);
    else if (name.startsWith('.wh.')) {
      const gone = path.slice(0, slash) + name.slice(4);
      nodes.delete(gone);
      removeBelow(nodes, `${gone}/`, own);
    } else {
      own.add(path);
      if (entry.type !== 'directory') removeBelow(nodes, `${path}/`, own);
      nodes.set(path, toNode(entry));
    }
  }
}

function toNode(entry: { readonly type: string; readonly target: string }): Node {
  if (entry.type === 'symlink') return { type: 'symlink', target: entry.target };
  return { type: entry.type === 'directory' ? 'directory' : 'file' };
}

function removeBelow(nodes: Map<string, Node>, prefix: string, own: ReadonlySet<string>): void {
  for (const path of nodes.keys()) if (path.startsWith(prefix) && !own.has(path)) nodes.delete(path);
}

function resolvePath(nodes: ReadonlyMap<string, Node>, path: string): 'file' | 'directory' | undefined {
  const open = path.split('/').reverse();
  const done: string[] = [];
  for (let links = 0; ; ) {
    const part = open.pop();
    if (part === undefined) break;
    if (part === '' || part === '.') continue;
    if (part === '..') {
      done.pop();
      continue;
    }
    const node = nodes.get([...done, part].join('/'));
    if (node?.type !== 'symlink') {
      if (node === undefined) return undefined;
      done.push(part);
      continue;
    }
    links += 1;
    if (links > mostLinks) return undefined;
    if (node.target.startsWith('/')) done.length = 0;
    open.push(...node.target.split('/').reverse());
  }
  if (done.length === 0) return 'directory';
  const node = nodes.get(done.join('/'));
  return node?.type === 'symlink' ? undefined : node?.type;
}
