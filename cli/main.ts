import { Command, CommanderError } from 'commander';
import { reportFailure } from '../core/process.ts';
import packageJson from '../package.json' with { type: 'json' };
import type { CliContext } from './context.ts';

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
  const program = await createProgram(args, context);
  try {
    await program.parseAsync(args, { from: 'user' });
    return 0;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
    return reportFailure(error, (text) => context.stderr(text));
  }
}

type Register = (program: Command, context: CliContext) => void;

/** In the order of `--help`. Loaded when needed: `serve` keeps in memory what it imports, for as long as it runs. */
const commands: Readonly<Record<string, () => Promise<Register>>> = {
  serve: async () => (await import('./commands/serve.ts')).registerServe,
  doctor: async () => (await import('./commands/doctor.ts')).registerDoctor,
  init: async () => (await import('./commands/init.ts')).registerInit,
  lint: async () => (await import('./commands/lint.ts')).registerLint,
  migrate: async () => (await import('./commands/migrate.ts')).registerMigrate,
  explain: async () => {
    const [{ registerExplain }, { openServerBases }] = await Promise.all([
      import('./commands/explain.ts'),
      import('./server-registry.ts'),
    ]);
    return (program, context) =>
      registerExplain(program, context, { openBases: ({ server }) => openServerBases(context, server) });
  },
  build: async () => (await import('./commands/build.ts')).registerBuild,
  builds: async () => (await import('./commands/builds.ts')).registerBuilds,
  secret: async () => (await import('./commands/secret.ts')).registerSecret,
  base: async () => (await import('./commands/base.ts')).registerBase,
  hook: async () => (await import('./commands/hook.ts')).registerHook,
  images: async () => (await import('./commands/images.ts')).registerImages,
  gc: async () => (await import('./commands/gc.ts')).registerGc,
  verify: async () => (await import('./commands/verify.ts')).registerVerify,
  login: async () => (await import('./commands/login.ts')).registerLogin,
  front: async () => (await import('./commands/front.ts')).registerFront,
  pool: async () => (await import('./commands/pool.ts')).registerPool,
  user: async () => (await import('./commands/user.ts')).registerUser,
  'can-i': async () => (await import('./commands/can-i.ts')).registerCanI,
};

/** With the one command that is asked for, with none for the version, or with all of them where help or a suggestion needs them. */
async function createProgram(args: readonly string[], context: CliContext): Promise<Command> {
  const program = new Command('brickyard')
    .description('A private OCI registry, an image build farm and per-pool caching proxies.')
    .version(packageJson.version)
    .showHelpAfterError('(brickyard --help lists commands and options)')
    .showSuggestionAfterError()
    .exitOverride()
    .configureOutput({ writeOut: (text) => context.stdout(text), writeErr: (text) => context.stderr(text) });
  const [name = ''] = args;
  const only = Object.hasOwn(commands, name) ? commands[name] : undefined;
  const all = ['--version', '-V'].includes(name) ? [] : Object.values(commands);
  const wanted = only === undefined ? all : [only];
  for (const register of await Promise.all(wanted.map((load) => load()))) register(program, context);
  return program;
}
