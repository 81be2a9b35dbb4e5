import { hash } from 'node:crypto';
import { closeSync, fstatSync, openSync, readSync, type Stats } from 'node:fs';
import { filePath } from './byte-path.ts';
import { isMissing, unavailable } from './file-errors.ts';
import type { ObjectInfo } from './object-store.ts';

/**
 * Up to this size an ETag is the hash of the body: an inode number and a coarse timestamp can both come again within a clock tick, and then
 * a lost update would go unseen. Larger objects are data, written once; hashing them on every look would cost seconds.
 */
const LARGEST_HASHED = 8 * 1024 * 1024;

/** What a look at an object gives. The ETag is worked out when it is first read: the hot paths never ask for it. */
export class FileVersion implements ObjectInfo {
  readonly size: number;
  readonly #path: string;
  readonly #stat: Stats;
  readonly #wholeBody: Buffer | undefined;
  #etag: string | undefined;

  /** `wholeBody`: when the caller has read all of it anyway. */
  constructor(path: string, stat: Stats, wholeBody?: Buffer) {
    this.#path = path;
    this.#stat = stat;
    this.#wholeBody = wholeBody;
    this.size = stat.size;
  }

  get modified(): Date {
    return this.#stat.mtime;
  }

  get etag(): string {
    this.#etag ??=
      this.#wholeBody === undefined
        ? etagOfFile(this.#path, this.#stat)
        : etagOf(this.#wholeBody, this.#stat);
    return this.#etag;
  }
}

/** Adds what was read. Errors in `etag`: ObjectStoreUnavailable. */
export class FileObject<Body> extends FileVersion {
  readonly body: Body;
  constructor(path: string, stat: Stats, body: Body, wholeBody?: Buffer) {
    super(path, stat, wholeBody);
    this.body = body;
  }
}

/** ETag of a body that is known in full. `stat` matters for large ones only; undefined when the caller knows that it is small. */
export function etagOf(body: Uint8Array, stat: Stats | undefined): string {
  return body.length <= LARGEST_HASHED || stat === undefined
    ? hash('sha256', body, 'base64url')
    : etagOfStat(stat);
}

/** ETag of the file that is at `path` now; undefined when there is none. Synchronous, to be called under the key's lock. */
export function currentEtag(path: string): string | undefined {
  let fd: number;
  try {
    fd = openSync(filePath(path), 'r');
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
  try {
    const stat = fstatSync(fd);
    return stat.size > LARGEST_HASHED ? etagOfStat(stat) : etagOf(readWhole(fd, stat.size), stat);
  } finally {
    closeSync(fd);
  }
}

/**
 * Reads `length` bytes from the start; less when the file is shorter. `toKeep`: not from the pool that Node cuts small buffers from, where
 * one that is kept keeps all of its neighbours.
 */
export function readWhole(fd: number, length: number, toKeep = false): Buffer {
  const buffer = toKeep ? Buffer.allocUnsafeSlow(length) : Buffer.allocUnsafe(length);
  let filled = 0;
  while (filled < length) {
    const count = readSync(fd, buffer, filled, length - filled, filled);
    if (count === 0) break;
    filled += count;
  }
  return filled === length ? buffer : buffer.subarray(0, filled);
}

function etagOfFile(path: string, seen: Stats): string {
  if (seen.size > LARGEST_HASHED) return etagOfStat(seen);
  try {
    const fd = openSync(filePath(path), 'r');
    try {
      // Objects are replaced, never changed in place: the same file is the same version.
      if (sameFile(fstatSync(fd), seen)) return hash('sha256', readWhole(fd, seen.size), 'base64url');
    } finally {
      closeSync(fd);
    }
  } catch (error) {
    if (!isMissing(error)) throw unavailable('reading an object to name its version', error);
  }
  // That version is gone; any value that no version has says so to a compare-and-set.
  return `gone-${etagOfStat(seen)}`;
}

function sameFile(now: Stats, seen: Stats): boolean {
  return (
    now.ino === seen.ino &&
    now.size === seen.size &&
    now.mtimeMs === seen.mtimeMs &&
    now.ctimeMs === seen.ctimeMs
  );
}

function etagOfStat(stat: Stats): string {
  return `${stat.ino.toString(36)}-${stat.mtimeMs.toString(36)}-${stat.size.toString(36)}`;
}
