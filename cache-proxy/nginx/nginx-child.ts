import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { UserError } from '../../core/user-error.ts';

/** A running nginx whose master process is our child. */
export interface NginxChild {
  /** Resolves when it is gone, however that came, with what it last said. */
  readonly ended: Promise<string>;
  /** SIGHUP: reads its configuration again. SIGUSR1: opens its logs again. */
  signal(name: 'SIGHUP' | 'SIGUSR1'): void;
  /** Lets requests under way end, but not for longer than `ms`. */
  stop(ms: number): Promise<void>;
}

const maxOutput = 16 * 1024;
const setpriv = '/usr/bin/setpriv';

/** Errors: UserError when there is no nginx on this machine. */
export async function startNginxChild(file: string, prefix: string): Promise<NginxChild> {
  const nginx = ['nginx', '-c', file, '-p', prefix, '-g', 'daemon off;'];
  // Should this process be killed, nobody could say who may have what: nginx ends, too.
  const [program = '', ...args] = existsSync(setpriv) ? [setpriv, '--pdeathsig=TERM', ...nginx] : nginx;
  const child = spawn(program, args, {
    stdio: ['ignore', 'ignore', 'pipe'],
    // Programs of /usr/sbin are not on every user's path.
    env: { ...process.env, PATH: nginxPath() },
  });
  let output = '';
  child.stderr.on('data', (chunk: Buffer) => {
    output = (output + chunk.toString()).slice(-maxOutput);
  });
  const ended = new Promise<string>((resolve) => {
    child.once('exit', (code, signal) =>
      resolve(`${signal ?? `status ${code ?? 0}`}${output === '' ? '' : `: ${output.trim()}`}`),
    );
  });
  await new Promise<void>((resolve, reject) => {
    child.once('spawn', resolve);
    child.once('error', (error: NodeJS.ErrnoException) =>
      reject(error.code === 'ENOENT' ? noNginx(error) : error),
    );
  });
  child.on('error', () => {});
  return {
    ended,
    signal: (name) => void child.kill(name),
    stop: (ms) => stopChild(child, ended, ms),
  };
}

/** What to say where there is none. */
export function noNginx(cause?: unknown): UserError {
  return new UserError(
    'there is no nginx on this machine: install it (on Debian: apt-get install nginx), or write engine: embedded for this pool in pools.yaml',
    { cause },
  );
}

/** Ends an nginx that was started with this configuration by a process that is gone: it still holds the pool's address. */
export async function endFormerNginx(pidFile: string, file: string): Promise<void> {
  const pid = Number(await readFile(pidFile, 'utf8').catch(() => ''));
  if (!Number.isInteger(pid) || pid <= 1 || pid === process.pid) return;
  const isOurs = async (): Promise<boolean> => {
    const command = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');
    return command.startsWith('nginx: master') && command.includes(file);
  };
  for (let round = 0; round < 100 && (await isOurs()); round += 1) {
    // Gently first.
    process.kill(pid, round < 80 ? 'SIGTERM' : 'SIGKILL');
    await delay(100);
  }
}

async function stopChild(child: ChildProcess, ended: Promise<unknown>, ms: number): Promise<void> {
  child.kill('SIGQUIT');
  const late = setTimeout(() => child.kill('SIGTERM'), ms);
  const last = setTimeout(() => child.kill('SIGKILL'), ms + 10_000);
  await ended;
  clearTimeout(late);
  clearTimeout(last);
}

function nginxPath(): string {
  return `${process.env['PATH'] ?? ''}:/usr/local/sbin:/usr/sbin`;
}
