import { closeSync, fsync as fsyncCallback, openSync, statSync } from 'node:fs';
import { promisify } from 'node:util';
import { filePath, parentPath } from './byte-path.ts';
import { isMissing } from './file-errors.ts';

const fsync = promisify(fsyncCallback);

/** Directories whose own entry is known to be on disk; an evicted one costs a few needless fsyncs. */
const REMEMBERED = 20_000;

export interface DirectorySync {
  /**
   * Makes the entries of `directory`, and the directory itself up to `top`, survive power loss. Callers that come while a sync of the same
   * directory runs share the next one.
   */
  sync(directory: string): Promise<void>;
}

/** `top`: byte-string path of the highest directory that this cares for. */
export function createDirectorySync(top: string): DirectorySync {
  const slots = new Map<string, { running: Promise<void>; next?: Promise<void> }>();
  const durable = new Map<string, string>();

  const start = (directory: string): Promise<void> => {
    const running = syncDirectory(directory);
    const slot: { running: Promise<void>; next?: Promise<void> } = { running };
    slots.set(directory, slot);
    void running
      .catch(() => {})
      .then(() => {
        if (slot.next === undefined) slots.delete(directory);
      });
    return running;
  };
  // What a running fsync covers is not defined for writes that came after it began: these wait for the one after.
  const flush = (directory: string): Promise<void> => {
    const slot = slots.get(directory);
    if (slot === undefined) return start(directory);
    slot.next ??= slot.running.catch(() => {}).then(() => start(directory));
    return slot.next;
  };
  const remember = (directory: string, identity: string): void => {
    durable.delete(directory);
    durable.set(directory, identity);
    const oldest = durable.size > REMEMBERED ? durable.keys().next().value : undefined;
    if (oldest !== undefined) durable.delete(oldest);
  };

  return {
    async sync(directory) {
      const syncs = [flush(directory)];
      const fresh: [string, string][] = [];
      // Another process may have made the parents a moment ago without syncing them: trust only what this process has seen durable.
      for (let path = directory; path.length > top.length; ) {
        const identity = directoryIdentity(path);
        if (identity !== undefined) {
          if (durable.get(path) === identity) break;
          fresh.push([path, identity]);
        }
        path = parentPath(path);
        syncs.push(flush(path));
      }
      await Promise.all(syncs);
      for (const [path, identity] of fresh) remember(path, identity);
    },
  };
}

/** A directory that was removed is nobody's concern: its last object went first. */
async function syncDirectory(directory: string): Promise<void> {
  let fd: number;
  try {
    fd = openSync(filePath(directory), 'r');
  } catch (error) {
    if (isMissing(error)) return;
    throw error;
  }
  try {
    await fsync(fd);
  } finally {
    closeSync(fd);
  }
}

/** Inode numbers are used again at once after rmdir, so the time of birth counts too. */
function directoryIdentity(path: string): string | undefined {
  const stat = statSync(filePath(path), { throwIfNoEntry: false });
  return stat === undefined ? undefined : `${stat.ino}:${stat.birthtimeMs}`;
}
