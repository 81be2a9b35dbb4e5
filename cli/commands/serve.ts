import { availableParallelism } from 'node:os';
import type { Command } from 'commander';
import { untilSignal } from '../../core/process.ts';
import { UserError } from '../../core/user-error.ts';
import { type Config, checkListenAddress, readConfig, storeName } from '../config.ts';
import type { CliContext } from '../context.ts';
import { formatListenAddress } from '../listen-address.ts';
import type { ServeRole } from '../serve/messages.ts';
import { type Supervisor, type SupervisorOptions, startSupervisor } from '../serve/supervisor.ts';

const roles = ['registry', 'builder', 'worker'] as const satisfies readonly ServeRole[];

interface ServeFlags {
  readonly config?: string;
  readonly insecureOpen?: boolean;
}

/** `brickyard serve [registry|builder|worker]…` */
export function registerServe(program: Command, context: CliContext): void {
  program
    .command('serve')
    .argument('[role...]', `what to run: ${roles.join(', ')}; default all of them`)
    .description('run the registry, the git host and the builds')
    .option('--config <file>', 'configuration file (default: brickyard.yaml, where there is one)')
    .option('--insecure-open', 'listen on any address without authentication: everybody may do everything')
    .action(async (names: string[], flags: ServeFlags) => {
      await serve(context, parseRoles(names), flags);
    });
}

async function serve(context: CliContext, wanted: readonly ServeRole[], flags: ServeFlags): Promise<void> {
  const config = readConfig({
    ...(flags.config === undefined ? {} : { file: flags.config }),
    env: context.env,
    cwd: context.cwd,
  });
  const insecureOpen = flags.insecureOpen ?? false;
  const http = wanted.includes('registry') || wanted.includes('builder');
  // A worker alone listens nowhere.
  const address = http ? checkListenAddress(config, { insecureOpen }) : undefined;
  let supervisor: Supervisor | undefined;
  const stopped = untilSignal(async () => supervisor?.hurry()).then(() => {
    context.stderr('brickyard: stopping; a second Ctrl-C stops at once\n');
  });
  const say = (line: string): void => context.stderr(`brickyard: ${line}\n`);
  supervisor = await startSupervisor({
    serve: {
      roles: wanted,
      insecureOpen,
      ...(flags.config === undefined ? {} : { configFile: flags.config }),
    },
    httpProcesses: http ? config.processes || availableParallelism() : 0,
    worker: wanted.includes('worker'),
    // Some more for what comes behind the last request, and for builds that are handed back.
    stopWithinMs: {
      http: (config.shutdown.notReadySeconds + config.shutdown.drainSeconds + 5) * 1000,
      worker: (config.builder.drainSeconds + 10) * 1000,
    },
    cancelled: stopped,
    say,
    connect: await machineRelay(config, say),
  });
  if (supervisor === undefined) return;
  if (address !== undefined) {
    const url = `http://${formatListenAddress({ host: address.host, port: supervisor.port })}`;
    context.stderr(`brickyard: listening on ${url}, data in ${storeName(config)}\n`);
    if (config.auth.htpasswd === undefined) {
      context.stderr('brickyard: no authentication: whoever reaches this address may do everything\n');
    }
  } else {
    context.stderr(`brickyard: building, data in ${storeName(config)}\n`);
  }
  await stopped;
  await supervisor.stop();
}

/** How events reach other machines; undefined without Redis, whose library is not loaded then. */
async function machineRelay(
  { redis: { url, prefix } }: Config,
  say: (line: string) => void,
): Promise<SupervisorOptions['connect']> {
  if (url === undefined) return undefined;
  const { createRedisEvents } = await import('../../core/redis/redis-events.ts');
  return (deliver) => createRedisEvents({ url, prefix, deliver, say });
}

/** Errors: UserError. */
function parseRoles(names: readonly string[]): readonly ServeRole[] {
  if (names.length === 0) return roles;
  return names.map((name) => {
    const role = roles.find((known) => known === name);
    if (role !== undefined) return role;
    const text =
      name === 'pool' ? 'the caching proxy is not part of this version' : `there is no role "${name}"`;
    throw new UserError(`${text}; the roles are ${roles.join(', ')}`, { exitCode: 2 });
  });
}
