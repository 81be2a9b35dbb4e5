import { lstat, readFile } from 'node:fs/promises';
import { UserError } from '../../core/user-error.ts';

export interface PlainFile {
  readonly bytes: Buffer;
  /** Permission bits. */
  readonly mode: number;
}

/** Undefined: nothing is there. Errors: UserError for what cannot be read or is no file: replacing a link would leave what it leads to as it is. */
export async function readPlainFile(path: string): Promise<PlainFile | undefined> {
  try {
    const status = await lstat(path);
    if (!status.isFile()) {
      throw new UserError(`${path} is no plain file, and nothing was done; move it away and run this again`);
    }
    return { bytes: await readFile(path), mode: status.mode & 0o777 };
  } catch (cause) {
    if (cause instanceof UserError) throw cause;
    if (['ENOENT', 'ENOTDIR'].includes((cause as NodeJS.ErrnoException).code ?? '')) return undefined;
    throw new UserError(`cannot read ${path}: ${(cause as Error).message}`, { cause });
  }
}
