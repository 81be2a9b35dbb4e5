import { spawn } from 'node:child_process';
import { UserError } from '../../core/user-error.ts';

export interface ProgramOptions {
  readonly signal: AbortSignal;
  readonly cwd?: string;
  /** Added to this process's own environment. */
  readonly env?: Readonly<Record<string, string>>;
  /** Each complete line of stdout as it comes. */
  readonly onLine?: (line: string) => void;
  /** For programs that say on stdout what is wrong: its end stands in the error too. Default false. */
  readonly faultsOnStdout?: boolean;
}

/** What to tell somebody whose machine lacks the program. */
const whereFrom: Readonly<Record<string, string>> = {
  'apt-get':
    'The base image is laid out from Debian packages, which needs apt: run this on Debian (or in a Debian container).',
  'apt-cache': 'The base image is laid out from Debian packages, which needs apt: run this on Debian.',
  'apt-config':
    'The base image is laid out from Debian packages, which needs apt: run this on Debian (or in a Debian container).',
  'dpkg-deb': 'Install the package dpkg, or run this on Debian (or in a Debian container).',
  mvn: 'Install Maven (the Debian package maven), or name a mirror of the files in catalog.yaml.',
  git: 'Install git.',
  npm: 'Install npm: it comes with Node.js, or with the Debian package npm.',
};

/** Runs a program to its end and returns what it wrote to stdout. Errors: UserError when it is missing or fails, with the end of what it said. */
export async function runProgram(
  command: string,
  args: readonly string[],
  options: ProgramOptions,
): Promise<string> {
  const parts: Buffer[] = [];
  let line = '';
  await useProgram(command, args, options, async (stdout) => {
    for await (const chunk of stdout) {
      parts.push(chunk);
      if (options.onLine === undefined) continue;
      const lines = (line + String(chunk)).split('\n');
      line = lines.pop() ?? '';
      for (const complete of lines) options.onLine(complete);
    }
  });
  return Buffer.concat(parts).toString();
}

/** As `runProgram`, with stdout for `use`. What `use` leaves unread is dropped, so that the program does not fail for it. */
export async function useProgram<T>(
  command: string,
  args: readonly string[],
  options: ProgramOptions,
  use: (stdout: AsyncIterable<Buffer>) => Promise<T>,
): Promise<T> {
  const child = spawn(command, args, {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, ...options.env },
    signal: options.signal,
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
  });
  let said = '';
  const listen = (chunk: Buffer): void => {
    said = (said + chunk.toString()).slice(-4000);
  };
  child.stderr.on('data', listen);
  // Node drops what a program that has ended wrote and nobody listens for yet, and `use` may begin late.
  const waiting = (): void => undefined;
  child.stdout.on('readable', waiting);
  const ended = new Promise<void>((resolve, reject) => {
    child.once('error', (error) => reject(startError(command, error)));
    child.once('close', (code, signal) => {
      if (code === 0) resolve();
      else reject(new UserError(`${command} failed (${signal ?? `exit code ${code}`}):\n${said.trim()}`));
    });
  });
  try {
    const stdout = child.stdout.iterator({ destroyOnReturn: false });
    const heard = options.faultsOnStdout === true ? listening(stdout, listen) : stdout;
    const reading = use(heard).finally(() => {
      child.stdout.off('readable', waiting);
      child.stdout.resume();
    });
    const [result] = await Promise.all([reading, ended]);
    return result;
  } catch (error) {
    child.kill('SIGKILL');
    await ended.catch(() => undefined);
    throw error;
  }
}

async function* listening(
  source: AsyncIterable<Buffer>,
  listen: (chunk: Buffer) => void,
): AsyncGenerator<Buffer, void, undefined> {
  for await (const chunk of source) {
    listen(chunk);
    yield chunk;
  }
}

function startError(command: string, error: NodeJS.ErrnoException): Error {
  if (error.code !== 'ENOENT') return error;
  return new UserError(`${command} is not on this machine. ${whereFrom[command] ?? ''}`.trim(), {
    cause: error,
  });
}
