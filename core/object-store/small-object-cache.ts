import { closeSync, fstatSync, openSync, type Stats, statSync } from 'node:fs';
import { LRUCache } from 'lru-cache';
import { filePath } from './byte-path.ts';
import { isMissing, unavailable } from './file-errors.ts';
import { FileObject, readWhole } from './file-version.ts';
import type { StoredObject } from './object-store.ts';

/**
 * Small objects that were read before, each confirmed by one look at the file's inode when it is asked for again: half the work of opening
 * and reading it, and the body is the same Buffer, so whoever decoded it need not do so again.
 *
 * Why a look at the inode is enough. Every version of an object is a file of its own, written aside and renamed to its place
 * (file-writer.ts, filesystem-multipart.ts), never changed afterwards. So a name that leads to the same inode leads to the same version,
 * except that an inode's number is given out again once its file is gone. But then the change time (`ctime`), which nobody can set to
 * anything but the clock's present, is that of the new file: while we have the old one open its number is not free, so the new file is made
 * after we closed it. And a version is kept only if its ctime, at a time when we had it open, was older than SETTLED_MS, which is far more
 * than the clock's ticks (at most 10 ms) and what a double of milliseconds rounds away (250 ns): the two times differ. One local file
 * system and `Date.now` have the same clock. Were that put back, a new version would still have to meet the old one's number, size and
 * tick all at once.
 */
export interface SmallObjectCache {
  /**
   * The body must not be changed: it is shared. Undefined: there is no such object. 'large': read it otherwise.
   * Errors: ObjectStoreUnavailable.
   */
  read(key: string, limit: number): StoredObject | undefined | 'large';
}

/** Up to this much is read on the spot: from the page cache that takes 8 µs, a trip through the thread pool 60. */
const READ_AT_ONCE = 64 * 1024;
const SETTLED_MS = 500;
/** What an entry costs beside its body: path, inode, bookkeeping. */
const ENTRY_BYTES = 1024;

interface Entry {
  readonly path: string | Buffer;
  readonly stat: Stats;
  readonly object: FileObject<Buffer>;
  /** How much of the object was asked for. */
  readonly limit: number;
}

/** `locate` gives the byte string of the path. `bytes`: most memory that is used. */
export function createSmallObjectCache(locate: (key: string) => string, bytes: number): SmallObjectCache {
  const entries = new LRUCache<string, Entry>({
    maxSize: bytes,
    sizeCalculation: ({ object }) => object.body.length + ENTRY_BYTES,
  });

  function confirmed(key: string, limit: number): StoredObject | undefined {
    const entry = entries.get(key);
    if (entry === undefined) return undefined;
    const enough = entry.limit === limit || entry.object.size <= Math.min(entry.limit, limit);
    return enough && isUnchanged(entry) ? entry.object : undefined;
  }

  function read(key: string, limit: number): StoredObject | undefined | 'large' {
    const path = locate(key);
    const file = filePath(path);
    const fd = openSync(file, 'r');
    try {
      const stat = fstatSync(fd);
      const length = Math.min(stat.size, Math.max(0, limit));
      if (length > READ_AT_ONCE) return 'large';
      // While the file is open: see above.
      const settled = Date.now() - stat.ctimeMs > SETTLED_MS;
      const body = readWhole(fd, length, settled);
      const object = new FileObject(path, stat, body, body.length === stat.size ? body : undefined);
      if (settled) entries.set(key, { path: file, stat, object, limit });
      else entries.delete(key);
      return object;
    } finally {
      closeSync(fd);
    }
  }

  return {
    read(key, limit) {
      try {
        return confirmed(key, limit) ?? read(key, limit);
      } catch (error) {
        if (!isMissing(error)) throw unavailable('reading an object', error);
        entries.delete(key);
        return undefined;
      }
    },
  };
}

function isUnchanged({ path, stat }: Entry): boolean {
  const now = statSync(path, { throwIfNoEntry: false });
  return (
    now !== undefined &&
    now.ctimeMs === stat.ctimeMs &&
    now.ino === stat.ino &&
    now.size === stat.size &&
    now.mtimeMs === stat.mtimeMs
  );
}
