import { unwatchFile, watchFile } from 'node:fs';
import { type RunningPool, startPool } from '../../cache-proxy/agent/start-pool.ts';
import type { Pool } from '../../cache-proxy/pools/pool.ts';
import { choosePool, readPoolCredentials, readPoolsFile } from '../../cache-proxy/pools/read-pools.ts';
import { startPrewarming } from '../../cache-proxy/prewarm/start-prewarming.ts';
import { createLogger, type LogLevel } from '../../core/log.ts';
import { createMetrics } from '../../core/metrics.ts';
import { UserError } from '../../core/user-error.ts';
import type { CliContext } from '../context.ts';

export interface PoolProcessOptions {
  /** Path of the file of the pools. */
  readonly file: string;
  /** Which of them; undefined: the only one. */
  readonly name: string | undefined;
  readonly env: CliContext['env'];
  /** One line for the operator. */
  readonly say: (line: string) => void;
}

/** One proxy of a pool, in this process. */
export interface PoolProcess {
  readonly pool: Pool;
  readonly url: string;
  readonly agent: string;
  /** Reads the file again, as it does by itself when that changes. What is wrong is said, and the configuration before stays in force. */
  reload(): Promise<void>;
  close(): Promise<void>;
}

/** Milliseconds between two looks at the file. */
const lookEvery = 2_000;

/** Errors: UserError (configuration, addresses in use, no nginx). */
export async function startPoolProcess(options: PoolProcessOptions): Promise<PoolProcess> {
  const { file, name, env, say } = options;
  const read = (): Pool => readPoolCredentials(choosePool(readPoolsFile(file), name), env);
  const pool = read();
  const log = createLogger({ level: logLevel(env['BRICKYARD_LOG_LEVEL']) });
  const running = await startPool(pool, { log, metrics: createMetrics({ process: true }), startPrewarming });

  let last: Promise<void> = Promise.resolve();
  const reload = (): Promise<void> => {
    last = last.then(() => reconfigure(running, read, say));
    return last;
  };
  // Polled: editors and configuration management replace files, also through links, and not every file system tells of that.
  const onChange = (now: { mtimeMs: number }, before: { mtimeMs: number }): void => {
    if (now.mtimeMs !== before.mtimeMs && now.mtimeMs !== 0) void reload();
  };
  watchFile(file, { interval: lookEvery, persistent: false }, onChange);
  return {
    pool,
    url: running.url,
    agent: running.agent,
    reload,
    async close() {
      unwatchFile(file, onChange);
      await last;
      await running.close();
    },
  };
}

async function reconfigure(
  running: RunningPool,
  read: () => Pool,
  say: (line: string) => void,
): Promise<void> {
  try {
    await running.reconfigure(read());
    say('the configuration of the pool was read again and is in force');
  } catch (error) {
    const reason = error instanceof UserError ? error.message : String(error);
    say(`the configuration of the pool is as before, because the new one cannot be used: ${reason}`);
  }
}

const levels: readonly LogLevel[] = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'];

/** Errors: UserError. */
function logLevel(text: string | undefined): LogLevel {
  if (text === undefined || text === '') return 'info';
  const level = levels.find((each) => each === text);
  if (level === undefined) {
    throw new UserError(`BRICKYARD_LOG_LEVEL is one of ${levels.join(', ')}`, { exitCode: 2 });
  }
  return level;
}
