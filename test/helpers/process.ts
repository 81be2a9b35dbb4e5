import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { constants } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';

export interface RunOptions {
  readonly cwd?: string;
  /** Added to this process's own environment; undefined removes a name. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** Written to stdin, which is closed afterwards; without it stdin is empty. */
  readonly input?: string | Uint8Array;
  /** Default 120 s; then the process is killed and the call fails. */
  readonly timeoutMs?: number;
}

export interface RunResult {
  /** Exit code, 128 + n when a signal ended it. */
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a program to its end, whatever its exit code. Errors: when it cannot start or takes too long. */
export async function run(
  command: string,
  args: readonly string[],
  options: RunOptions = {},
): Promise<RunResult> {
  const child = spawn(command, args, {
    cwd: options.cwd,
    env: environment(options.env),
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  const stdout: Buffer[] = [];
  const stderr: Buffer[] = [];
  child.stdout.on('data', (chunk: Buffer) => stdout.push(chunk));
  child.stderr.on('data', (chunk: Buffer) => stderr.push(chunk));
  // A program may end without reading its input.
  child.stdin.on('error', () => {});
  child.stdin.end(options.input ?? '');
  let late = false;
  const timer = setTimeout(() => {
    late = true;
    child.kill('SIGKILL');
  }, options.timeoutMs ?? 120_000);
  try {
    const [code, signal] = (await once(child, 'close')) as [number | null, NodeJS.Signals | null];
    const result = {
      code: code ?? 128 + constants.signals[signal ?? 'SIGKILL'],
      stdout: Buffer.concat(stdout).toString(),
      stderr: Buffer.concat(stderr).toString(),
    };
    if (late) throw new Error(`${describe(command, args)} took too long\n${result.stdout}${result.stderr}`);
    return result;
  } finally {
    clearTimeout(timer);
  }
}

/** Runs a program and returns its stdout. Errors: also when its exit code is not 0; the message holds all it wrote. */
export async function runOk(
  command: string,
  args: readonly string[],
  options: RunOptions = {},
): Promise<string> {
  const result = await run(command, args, options);
  if (result.code !== 0) {
    throw new Error(`${describe(command, args)} ended with ${result.code}\n${result.stdout}${result.stderr}`);
  }
  return result.stdout;
}

export interface RunningProcess {
  readonly child: ChildProcess;
  readonly pid: number;
  /** What it wrote so far to stdout and stderr together, the last 256 KiB of it. */
  output(): string;
  /** Resolves when it has ended, however that came. */
  readonly ended: Promise<void>;
  /** Asks it to end, kills it after `graceMs` (default 10 s), and returns when it is gone. */
  stop(signal?: NodeJS.Signals, graceMs?: number): Promise<void>;
}

/** Starts a program that stays; the caller stops it. Errors: when it cannot start. */
export async function startProcess(
  command: string,
  args: readonly string[],
  options: Pick<RunOptions, 'cwd' | 'env'> = {},
): Promise<RunningProcess> {
  const child = spawn(command, args, {
    cwd: options.cwd,
    env: environment(options.env),
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  const keep = (chunk: Buffer): void => {
    output = (output + chunk.toString()).slice(-262_144);
  };
  child.stdout.on('data', keep);
  child.stderr.on('data', keep);
  const ended = new Promise<void>((resolve) => {
    child.once('exit', () => resolve());
  });
  await once(child, 'spawn');
  return {
    child,
    pid: child.pid as number,
    output: () => output,
    ended,
    async stop(signal = 'SIGTERM', graceMs = 10_000) {
      child.kill(signal);
      const timer = setTimeout(() => child.kill('SIGKILL'), graceMs);
      await ended;
      clearTimeout(timer);
    },
  };
}

export interface WaitOptions {
  /** What is waited for, for the error's text. */
  readonly what: string;
  /** Default 30 s. */
  readonly timeoutMs?: number;
  /** Ends the wait early with this text: the thing can no longer come. */
  readonly gaveUp?: () => string | undefined;
}

/** Asks `condition` again and again until it answers with anything but false or undefined, and returns that. */
export async function waitFor<T>(
  condition: () => Promise<T | undefined | false> | T | undefined | false,
  options: WaitOptions,
): Promise<T> {
  const end = Date.now() + (options.timeoutMs ?? 30_000);
  for (;;) {
    const value = await condition();
    if (value !== undefined && value !== false) return value;
    const reason = options.gaveUp?.();
    if (reason !== undefined) throw new Error(`${options.what}: ${reason}`);
    if (Date.now() > end) throw new Error(`${options.what}: waited too long`);
    await delay(25);
  }
}

function environment(added: RunOptions['env']): NodeJS.ProcessEnv {
  const env: NodeJS.ProcessEnv = { ...process.env, ...added };
  for (const name of Object.keys(env)) if (env[name] === undefined) delete env[name];
  return env;
}

function describe(command: string, args: readonly string[]): string {
  return [command, ...args].join(' ').slice(0, 400);
}
