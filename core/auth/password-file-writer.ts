import { randomBytes } from 'node:crypto';
import { mkdir, open, readFile, realpath, rename, rm, stat } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { claimFile } from '../object-store/locks.ts';
import { UserError } from '../user-error.ts';

/** Milliseconds to wait for another writer, who needs a few. */
const patience = 10_000;

/**
 * Changes an htpasswd file whole: readers see the old or the new one, and of two writers neither loses what the other wrote.
 * `change` is given the text ('' for a file that is not there yet); undefined = leave it. A new file is 0600; an existing one
 * keeps its owner and who may read it. Errors: UserError.
 */
export async function updatePasswordFile(
  path: string,
  change: (text: string) => string | undefined,
): Promise<void> {
  // Through a symbolic link, so that the link stays one.
  const file = await realpath(path).catch(() => resolve(path));
  try {
    await mkdir(dirname(file), { recursive: true });
    // Beside it, as the file itself is replaced; and left there, as removing it would let two writers in.
    const lock = await open(`${file}.lock`, 'a', 0o600);
    try {
      await claim(lock.fd, file);
      const text = change(await readText(file));
      if (text !== undefined) await replace(file, text);
    } finally {
      await lock.close();
    }
  } catch (cause) {
    if (cause instanceof UserError || !(cause instanceof Error) || !('code' in cause)) throw cause;
    throw new UserError(`cannot write the accounts in ${file}: ${cause.message}`, { cause });
  }
}

async function claim(fd: number, file: string): Promise<void> {
  const until = Date.now() + patience;
  while (!claimFile(fd)) {
    if (Date.now() > until) throw new UserError(`another process has been changing ${file} for too long`);
    await delay(20);
  }
}

async function readText(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return '';
    throw error;
  }
}

async function replace(file: string, text: string): Promise<void> {
  const old = await stat(file).catch(() => undefined);
  const temporary = `${file}.${randomBytes(6).toString('hex')}.tmp`;
  try {
    const handle = await open(temporary, 'wx', 0o600);
    try {
      if (old !== undefined) {
        await handle.chmod(old.mode & 0o644);
        // Root adding an account must not lock the service's own user out of the file.
        await handle.chown(old.uid, old.gid).catch(() => undefined);
      }
      await handle.writeFile(text);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(temporary, file);
  } finally {
    await rm(temporary, { force: true });
  }
}
