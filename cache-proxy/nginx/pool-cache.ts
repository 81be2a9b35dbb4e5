import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { opendir, stat, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { acceptClasses } from '../fetch/accept-class.ts';
import type { CacheEntry, Coverage, Freed, PoolCache, PurgeTarget } from '../pool-engine.ts';
import { readCacheHeader } from './cache-file.ts';

export interface NginxCacheOptions {
  /** Of `blobs/` and `manifests/`. */
  readonly folder: string;
  /** Bytes of a piece. */
  readonly slice: number;
}

/** Pieces that are looked for where a blob's first one is not there. */
const maxSearched = 256;
/** Milliseconds that an answer of `usage` counts: it looks at every file. */
const usageMs = 5_000;

/**
 * nginx' cache as its files tell it: the key stands in each file's header, the file is named by the MD5 of the key, and has its name only once it is whole.
 * A file that is removed is a miss for nginx; whoever it is being sent to gets the rest.
 */
export function createNginxCache({ folder, slice }: NginxCacheOptions): PoolCache {
  const blobs = join(folder, 'blobs');
  const manifests = join(folder, 'manifests');
  const piece = (digest: string, index: number): string =>
    cachePath(blobs, `b|${digest}|bytes=${index * slice}-${(index + 1) * slice - 1}`);
  let counted: { at: number; freed: Promise<Freed> } | undefined;

  async function* keysIn(zone: string): AsyncGenerator<{ file: string; entry: CacheEntry }> {
    for await (const file of filesIn(zone)) {
      const header = await readCacheHeader(file);
      const bytes = await sizeOf(file);
      const key = header === undefined ? undefined : parseKey(header.key);
      if (key !== undefined && bytes !== undefined) yield { file, entry: { ...key, bytes } };
    }
  }

  /** The blob's size, as any of its pieces says it. */
  const sizeOfBlob = async (digest: string): Promise<number | undefined> => {
    for (let index = 0; index < maxSearched; index += 1) {
      const header = await readCacheHeader(piece(digest, index));
      if (header?.total !== undefined) return header.total;
    }
    return undefined;
  };

  const coverage = async (digest: string): Promise<Coverage> => {
    const size = await sizeOfBlob(digest);
    if (size === undefined) return { cached: 0, whole: false };
    let cached = 0;
    for (let start = 0, index = 0; start < size; start += slice, index += 1) {
      if ((await sizeOf(piece(digest, index))) !== undefined) cached += Math.min(slice, size - start);
    }
    return { cached, size, whole: cached === size };
  };

  async function* bodyOf(digest: string, size: number): AsyncGenerator<Buffer> {
    for (let start = 0, index = 0; start < size; start += slice, index += 1) {
      const file = piece(digest, index);
      const header = await readCacheHeader(file);
      if (header === undefined) throw new Error(`a piece of ${digest} is gone`);
      let left = Math.min(slice, size - start);
      for await (const chunk of createReadStream(file, {
        start: header.bodyStart,
        highWaterMark: 256 * 1024,
      }) as AsyncIterable<Buffer>) {
        left -= chunk.length;
        yield chunk;
      }
      if (left !== 0) throw new Error(`a piece of ${digest} has another length than it says`);
    }
  }

  const filesOf = async (target: PurgeTarget): Promise<string[]> => {
    const found: string[] = [];
    if ('digest' in target) {
      const { digest } = target;
      const size = await sizeOfBlob(digest);
      for (let index = 0; index * slice < (size ?? 0); index += 1) found.push(piece(digest, index));
      for await (const { file, entry } of keysIn(manifests)) if (entry.digest === digest) found.push(file);
      return found;
    }
    const { repository, tag } = target;
    if (tag !== undefined) {
      return acceptClasses.map((accept) => cachePath(manifests, `t|${repository}|${tag}|${accept}`));
    }
    for await (const { file, entry } of keysIn(manifests)) {
      if (entry.repository === repository) found.push(file);
    }
    return found;
  };

  return {
    async *entries() {
      for (const zone of [blobs, manifests]) for await (const { entry } of keysIn(zone)) yield entry;
    },
    coverage,
    async read(digest) {
      const { size, whole } = await coverage(digest);
      if (size === undefined || !whole) return undefined;
      return Readable.from(bodyOf(digest, size), { objectMode: false });
    },
    async purge(target) {
      let freed: Freed = { entries: 0, bytes: 0 };
      for (const file of await filesOf(target)) {
        const bytes = await sizeOf(file);
        if (bytes === undefined || !(await removed(file))) continue;
        freed = { entries: freed.entries + 1, bytes: freed.bytes + bytes };
      }
      counted = undefined;
      return freed;
    },
    usage() {
      if (counted === undefined || Date.now() - counted.at > usageMs) {
        counted = { at: Date.now(), freed: countFiles([blobs, manifests]) };
      }
      return counted.freed;
    },
  };
}

/** `levels=1:2`: the last digit, and the two before it. */
export function cachePath(zone: string, key: string): string {
  const name = createHash('md5').update(key).digest('hex');
  return join(zone, name.slice(-1), name.slice(-3, -1), name);
}

/** Whether that piece is there. `range`: as nginx asks for it. Errors: those of looking. */
export async function hasPiece(folder: string, digest: string, range: string): Promise<boolean> {
  return (await sizeOf(cachePath(join(folder, 'blobs'), `b|${digest}|${range}`))) !== undefined;
}

/** Undefined for a key that we do not write. */
export function parseKey(key: string): Omit<CacheEntry, 'bytes'> | undefined {
  const [kind, first = '', second = ''] = key.split('|');
  if (kind === 'b') {
    const offset = /^bytes=([0-9]+)-/.exec(second)?.[1];
    return offset === undefined ? undefined : { kind: 'blob', digest: first, offset: Number(offset) };
  }
  if (kind === 'm') return { kind: 'manifest', repository: first, digest: second };
  if (kind === 't') return { kind: 'tag', repository: first, tag: second };
  return undefined;
}

async function* filesIn(zone: string): AsyncGenerator<string> {
  let handle: Awaited<ReturnType<typeof opendir>>;
  try {
    handle = await opendir(zone, { recursive: true, bufferSize: 256 });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return;
    throw error;
  }
  for await (const entry of handle) {
    // While it is written it is called otherwise.
    if (entry.isFile() && /^[0-9a-f]{32}$/.test(entry.name)) yield join(entry.parentPath, entry.name);
  }
}

async function countFiles(zones: readonly string[]): Promise<Freed> {
  let entries = 0;
  let bytes = 0;
  for (const zone of zones) {
    for await (const file of filesIn(zone)) {
      const size = await sizeOf(file);
      if (size === undefined) continue;
      entries += 1;
      bytes += size;
    }
  }
  return { entries, bytes };
}

/** Undefined: it is not there (any more). */
async function sizeOf(file: string): Promise<number | undefined> {
  try {
    return (await stat(file)).size;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

async function removed(file: string): Promise<boolean> {
  try {
    await unlink(file);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false;
    throw error;
  }
}
