import { closeSync, fstatSync, openSync, read as readCallback, statSync } from 'node:fs';
import type { Readable } from 'node:stream';
import { promisify } from 'node:util';
import { filePath } from './byte-path.ts';
import { isMissing, unavailable } from './file-errors.ts';
import { FileStream } from './file-stream.ts';
import { FileObject, FileVersion } from './file-version.ts';
import {
  type ObjectInfo,
  RangeNotSatisfiable,
  type StoredObject,
  type StoredStream,
} from './object-store.ts';
import { createReadBuffers, type ReadBuffers } from './read-buffers.ts';

const readAt = promisify(readCallback);

/** Through the thread pool, for what is too large for the cache of small objects. */
export async function readFileObject(
  path: string,
  limit = Number.POSITIVE_INFINITY,
): Promise<StoredObject | undefined> {
  const fd = openExisting(path);
  if (fd === undefined) return undefined;
  try {
    const stat = fstatSync(fd);
    const length = Math.min(stat.size, Math.max(0, limit));
    const body = await readAsync(fd, length);
    return new FileObject(path, stat, body, length === stat.size ? body : undefined);
  } catch (error) {
    throw unavailable('reading an object', error);
  } finally {
    closeSync(fd);
  }
}

export function fileInfo(path: string): ObjectInfo | undefined {
  try {
    const stat = statSync(filePath(path), { throwIfNoEntry: false });
    return stat && new FileVersion(path, stat);
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw unavailable('looking at an object', error);
  }
}

/** `range.end` is inclusive. The file is closed when the stream ends or is destroyed. Errors: RangeNotSatisfiable. */
export function streamFileObject(
  path: string,
  range: { start: number; end: number } | undefined,
  buffers: ReadBuffers,
): StoredStream | undefined {
  const fd = openExisting(path);
  if (fd === undefined) return undefined;
  try {
    const stat = fstatSync(fd);
    if (range !== undefined && !(range.start >= 0 && range.start < stat.size && range.end >= range.start)) {
      throw new RangeNotSatisfiable(stat.size);
    }
    const end = range === undefined ? stat.size : Math.min(range.end + 1, stat.size);
    return new FileObject(path, stat, new FileStream(fd, range?.start ?? 0, end, buffers));
  } catch (error) {
    closeSync(fd);
    throw unavailable('opening an object', error);
  }
}

/** For bytes that are read back, not sent. Closes the file. */
export function createFileStream(fd: number, start: number, end: number): Readable {
  return new FileStream(fd, start, end, createReadBuffers());
}

async function readAsync(fd: number, length: number): Promise<Buffer> {
  const buffer = Buffer.allocUnsafeSlow(length);
  let filled = 0;
  while (filled < length) {
    const { bytesRead } = await readAt(fd, buffer, filled, length - filled, filled);
    if (bytesRead === 0) break;
    filled += bytesRead;
  }
  return buffer.subarray(0, filled);
}

function openExisting(path: string): number | undefined {
  try {
    return openSync(filePath(path), 'r');
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw unavailable('opening an object', error);
  }
}
