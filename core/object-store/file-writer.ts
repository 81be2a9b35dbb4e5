import { randomUUID } from 'node:crypto';
import {
  closeSync,
  fdatasync as fdatasyncCallback,
  fstatSync,
  mkdirSync,
  openSync,
  renameSync,
  rmdirSync,
  type Stats,
  unlinkSync,
  write as writeCallback,
  writeSync,
} from 'node:fs';
import { promisify } from 'node:util';
import { filePath, parentPath } from './byte-path.ts';
import { errorCode, isMissing } from './file-errors.ts';
import { claimFile } from './locks.ts';

const write = promisify(writeCallback);
const fdatasync = promisify(fdatasyncCallback);

const WRITE_AT_ONCE = 64 * 1024;
/** How often a directory may vanish under a rename before this gives up; once is already rare. */
const RENAME_ATTEMPTS = 100;

/** A whole file that nobody sees yet. Claimed while it exists, so that the sweeper knows it is wanted. */
export interface TemporaryFile {
  readonly path: string;
  readonly stat: Stats;
  /** Gives up the claim; removes the file unless it was renamed. */
  dispose(): void;
}

export async function writeTemporary(
  directory: string,
  body: Uint8Array,
  durable: boolean,
): Promise<TemporaryFile> {
  const { path, fd } = createClaimed(directory);
  const dispose = (): void => {
    try {
      unlinkSync(filePath(path));
    } catch (error) {
      if (!isMissing(error)) throw error;
    } finally {
      closeSync(fd);
    }
  };
  try {
    for (let done = 0; done < body.length; ) {
      done +=
        body.length <= WRITE_AT_ONCE
          ? writeSync(fd, body, done)
          : (await write(fd, body, done, body.length - done)).bytesWritten;
    }
    if (durable) await fdatasync(fd);
    return { path, stat: fstatSync(fd), dispose };
  } catch (error) {
    dispose();
    throw error;
  }
}

/** A sweeper may come between the making of a file and the claim to it, and take it for a dead process's: then another is made. */
function createClaimed(directory: string): { path: string; fd: number } {
  for (;;) {
    const path = `${directory}/${randomUUID()}`;
    const fd = openSync(filePath(path), 'wx');
    if (claimFile(fd) && fstatSync(fd).nlink > 0) return { path, fd };
    closeSync(fd);
  }
}

/**
 * Moves a finished file to its place and makes the directories on the way. A deletion elsewhere may remove a directory that just became empty
 * between the two; then both are done again.
 */
export function moveIntoPlace(from: string, to: string): void {
  for (let attempt = 1; ; attempt++) {
    try {
      renameSync(filePath(from), filePath(to));
      return;
    } catch (error) {
      if (!isMissing(error) || attempt >= RENAME_ATTEMPTS) throw error;
    }
    try {
      mkdirSync(filePath(parentPath(to)), { recursive: true });
    } catch (error) {
      if (!isMissing(error)) throw error;
    }
  }
}

/** False when nothing was there. */
export function removeFile(path: string): boolean {
  try {
    unlinkSync(filePath(path));
    return true;
  } catch (error) {
    if (isMissing(error)) return false;
    throw error;
  }
}

/** Removes `directory` and its parents below `top` as far as they are empty. */
export function removeEmptyDirectories(directory: string, top: string): void {
  for (let path = directory; path.length > top.length; path = parentPath(path)) {
    try {
      rmdirSync(filePath(path));
    } catch (error) {
      const code = errorCode(error);
      if (code === 'ENOENT') continue;
      if (code === 'ENOTEMPTY' || code === 'EEXIST' || code === 'EBUSY') return;
      throw error;
    }
  }
}
