import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { readdir, readFile, readlink } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { UserError } from '../../core/user-error.ts';

/** A running nginx whose master process is our child. */
export interface NginxChild {
  /** Of the master process. */
  readonly pid: number;
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
    // A terminal sends Ctrl-C to its whole process group, and nginx would break off what it sends: only we say when it ends.
    detached: true,
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
    // There is one, as it was spawned.
    pid: child.pid ?? 0,
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

/**
 * Ends what is left of an nginx that writes this log: started by a process that is gone, or workers whose master was killed. They still hold the
 * pool's address. Only where the kernel tells of processes as Linux does.
 */
export async function endFormerNginx(logFile: string): Promise<void> {
  for (let round = 0; round < 100; round += 1) {
    const left = await nginxWriting(logFile);
    if (left.length === 0) return;
    for (const pid of left) endProcess(pid, round < 60 ? 'SIGTERM' : 'SIGKILL');
    await delay(100);
  }
}

async function nginxWriting(logFile: string): Promise<number[]> {
  const found: number[] = [];
  for (const name of await readdir('/proc').catch(() => [])) {
    if (!/^[0-9]+$/.test(name)) continue;
    const comm = await readFile(`/proc/${name}/comm`, 'utf8').catch(() => '');
    if (comm.trim() !== 'nginx') continue;
    for (const descriptor of await readdir(`/proc/${name}/fd`).catch(() => [])) {
      const target = await readlink(`/proc/${name}/fd/${descriptor}`).catch(() => '');
      if (target !== logFile) continue;
      found.push(Number(name));
      break;
    }
  }
  return found;
}

function endProcess(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    // It ended meanwhile.
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
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
