import { statfs } from 'node:fs/promises';
import { formatBytes } from '../farm/report.ts';

/** Keeps a worker from running its machine's disks full. */
export interface DiskGuard {
  /** Looks now. Returns why no build may begin, undefined when one may. */
  check(): Promise<string | undefined>;
}

export interface DiskGuardOptions {
  /** Folders on the disks that builds write to. One that is not there is passed over: an engine may keep its files where only it sees them. */
  readonly folders: () => Promise<readonly string[]>;
  /** Bytes: no build begins on a disk with less. 0 = whatever is free will do. */
  readonly low: number;
  /** Bytes that clearing aims at. */
  readonly high: number;
  /** Removes what can be made again, the longest unused first, until `enough`. */
  readonly clear: (enough: () => Promise<boolean>) => Promise<void>;
  /** Bytes that this user may still write there; undefined = there is no such folder. Default: the file system's own word. */
  readonly free?: (folder: string) => Promise<number | undefined>;
}

export function createDiskGuard(options: DiskGuardOptions): DiskGuard {
  const { low, high, free = freeBytes } = options;

  async function shortest(): Promise<{ folder: string; bytes: number }> {
    let least = { folder: '', bytes: Number.POSITIVE_INFINITY };
    for (const folder of await options.folders()) {
      const bytes = await free(folder);
      if (bytes !== undefined && bytes < least.bytes) least = { folder, bytes };
    }
    return least;
  }

  return {
    async check() {
      if ((await shortest()).bytes >= low) return undefined;
      await options.clear(async () => (await shortest()).bytes >= high);
      const { folder, bytes } = await shortest();
      if (bytes >= low) return undefined;
      return `only ${formatBytes(bytes)} are free on the disk of ${folder}, and builder.disk.low is ${formatBytes(low)}: make room there`;
    },
  };
}

async function freeBytes(folder: string): Promise<number | undefined> {
  try {
    const { bavail, bsize } = await statfs(folder);
    return bavail * bsize;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}
