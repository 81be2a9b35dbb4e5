import { close, closeSync, fstatSync, openSync, read as readCallback, statSync } from 'node:fs';
import { Readable } from 'node:stream';
import { promisify } from 'node:util';
import { filePath } from './byte-path.ts';
import { isMissing, unavailable } from './file-errors.ts';
import { FileObject, FileVersion, readWhole } from './file-version.ts';
import {
  type ObjectInfo,
  RangeNotSatisfiable,
  type StoredObject,
  type StoredStream,
} from './object-store.ts';

const readAt = promisify(readCallback);

/** Up to this much is read on the spot: from the page cache that takes 8 µs, a trip through the thread pool 60. */
const READ_AT_ONCE = 64 * 1024;
/** One read of a stream. Larger reads gain nothing, smaller ones pay the trip through the thread pool more often. */
const STREAM_CHUNK = 512 * 1024;

export async function readFileObject(
  path: string,
  limit = Number.POSITIVE_INFINITY,
): Promise<StoredObject | undefined> {
  const fd = openExisting(path);
  if (fd === undefined) return undefined;
  try {
    const stat = fstatSync(fd);
    const length = Math.min(stat.size, Math.max(0, limit));
    const body = length <= READ_AT_ONCE ? readWhole(fd, length) : await readAsync(fd, length);
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
): StoredStream | undefined {
  const fd = openExisting(path);
  if (fd === undefined) return undefined;
  try {
    const stat = fstatSync(fd);
    if (range !== undefined && !(range.start >= 0 && range.start < stat.size && range.end >= range.start)) {
      throw new RangeNotSatisfiable(stat.size);
    }
    const end = range === undefined ? stat.size : Math.min(range.end + 1, stat.size);
    return new FileObject(path, stat, createFileStream(fd, range?.start ?? 0, end));
  } catch (error) {
    closeSync(fd);
    throw unavailable('opening an object', error);
  }
}

/** Bytes from `start` up to, not with, `end` of an open file, which it closes. At most two chunks are in memory. */
export function createFileStream(fd: number, start: number, end: number): Readable {
  let position = start;
  return new Readable({
    highWaterMark: STREAM_CHUNK,
    read() {
      const length = Math.min(STREAM_CHUNK, end - position);
      if (length <= 0) {
        this.push(null);
        return;
      }
      readCallback(fd, Buffer.allocUnsafeSlow(length), 0, length, position, (error, count, buffer) => {
        if (error !== null) {
          this.destroy(unavailable('reading an object', error));
        } else if (count === 0) {
          this.destroy(unavailable('reading an object', new Error('it is shorter than it was')));
        } else {
          position += count;
          this.push(count === buffer.length ? buffer : buffer.subarray(0, count));
        }
      });
    },
    destroy(error, callback) {
      // A read may still be under way, perhaps of another file that was given this number: it fills a buffer that nobody looks at.
      close(fd, (closeError) => callback(error ?? closeError));
    },
  });
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
