import { closeSync, mkdirSync, openSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { tryLock, unlock } from 'fs-native-extensions';

/** Enough that two keys rarely share one, few enough to keep every file open. */
const SHARDS = 256;
const FIRST_WAIT_MS = 1;
const LONGEST_WAIT_MS = 16;

/**
 * Mutual exclusion of all processes of one machine, by open-file-description locks: the kernel frees them when their holder dies, however it
 * dies, so nothing is ever broken by age.
 */
export interface KeyLocks {
  /**
   * Runs `step` while no other process runs one for the same key. `step` is synchronous: a lock is never held over a turn of the event loop, so
   * within one thread there is nothing to wait for and between processes it is held for microseconds.
   */
  withLock<T>(key: string, step: () => T): Promise<T>;
  close(): void;
}

/** `directory` is made when it is not there. One file per shard is opened on first use and kept. */
export function createKeyLocks(directory: string): KeyLocks {
  mkdirSync(directory, { recursive: true });
  const files = new Map<number, number>();
  const fileOf = (key: string): number => {
    const shard = shardOf(key);
    const open = files.get(shard);
    if (open !== undefined) return open;
    const fd = openSync(`${directory}/${shard.toString(16).padStart(2, '0')}`, 'a');
    files.set(shard, fd);
    return fd;
  };
  return {
    async withLock(key, step) {
      // Polling, not the blocking form: a waiter there occupies a thread of libuv's pool, and a holder that needs the pool would never finish.
      for (let wait = FIRST_WAIT_MS; ; wait = Math.min(wait * 2, LONGEST_WAIT_MS)) {
        const fd = fileOf(key);
        if (tryLock(fd)) {
          try {
            return step();
          } finally {
            unlock(fd);
          }
        }
        await delay(1 + Math.random() * wait);
      }
    },
    close() {
      for (const fd of files.values()) closeSync(fd);
      files.clear();
    },
  };
}

/** Claims an open file for as long as it stays open. False: another holder, in whatever process, has it. */
export function claimFile(fd: number): boolean {
  return tryLock(fd);
}

/** FNV-1a. The same in every process of every version that shares a directory. */
function shardOf(key: string): number {
  let hash = 0x811c9dc5;
  for (let index = 0; index < key.length; index++) {
    hash = Math.imul(hash ^ key.charCodeAt(index), 0x01000193);
  }
  return ((hash >>> 16) ^ hash) & (SHARDS - 1);
}
