import { closeSync, fsyncSync, mkdirSync, openSync, statSync } from 'node:fs';
import { resolve } from 'node:path';
import { createByteBudget } from './byte-budget.ts';
import { filePath, parentPath } from './byte-path.ts';
import { createDirectoryEntries } from './directory-entries.ts';
import { createDirectorySync } from './directory-sync.ts';
import { unavailable } from './file-errors.ts';
import { fileInfo, readFileObject, streamFileObject } from './file-reader.ts';
import { currentEtag, etagOf } from './file-version.ts';
import { moveIntoPlace, removeEmptyDirectories, removeFile, writeTemporary } from './file-writer.ts';
import { checkFormat } from './filesystem-format.ts';
import { listFiles } from './filesystem-list.ts';
import { createFilesystemMultipart } from './filesystem-multipart.ts';
import { sweepTemporaries } from './filesystem-sweep.ts';
import { toByteString } from './key.ts';
import { directoryPath, objectPath } from './key-path.ts';
import { createKeyLocks } from './locks.ts';
import { type ObjectStore, PreconditionFailed, type PutOptions } from './object-store.ts';
import { createReadBuffers } from './read-buffers.ts';
import { createSmallObjectCache } from './small-object-cache.ts';
import { syncTree } from './sync-tree.ts';

export interface FilesystemStore extends ObjectStore {
  /** Absolute path of the object's file, for a web server that sends it itself (X-Accel-Redirect). The file need not exist. */
  pathOf(key: string): string;
  /**
   * Removes what processes that died left in `tmp/`: files that no live process holds and that were last written `olderThanMs` ago, uploads
   * never before a day. Returns how many. Safe at any time, in any number of processes.
   */
  sweepTemporaries(olderThanMs: number): Promise<number>;
  /** Closes the lock files. Calls under way must have ended. */
  close(): void;
}

export interface FilesystemStoreOptions {
  /** Directory that holds nothing but this store; made when it is not there. One local file system, shared by any number of processes of one machine. */
  readonly root: string;
  /** Bytes that all uploads together may hold in memory before they are written; default 16 MiB: a disk that keeps up needs no more. */
  readonly uploadBufferBytes?: number;
  /** Bytes of small objects that are kept to spare reading them again; default 32 MiB. */
  readonly readCacheBytes?: number;
}

/** Errors: UserError when the directory was written by a version that this one does not know. */
export function createFilesystemStore(options: FilesystemStoreOptions): FilesystemStore {
  const root = toByteString(resolve(options.root));
  const top = `${root}/objects`;
  const temporary = `${root}/tmp`;
  prepare(root, top, temporary);
  const locks = createKeyLocks(`${root}/locks`);
  const directories = createDirectorySync(top);
  const entries = createDirectoryEntries();
  const locate = (key: string): string => `${top}/${objectPath(key)}`;
  const buffers = createReadBuffers();
  const cache = createSmallObjectCache(locate, options.readCacheBytes ?? 32 * 1024 * 1024);

  const check = (path: string, { ifNoneMatch, ifMatch }: PutOptions): void => {
    if (ifNoneMatch !== undefined && exists(path)) throw new PreconditionFailed('an object is there');
    if (ifMatch !== undefined && currentEtag(path) !== ifMatch) {
      throw new PreconditionFailed('the object is another version by now');
    }
  };

  async function put(key: string, body: Uint8Array, condition: PutOptions = {}): Promise<{ etag: string }> {
    const path = locate(key);
    const durable = condition.durability !== 'process';
    try {
      // Before the work as well as under the lock: losing should be cheap.
      check(path, condition);
      const file = await writeTemporary(temporary, body, durable);
      try {
        await locks.withLock(key, () => {
          check(path, condition);
          moveIntoPlace(file.path, path);
        });
      } finally {
        file.dispose();
      }
      if (durable) await directories.sync(parentPath(path));
      return { etag: etagOf(body, file.stat) };
    } catch (error) {
      if (error instanceof PreconditionFailed && condition.ifNoneMatch !== undefined && durable) {
        await confirmThere(path);
      }
      throw unavailable(`writing ${key}`, error);
    }
  }

  /** "It is there already" must be as durable as having written it: who wrote it may not be done with that. */
  async function confirmThere(path: string): Promise<void> {
    try {
      await directories.sync(parentPath(path));
    } catch (error) {
      throw unavailable('syncing a directory', error);
    }
  }

  async function deleteMany(keys: readonly string[]): Promise<void> {
    const touched = new Set<string>();
    try {
      for (const key of keys) {
        const path = locate(key);
        // Under the lock, or it could come between another's comparison and its rename, and be undone.
        if (!(await locks.withLock(key, () => removeFile(path)))) continue;
        removeEmptyDirectories(parentPath(path), top);
        touched.add(parentPath(path));
      }
      await Promise.all([...touched].map((directory) => directories.sync(directory)));
    } catch (error) {
      throw unavailable('deleting', error);
    }
  }

  return {
    put,
    deleteMany,
    get: async (key, { limit = Number.POSITIVE_INFINITY } = {}) => {
      const small = cache.read(key, limit);
      return small === 'large' ? readFileObject(locate(key), limit) : small;
    },
    getStream: async (key, range) => streamFileObject(locate(key), range, buffers),
    head: async (key) => fileInfo(locate(key)),
    delete: (key) => deleteMany([key]),
    list: async (listing) => {
      try {
        return await listFiles(entries, top, listing);
      } catch (error) {
        throw unavailable(`listing ${listing.prefix}`, error);
      }
    },
    syncPrefixes: async (prefixes) => {
      try {
        await Promise.all(
          prefixes.map(async (prefix) => {
            const relative = directoryPath(toByteString(prefix));
            if (relative !== undefined)
              await syncTree(directories, relative === '' ? top : `${top}/${relative}`);
          }),
        );
      } catch (error) {
        throw unavailable('syncing directories', error);
      }
    },
    presign: async () => undefined,
    multipart: createFilesystemMultipart({
      directory: `${temporary}/multipart`,
      budget: createByteBudget(options.uploadBufferBytes ?? 16 * 1024 * 1024),
      locate,
      publish: async (from, key) => {
        const path = locate(key);
        await locks.withLock(key, () => moveIntoPlace(from, path));
        await directories.sync(parentPath(path));
      },
    }),
    pathOf: (key) => filePath(locate(key)).toString(),
    sweepTemporaries: async (olderThanMs) => {
      try {
        return await sweepTemporaries(temporary, olderThanMs);
      } catch (error) {
        throw unavailable('sweeping temporary files', error);
      }
    },
    close: () => locks.close(),
  };
}

function prepare(root: string, top: string, temporary: string): void {
  try {
    mkdirSync(filePath(top), { recursive: true });
    mkdirSync(filePath(temporary), { recursive: true });
    checkFormat(root);
    for (const directory of [root, parentPath(root) || '/']) {
      const fd = openSync(filePath(directory), 'r');
      try {
        fsyncSync(fd);
      } finally {
        closeSync(fd);
      }
    }
  } catch (error) {
    throw unavailable('opening the object store’s directory', error);
  }
}

function exists(path: string): boolean {
  return statSync(filePath(path), { throwIfNoEntry: false }) !== undefined;
}
