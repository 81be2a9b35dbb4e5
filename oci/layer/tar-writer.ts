import { createHash } from 'node:crypto';
import { fileTime, type LayerEntry, layerEpoch } from './entry.ts';
import { encodeHeader, padding } from './tar-header.ts';

/**
 * Chunks have this one size (but the last): what a compressor makes of a stream may depend on how it was cut, and the
 * same tree must always give the same bytes.
 */
const chunkSize = 65_536;

/** Parents that nobody listed: root:root 0755. */
const defaultParent = { mode: 0o755, uid: 0, gid: 0 };

/**
 * A tar of `entries`, which come in the byte order of their paths, each path once. Parents that are missing are added.
 * Errors: RangeError when the order is broken (the digest would depend on the caller), Error when a content does not
 * have the size it announced.
 */
export async function* tarChunks(
  entries: Iterable<LayerEntry> | AsyncIterable<LayerEntry>,
): AsyncGenerator<Buffer, void, undefined> {
  const chunks = createChunker();
  const written = new Set<string>();
  let previous: string | undefined;
  for await (const entry of entries) {
    checkPath(entry.path);
    // Latin1 text compares by code unit, which is by byte.
    if (previous !== undefined && entry.path <= previous) {
      throw new RangeError(`layer entries out of order: ${JSON.stringify(entry.path)}`);
    }
    previous = entry.path;
    for (const parent of missingParents(entry.path, written)) {
      yield* chunks.add(encodeHeader({ type: 'directory', path: parent, ...defaultParent }, 0, layerEpoch));
    }
    if (entry.type === 'directory') written.add(entry.path);
    if (entry.type === 'file') yield* writeFile(entry, chunks);
    else if (entry.type === 'hardlink') yield* chunks.add(encodeHeader(entry, 0, fileTime(entry.sha256)));
    else yield* chunks.add(encodeHeader(entry, 0, layerEpoch));
  }
  yield* chunks.add(Buffer.alloc(1024));
  yield* chunks.end();
}

async function* writeFile(
  entry: LayerEntry & { type: 'file' },
  chunks: Chunker,
): AsyncGenerator<Buffer, void, undefined> {
  const { content } = entry;
  if (content instanceof Uint8Array) {
    const sha256 = createHash('sha256').update(content).digest();
    yield* chunks.add(encodeHeader(entry, content.length, fileTime(sha256)));
    yield* chunks.add(content);
    yield* chunks.add(padding(content.length));
    return;
  }
  yield* chunks.add(encodeHeader(entry, content.size, fileTime(content.sha256)));
  let size = 0;
  for await (const part of content.open()) {
    size += part.length;
    yield* chunks.add(part);
  }
  if (size !== content.size) {
    throw new Error(`${JSON.stringify(entry.path)} has ${size} bytes instead of ${content.size}`);
  }
  yield* chunks.add(padding(size));
}

function checkPath(path: string): void {
  const parts = path.split('/');
  if (parts.some((part) => part === '' || part === '.' || part === '..') || path.includes('\0')) {
    throw new RangeError(`not a path of a layer: ${JSON.stringify(path)}`);
  }
}

function missingParents(path: string, written: Set<string>): string[] {
  const missing: string[] = [];
  for (let slash = path.indexOf('/'); slash !== -1; slash = path.indexOf('/', slash + 1)) {
    const parent = path.slice(0, slash);
    if (written.has(parent)) continue;
    written.add(parent);
    missing.push(parent);
  }
  return missing;
}

interface Chunker {
  /** Gives every chunk that became full. */
  add(bytes: Uint8Array): Generator<Buffer, void, undefined>;
  end(): Generator<Buffer, void, undefined>;
}

function createChunker(): Chunker {
  let chunk = Buffer.allocUnsafe(chunkSize);
  let filled = 0;
  return {
    *add(bytes) {
      for (let offset = 0; offset < bytes.length; ) {
        const part = bytes.subarray(offset, offset + chunkSize - filled);
        chunk.set(part, filled);
        filled += part.length;
        offset += part.length;
        if (filled < chunkSize) continue;
        yield chunk;
        // A new one each time: the compressor still holds the last.
        chunk = Buffer.allocUnsafe(chunkSize);
        filled = 0;
      }
    },
    *end() {
      if (filled > 0) yield chunk.subarray(0, filled);
      filled = 0;
    },
  };
}
