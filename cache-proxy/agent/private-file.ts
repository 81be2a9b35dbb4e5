import { randomBytes } from 'node:crypto';
import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';

/**
 * A small file of this process alone: readable by its user only, replaced as a whole. A pool has few of them and writes them seldom, so they are written on
 * the spot, also in the last moment before the process ends.
 */
export interface PrivateFile {
  /** Undefined: there is none. Errors: those of the file system. */
  read(): string | undefined;
  /** Errors: those of the file system. */
  write(text: string): void;
}

export function createPrivateFile(path: string): PrivateFile {
  return {
    read() {
      try {
        return readFileSync(path, 'utf8');
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
        throw error;
      }
    },
    write(text) {
      mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
      const aside = `${path}.${randomBytes(4).toString('hex')}`;
      try {
        writeFileSync(aside, text, { mode: 0o600, flush: true });
        renameSync(aside, path);
      } catch (error) {
        rmSync(aside, { force: true });
        throw error;
      }
    },
  };
}
