import { resolve } from 'node:path';
import type { Command } from 'commander';
import type { Pool } from '../../cache-proxy/pools/pool.ts';
import { readPoolsFile } from '../../cache-proxy/pools/read-pools.ts';
import type { CliContext } from '../context.ts';
import { formatBytes, formatTable, toJson, withoutControls } from '../text.ts';

interface ListFlags {
  readonly pools: string;
  readonly json?: boolean;
}

/** What a pool's agent says of itself; `away`: nobody answers where it listens, as it runs on another machine or not at all. */
interface PoolState {
  readonly state: 'up' | 'down' | 'away';
  readonly origin?: string;
  readonly cachedBytes?: number;
}

/** An agent is on this machine, or very near. */
const patienceMs = 2_000;
const maxAnswer = 256 * 1024;

/** `pool ls`: the pools of pools.yaml, and the state of those whose agents can be reached from here. */
export function registerPoolLs(pool: Command, context: CliContext): void {
  pool
    .command('ls')
    .description('list the pools of pools.yaml, and how those do whose agents answer here')
    .option('--pools <file>', 'the pools', 'pools.yaml')
    .option('--json', 'print JSON')
    .action((flags: ListFlags) => list(context, flags));
}

async function list(context: CliContext, flags: ListFlags): Promise<void> {
  const pools = readPoolsFile(resolve(context.cwd, flags.pools));
  const states = await Promise.all(pools.map(askState));
  if (flags.json === true) {
    context.stdout(toJson(pools.map((pool, index) => ({ ...summary(pool), ...states[index] }))));
    return;
  }
  const rows = pools.map((pool, index) => {
    const { state, origin, cachedBytes } = states[index] ?? { state: 'away' };
    return [
      pool.name,
      pool.endpoint,
      pool.engine,
      pool.origin.urls.join(','),
      formatBytes(pool.cache.maxSize),
      cachedBytes === undefined ? '-' : formatBytes(cachedBytes),
      state,
      origin ?? '-',
    ];
  });
  const head = ['NAME', 'ENDPOINT', 'ENGINE', 'ORIGIN', 'CACHE', 'USED', 'STATE', 'ORIGIN IS'];
  context.stdout(formatTable([head, ...rows]));
}

/** No secret is among it: none was read. */
function summary(pool: Pool): object {
  const { name, endpoint, listen, engine, origin, parents, upstreams, cache, agent } = pool;
  return {
    name,
    endpoint,
    listen,
    agent: agent.listen,
    engine,
    origin: origin.urls,
    parents: parents.map((parent) => parent.name),
    upstreams: upstreams.map(({ ns }) => ns),
    maxSize: cache.maxSize,
    minFree: cache.minFree,
  };
}

/** Never throws: an agent that cannot be asked is away. */
async function askState(pool: Pool): Promise<PoolState> {
  const address = pool.agent.listen.replace(/^0\.0\.0\.0:/, '127.0.0.1:').replace(/^\[::\]:/, '[::1]:');
  try {
    const answer = await fetch(`http://${address}/healthz`, {
      signal: AbortSignal.timeout(patienceMs),
      redirect: 'error',
    });
    const text = await answer.text();
    const found: unknown = text.length > maxAnswer ? undefined : JSON.parse(text);
    return readState(found, pool.name);
  } catch {
    return { state: 'away' };
  }
}

/** Another pool's agent may listen there: pools of one file are on different machines. */
function readState(found: unknown, name: string): PoolState {
  if (typeof found !== 'object' || found === null) return { state: 'away' };
  const { pool, engine, origin, cache } = found as {
    pool?: unknown;
    engine?: { state?: unknown };
    origin?: { state?: unknown };
    cache?: { bytes?: unknown };
  };
  if (pool !== name) return { state: 'away' };
  const originState = origin?.state;
  const bytes = cache?.bytes;
  return {
    state: engine?.state === 'up' ? 'up' : 'down',
    ...(typeof originState === 'string' ? { origin: withoutControls(originState) } : {}),
    ...(typeof bytes === 'number' ? { cachedBytes: bytes } : {}),
  };
}
