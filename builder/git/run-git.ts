import { spawn } from 'node:child_process';
import { pipeline } from 'node:stream/promises';
import { collectStderr } from './git-process.ts';

export interface GitRun {
  readonly code: number;
  readonly stdout: string;
  /** Its last 8 KiB. */
  readonly stderr: string;
}

/** Bytes of output; more is a fault. */
const mostOutput = 16 * 1024 * 1024;

/**
 * Runs `git <args>` to its end. `args` are never text from outside unless checked before. It leads a process group of its own,
 * which an abort ends as a whole: git's helpers (index-pack, the transport) would go on without it.
 * Errors: the signal's reason, git could not be started, more than 16 MiB of output.
 */
export async function runGit(
  args: readonly string[],
  options: {
    readonly environment: Record<string, string>;
    readonly cwd: string;
    readonly input?: string;
    readonly signal?: AbortSignal;
  },
): Promise<GitRun> {
  const { environment, cwd, input = '', signal } = options;
  signal?.throwIfAborted();
  const child = spawn('git', args, {
    cwd,
    env: environment,
    detached: true,
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  const stderr = collectStderr(child);
  const kill = (): void => {
    try {
      if (child.pid !== undefined && child.exitCode === null) process.kill(-child.pid, 'SIGKILL');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
    }
  };
  signal?.addEventListener('abort', kill);
  const ended = new Promise<number>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code) => resolve(code ?? -1));
  });
  // Whoever ends before it has read everything says why by its exit code.
  const fed = pipeline([input], child.stdin).catch(() => {});
  try {
    const chunks: Buffer[] = [];
    let size = 0;
    for await (const chunk of child.stdout as AsyncIterable<Buffer>) {
      size += chunk.length;
      if (size > mostOutput) {
        kill();
        throw new Error(`git ${args[0] ?? ''} said more than ${mostOutput} bytes`);
      }
      chunks.push(chunk);
    }
    const code = await ended;
    await fed;
    signal?.throwIfAborted();
    return { code, stdout: Buffer.concat(chunks).toString('utf8'), stderr: stderr() };
  } finally {
    signal?.removeEventListener('abort', kill);
    await ended.catch(() => {});
  }
}
