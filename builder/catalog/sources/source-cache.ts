import { createHash } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { mkdir, mkdtemp, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { UserError } from '../../../core/user-error.ts';

/** What somebody says about a file before it is there. */
export interface ExpectedFile {
  /** 64 hex digits. */
  readonly sha256: string;
  /** Bytes. */
  readonly size?: number;
}

/** Files by their checksum, on disk. Whatever lies there was checked when it came and is checked when it is used. */
export interface SourceCache {
  /** Its path, or undefined when it is not there (or was damaged, and is gone now). */
  find(file: ExpectedFile): Promise<string | undefined>;
  /** Takes `body` to its end and gives its path. Errors: UserError when it is another file, or too large; those of `body`. */
  keep(file: ExpectedFile, body: AsyncIterable<Uint8Array>, signal: AbortSignal): Promise<string>;
}

/** A file whose size nobody wrote down ends here. */
const largestFile = 4 * 1024 ** 3;

export function createSourceCache(folder: string): SourceCache {
  const pathOf = ({ sha256 }: ExpectedFile): string => join(folder, sha256);
  return {
    async find(file) {
      const path = pathOf(file);
      let actual: string;
      try {
        actual = await hashFile(path);
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
        throw error;
      }
      if (actual === file.sha256) return path;
      await rm(path, { force: true });
      return undefined;
    },
    async keep(file, body, signal) {
      await mkdir(folder, { recursive: true });
      const work = await mkdtemp(join(folder, 'download-'));
      try {
        const hash = createHash('sha256');
        const most = file.size ?? largestFile;
        let size = 0;
        async function* counted(): AsyncGenerator<Uint8Array, void, undefined> {
          for await (const chunk of body) {
            size += chunk.length;
            if (size > most) throw new UserError(`it is larger than ${most} bytes`);
            hash.update(chunk);
            yield chunk;
          }
        }
        await pipeline(counted(), createWriteStream(join(work, 'file')), { signal });
        if (file.size !== undefined && size !== file.size) {
          throw new UserError(`it has ${size} bytes instead of ${file.size}`);
        }
        const actual = hash.digest('hex');
        if (actual !== file.sha256) {
          throw new UserError(`its checksum is ${actual}, but the recipe says ${file.sha256}`);
        }
        await rename(join(work, 'file'), pathOf(file));
        return pathOf(file);
      } finally {
        await rm(work, { recursive: true, force: true });
      }
    },
  };
}

/** SHA-256 of a file's bytes, 64 hex digits. */
export async function hashFile(path: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(path)) hash.update(chunk as Buffer);
  return hash.digest('hex');
}
