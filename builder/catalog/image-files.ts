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

interface Tree {
  readonly nodes: Map<string, Node>;
  /** Every path that had something below it at some time. */
  readonly parents: Set<string>;
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
  const tree: Tree = { nodes: new Map(), parents: new Set() };
  for (const { digest, mediaType } of layers) {
    const { body } = await readingBase(image, () => registry.getBlob(image.repository, digest));
    const decompress = mediaType.endsWith('zstd') ? createZstdDecompress() : createGunzip();
    await pipeline(body, decompress, async (source: AsyncIterable<Buffer>) => {
      await addLayer(tree, source);
    });
  }
  return { resolve: (path) => resolvePath(tree.nodes, path) };
}

async function addLayer(tree: Tree, source: AsyncIterable<Buffer>): Promise<void> {
  const { nodes, parents } = tree;
  const own = new Set<string>();
  for await (const { entry } of readTar(source, { readToEnd: true })) {
    const path = entry.path.replace(/^(?:\.?\/)+|\/+$/g, '');
    const slash = path.lastIndexOf('/') + 1;
    const name = path.slice(slash);
    if (name === '.wh..wh..opq') removeBelow(tree, path.slice(0, slash), own);
    else if (name.startsWith('.wh.')) {
      const gone = path.slice(0, slash) + name.slice(4);
      nodes.delete(gone);
      removeBelow(tree, `${gone}/`, own);
    } else {
      own.add(path);
      if (entry.type !== 'directory') removeBelow(tree, `${path}/`, own);
      for (let at = parentOf(path); at !== '' && !parents.has(at); at = parentOf(at)) parents.add(at);
      nodes.set(path, toNode(entry));
    }
  }
}

function toNode(entry: { readonly type: string; readonly target: string }): Node {
  if (entry.type === 'symlink') return { type: 'symlink', target: entry.target };
  return { type: entry.type === 'directory' ? 'directory' : 'file' };
}

function parentOf(path: string): string {
  return path.slice(0, Math.max(0, path.lastIndexOf('/')));
}

function removeBelow({ nodes, parents }: Tree, prefix: string, own: ReadonlySet<string>): void {
  // Nearly every entry is a new file: to look for what is below each would take the square of their number.
  if (prefix !== '' && !parents.has(prefix.slice(0, -1))) return;
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
