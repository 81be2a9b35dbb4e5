import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { resolve } from 'node:path';
import { text } from 'node:stream/consumers';
import { UserError } from '../../core/user-error.ts';

const root = resolve(import.meta.dirname, '../..');

export interface ProgramOptions {
  readonly cwd?: string;
  readonly env?: NodeJS.ProcessEnv;
}

/** Runs a program whose words go to the terminal. Errors: UserError when it fails or cannot be started. */
export async function show(
  program: string,
  args: readonly string[],
  options: ProgramOptions = {},
): Promise<void> {
  // Its results too go to standard error: this script's own results are few, and others may want to read them.
  const child = spawn(program, args, { ...options, stdio: ['ignore', 2, 2] });
  const [code] = (await once(child, 'close').catch((cause: unknown) => notStarted(program, cause))) as [
    number | null,
  ];
  if (code !== 0) throw new UserError(`${[program, ...args].join(' ')} failed (exit code ${code ?? 'none'})`);
}

/** Runs a program and returns what it printed, without white space around it. Errors: UserError with its own words. */
export async function ask(
  program: string,
  args: readonly string[],
  options: ProgramOptions = {},
): Promise<string> {
  const child = spawn(program, args, { ...options, stdio: ['ignore', 'pipe', 'pipe'] });
  const said = Promise.all([text(child.stdout), text(child.stderr)]);
  const [code] = (await once(child, 'close').catch((cause: unknown) => notStarted(program, cause))) as [
    number | null,
  ];
  const [output, complaint] = await said;
  if (code !== 0) throw new UserError(`${[program, ...args].join(' ')} failed:\n${complaint.trim()}`);
  return output.trim();
}

/** `brickyard …` of this checkout. Errors: UserError. */
export function brickyard(args: readonly string[], options: ProgramOptions): Promise<void> {
  return show(process.execPath, [resolve(root, 'bin/brickyard.js'), ...args], options);
}

/** Compose v2 is a plugin of docker, 1.29 a program of its own. Errors: UserError when neither is here. */
export async function findCompose(env: NodeJS.ProcessEnv): Promise<readonly string[]> {
  for (const command of [['docker', 'compose'], ['docker-compose']]) {
    const [program = '', ...args] = command;
    const works = await ask(program, [...args, 'version'], { env }).then(
      () => true,
      () => false,
    );
    if (works) return command;
  }
  throw new UserError(
    'neither "docker compose" nor "docker-compose" is here; on Debian: apt-get install docker-compose',
  );
}

function notStarted(program: string, cause: unknown): never {
  if ((cause as NodeJS.ErrnoException).code !== 'ENOENT') throw cause;
  throw new UserError(`${program} is not installed`, { cause });
}
