import { Command, CommanderError } from 'commander';
import { reportFailure } from '../core/process.ts';
import packageJson from '../package.json' with { type: 'json' };
import { registerBase } from './commands/base.ts';
import { registerBuild } from './commands/build.ts';
import { registerBuilds } from './commands/builds.ts';
import { registerCanI } from './commands/can-i.ts';
import { registerDoctor } from './commands/doctor.ts';
import { registerExplain } from './commands/explain.ts';
import { registerImages } from './commands/images.ts';
import { registerInit } from './commands/init.ts';
import { registerLint } from './commands/lint.ts';
import { registerLogin } from './commands/login.ts';
import { registerServe } from './commands/serve.ts';
import { registerUser } from './commands/user.ts';
import type { CliContext } from './context.ts';
import { openServerBases } from './server-registry.ts';

/** Runs the program with `args` and sets the exit code: 0 done, 1 failed, 2 wrong usage. */
export async function main(args: readonly string[]): Promise<void> {
  const context: CliContext = {
    stdout: (text) => void process.stdout.write(text),
    stderr: (text) => void process.stderr.write(text),
    stdin: process.stdin,
    cwd: process.cwd(),
    env: process.env,
  };
  // `brickyard images ls | head` closes our output early: that is no fault.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit(0);
    throw error;
  });
  process.exitCode = await run(args, context);
}

/** The program without its process, for tests. Returns the exit code. */
export async function run(args: readonly string[], context: CliContext): Promise<number> {
  const program = createProgram(context);
  try {
    await program.parseAsync(args, { from: 'user' });
    return 0;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
    return reportFailure(error, (text) => context.stderr(text));
  }
}

function createProgram(context: CliContext): Command {
  const program = new Command('brickyard')
    .description('A private OCI registry, an image build farm and per-pool caching proxies.')
    .version(packageJson.version)
    .showHelpAfterError('(brickyard --help lists commands and options)')
    .showSuggestionAfterError()
    .exitOverride()
    .configureOutput({ writeOut: (text) => context.stdout(text), writeErr: (text) => context.stderr(text) });
  registerServe(program, context);
  registerDoctor(program, context);
  registerInit(program, context);
  registerLint(program, context);
  registerExplain(program, context, { openBases: ({ server }) => openServerBases(context, server) });
  registerBuild(program, context);
  registerBuilds(program, context);
  registerBase(program, context);
  registerImages(program, context);
  registerLogin(program, context);
  registerUser(program, context);
  registerCanI(program, context);
  return program;
}
