import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { UserError } from '../../../core/user-error.ts';

/**
 * Waits until no other process works in this folder, and keeps the others waiting until the result is called; also who is killed lets go, as the lock is
 * held by flock(1), which ends with our end of its pipe. Errors: the signal's reason; UserError where there is no flock, or it cannot lock there.
 */
export async function lockFolder(folder: string, signal: AbortSignal): Promise<() => Promise<void>> {
  signal.throwIfAborted();
  await mkdir(folder, { recursive: true });
  const holder = spawn('flock', [join(folder, 'lock'), 'sh', '-c', 'echo; exec cat'], {
    stdio: ['pipe', 'pipe', 'ignore'],
  });
  holder.stdin.on('error', () => {});
  const ended = once(holder, 'close');
  const release = async (): Promise<void> => {
    holder.stdin.end();
    await ended;
  };
  try {
    // An 'error' event rejects, as when there is no such program.
    const first = await Promise.race([once(holder.stdout, 'data', { signal }), ended]);
    if (typeof first[0] === 'number')
      throw new UserError(`flock cannot lock ${folder} (exit code ${first[0]}): may it be written?`);
    return release;
  } catch (error) {
    holder.kill();
    // Its shell, which would go on holding it.
    holder.stdin.end();
    ended.catch(() => {});
    if (signal.aborted) throw signal.reason;
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    throw new UserError('flock is not on this machine: install the package util-linux', { cause: error });
  }
}
