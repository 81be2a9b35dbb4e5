import { execFile } from 'node:child_process';
import { readdir, statfs } from 'node:fs/promises';
import { promisify } from 'node:util';
import type { ContainerApi } from './container-api.ts';

/** What lies in a volume, asked from outside of the container. */
export interface DiskUse {
  /**
   * What is free on the whole file system of the engine's volumes: cheap, and never falls by less than a build writes. Undefined where this process
   * does not see the engine's disk. Errors: those of the file system.
   */
  room(): Promise<DiskAmount | undefined>;
  /**
   * What the volume holds; looks at every file. `files` is undefined where the engine counts; all of it when the engine is counting for somebody else.
   * Errors: ContainerApiError; that it took too long.
   */
  measure(): Promise<{ readonly bytes: number; readonly files?: number } | undefined>;
}

export interface DiskAmount {
  readonly bytes: number;
  readonly files: number;
}

const measureMilliseconds = 120_000;

/**
 * Of a volume that exists. By coreutils' `du`, which follows no link however a build swaps them meanwhile, where this process may read
 * the engine's folder; else by the engine's own count, which covers all volumes and is slower.
 */
export async function openDiskUse(api: ContainerApi, volume: string): Promise<DiskUse> {
  const path = await api.volumePath(volume);
  if (path === undefined || !(await isReadable(path))) {
    return {
      room: async () => undefined,
      async measure() {
        const sizes = await api.volumeSizes();
        return sizes === undefined ? undefined : { bytes: sizes.get(volume) ?? 0 };
      },
    };
  }
  return {
    async room() {
      // Bytes that only root may use count: engines run as root.
      const { bfree, bsize, ffree, files } = await statfs(path);
      // btrfs and others have no fixed number of files and answer 0 of 0.
      return { bytes: bfree * bsize, files: files === 0 ? Number.MAX_SAFE_INTEGER : ffree };
    },
    async measure() {
      const [bytes, files] = [
        await sumBelow(path, '--block-size=1'),
        // The second walk finds everything in memory.
        await sumBelow(path, '--inodes'),
      ];
      return { bytes, files };
    },
  };
}

async function isReadable(path: string): Promise<boolean> {
  try {
    await readdir(path);
    return true;
  } catch {
    return false;
  }
}

async function sumBelow(path: string, unit: string): Promise<number> {
  const options = { timeout: measureMilliseconds, env: { PATH: process.env['PATH'], LC_ALL: 'C' } };
  const text = await promisify(execFile)('du', ['-s', '-x', unit, '--', path], options).then(
    ({ stdout }) => stdout,
    (error: Error & { code?: number | string; stdout?: string }) => {
      // What vanished while it looked is named, and the sum comes all the same.
      if (error.code === 1 && typeof error.stdout === 'string') return error.stdout;
      throw new Error(`the disk that a build uses could not be measured: ${error.message}`, { cause: error });
    },
  );
  const sum = Number(/^\d+/.exec(text)?.[0] ?? Number.NaN);
  if (!Number.isSafeInteger(sum)) throw new Error(`du answered ${JSON.stringify(text.slice(0, 200))}`);
  return sum;
}
