import { randomBytes } from 'node:crypto';
import { chmod, mkdir, open, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { UserError } from '../../core/user-error.ts';

/** Writes beside and renames: whoever reads it meanwhile, or after a crash, has the old one or the new one. Errors: UserError. */
export async function writeWhole(path: string, content: string | Buffer, mode = 0o644): Promise<void> {
  const temporary = `${path}.${randomBytes(6).toString('hex')}.new`;
  try {
    await mkdir(dirname(path), { recursive: true });
    const handle = await open(temporary, 'wx', mode);
    try {
      await handle.writeFile(content);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await chmod(temporary, mode);
    await rename(temporary, path);
  } catch (cause) {
    const denied = ['EACCES', 'EPERM'].includes((cause as NodeJS.ErrnoException).code ?? '');
    throw new UserError(
      `cannot write ${path}: ${(cause as Error).message}${denied ? '; run it as root' : ''}`,
      { cause },
    );
  } finally {
    await rm(temporary, { force: true }).catch(() => undefined);
  }
}
