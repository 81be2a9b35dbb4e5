import { join } from 'node:path';
import { Readable } from 'node:stream';
import { run } from '../../cli/main.ts';

export interface CommandOutcome {
  code: number;
  stdout: string;
  stderr: string;
}

export interface CommandOptions {
  /** Its home, and where it stands: nobody's own settings are read. */
  readonly home: string;
  readonly server?: string;
  /** What it reads on stdin. */
  readonly input?: string;
  readonly env?: Readonly<Record<string, string>>;
}

/** The program within this process, as somebody would run it. */
export async function brickyard(args: readonly string[], options: CommandOptions): Promise<CommandOutcome> {
  const outcome: CommandOutcome = { code: 0, stdout: '', stderr: '' };
  outcome.code = await run(args, {
    stdout(text) {
      outcome.stdout += text;
    },
    stderr(text) {
      outcome.stderr += text;
    },
    stdin: Readable.from([options.input ?? '']),
    cwd: options.home,
    env: commandEnvironment(options),
  });
  return outcome;
}

/** For a process of its own too. */
export function commandEnvironment({ home, server, env }: CommandOptions): Record<string, string> {
  return {
    PATH: process.env['PATH'] ?? '',
    HOME: home,
    BRICKYARD_CREDENTIALS: join(home, 'credentials.json'),
    ...(server === undefined ? {} : { BRICKYARD_SERVER: server }),
    ...env,
  };
}
