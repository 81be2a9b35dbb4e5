import { randomUUID } from 'node:crypto';
import {
  closeSync,
  fstatSync,
  fsync as fsyncCallback,
  ftruncateSync,
  mkdirSync,
  openSync,
  statSync,
} from 'node:fs';
import { Readable } from 'node:stream';
import { promisify } from 'node:util';
import type { ByteBudget } from './byte-budget.ts';
import { filePath } from './byte-path.ts';
import { createDirectFiles } from './direct-files.ts';
import { createFileAppender } from './file-append.ts';
import { isMissing, unavailable } from './file-errors.ts';
import { createFileStream } from './file-reader.ts';
import { removeFile } from './file-writer.ts';
import { claimFile } from './locks.ts';
import { MultipartBusy, type MultipartState, type MultipartStore, MultipartUnknown } from './object-store.ts';

const fsync = promisify(fsyncCallback);

const ID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

export interface FilesystemMultipartOptions {
  /** Byte-string path; made when it is not there. */
  readonly directory: string;
  readonly budget: ByteBudget;
  /** Where a key's object lies. */
  locate(key: string): string;
  /** Moves a finished, synced file to its key's place; resolves once that is durable. */
  publish(from: string, key: string): Promise<void>;
}

/**
 * One file per upload, appended to in place, moved under its key at the end. Whoever writes holds the kernel's lock on the file, so a dead
 * process makes room at once and two live ones cannot mix their bytes.
 */
export function createFilesystemMultipart(options: FilesystemMultipartOptions): MultipartStore {
  mkdirSync(filePath(options.directory), { recursive: true });
  const direct = createDirectFiles();
  const pathOf = (state: MultipartState): string => {
    const { id } = state;
    if (typeof id !== 'string' || !ID.test(id)) throw new MultipartUnknown('this state names no upload');
    return `${options.directory}/${id}`;
  };
  return {
    exclusive: true,
    async create(key) {
      options.locate(key);
      const state = { offset: 0, id: randomUUID() };
      try {
        closeSync(openSync(filePath(pathOf(state)), 'wx'));
      } catch (error) {
        throw unavailable('beginning an upload', error);
      }
      return state;
    },
    async resume(_key, state) {
      const fd = claim(pathOf(state));
      if (fd === undefined) throw new MultipartUnknown('the upload was completed, aborted or swept');
      if (fstatSync(fd).size < state.offset) {
        closeSync(fd);
        throw lostBytes();
      }
      const begin = (): void => {
        try {
          cutTo(fd, state.offset);
        } catch (error) {
          throw unavailable('continuing an upload', error);
        }
      };
      return createFileAppender({ fd, path: pathOf(state), begin }, state, {
        budget: options.budget,
        direct,
      });
    },
    async complete(key, state) {
      const path = pathOf(state);
      const fd = claim(path);
      if (fd === undefined) {
        const done = statSync(filePath(options.locate(key)), { throwIfNoEntry: false });
        if (done?.size === state.offset) return;
        throw new MultipartUnknown('the upload was completed elsewhere, aborted or swept');
      }
      try {
        cutTo(fd, state.offset);
        await fsync(fd);
        await options.publish(path, key);
      } catch (error) {
        throw unavailable('completing an upload', error);
      } finally {
        closeSync(fd);
      }
    },
    async abort(_key, state) {
      try {
        removeFile(pathOf(state));
      } catch (error) {
        if (!(error instanceof MultipartUnknown)) throw unavailable('dropping an upload', error);
      }
    },
    async read(_key, state) {
      const fd = open(pathOf(state), 'r');
      if (fd === undefined) throw new MultipartUnknown('the upload was completed, aborted or swept');
      return state.offset === 0 ? emptied(fd) : createFileStream(fd, 0, state.offset);
    },
    // `sweepTemporaries` removes them by their age alone.
    async *incomplete() {},
  };
}

/** Undefined: it is gone. Errors: MultipartBusy. */
function claim(path: string): number | undefined {
  const fd = open(path, 'r+');
  if (fd === undefined) return undefined;
  if (!claimFile(fd)) {
    closeSync(fd);
    throw new MultipartBusy('another writer holds this upload');
  }
  // Whoever held it before may have moved it to its key in the meantime.
  if (statSync(filePath(path), { throwIfNoEntry: false })?.ino === fstatSync(fd).ino) return fd;
  closeSync(fd);
  return undefined;
}

function cutTo(fd: number, offset: number): void {
  const { size } = fstatSync(fd);
  if (size < offset) throw lostBytes();
  if (size > offset) ftruncateSync(fd, offset);
}

function lostBytes(): MultipartUnknown {
  return new MultipartUnknown('bytes of the upload were lost with the machine’s power');
}

function open(path: string, flags: string): number | undefined {
  try {
    return openSync(filePath(path), flags);
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw unavailable('opening an upload', error);
  }
}

function emptied(fd: number): Readable {
  closeSync(fd);
  return Readable.from([]);
}
