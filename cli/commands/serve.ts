import { availableParallelism } from 'node:os';
import { resolve } from 'node:path';
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
  readonly pool?: string;
  readonly pools?: string;
}

/** `brickyard serve [registry|builder|worker]…`, or `brickyard serve pool` */
export function registerServe(program: Command, context: CliContext): void {
  program
    .command('serve')
    .argument('[role...]', `what to run: ${roles.join(', ')}; default all of them. Or pool alone`)
    .description('run the registry, the git host and the builds, or the caching proxy of a pool')
    .option('--config <file>', 'configuration file (default: brickyard.yaml, where there is one)')
    .option('--insecure-open', 'listen on any address without authentication: everybody may do everything')
    .option('--pools <file>', 'serve pool: file of the pools (default: pools.yaml)')
    .option('--pool <name>', 'serve pool: which of them (default: the only one)')
    .action(async (names: string[], flags: ServeFlags) => {
      if (names.includes('pool')) await servePool(context, names, flags);
      else await serve(context, parseRoles(names, flags), flags);
    });
}

/** Errors: UserError. */
async function servePool(context: CliContext, names: readonly string[], flags: ServeFlags): Promise<void> {
  if (names.length > 1) {
    throw new UserError(
      'a pool runs in a process of its own: start "brickyard serve pool" beside the others, on the machine that is near the nodes',
      { exitCode: 2 },
    );
  }
  const foreign = Object.entries({ '--config': flags.config, '--insecure-open': flags.insecureOpen });
  const given = foreign.filter(([, value]) => value !== undefined).map(([name]) => name);
  if (given.length > 0) {
    throw new UserError(`serve pool takes --pools and --pool, not ${given.join(', ')}`, { exitCode: 2 });
  }
  // Only who runs a pool needs its code.
  const { startPoolProcess } = await import('../serve/pool-process.ts');
  const say = (line: string): void => context.stderr(`brickyard: ${line}\n`);
  let reload = async (): Promise<void> => {};
  const stopped = untilSignal(undefined, () => void reload()).then(() => {
    say('stopping; a second Ctrl-C stops at once');
  });
  const process = await startPoolProcess({
    file: resolve(context.cwd, flags.pools ?? 'pools.yaml'),
    name: flags.pool,
    env: context.env,
    say,
  });
  reload = () => process.reload();
  const { pool, url, agent } = process;
  say(`the pool ${pool.name} (${pool.engine}) is listening on ${url}, its agent on http://${agent}`);
  say(`it is in front of ${pool.origin.urls.join(', ')}, data in ${pool.folder}`);
  await stopped;
  await process.close();
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
function parseRoles(names: readonly string[], flags: ServeFlags): readonly ServeRole[] {
  if (flags.pool !== undefined || flags.pools !== undefined) {
    throw new UserError('--pools and --pool are for "brickyard serve pool"', { exitCode: 2 });
  }
  if (names.length === 0) return roles;
  return names.map((name) => {
    const role = roles.find((known) => known === name);
    if (role !== undefined) return role;
    throw new UserError(`there is no role "${name}"; the roles are ${roles.join(', ')}, and pool alone`, {
      exitCode: 2,
    });
  });
}
