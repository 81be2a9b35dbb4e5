import type { Command } from 'commander';
import type { CliContext } from '../context.ts';
import { registerPoolClients } from './pool-clients.ts';
import { registerPoolLs } from './pool-ls.ts';
import { registerPoolPurge } from './pool-purge.ts';
import { registerPoolRender } from './pool-render.ts';
import { registerPoolWarm } from './pool-warm.ts';

/** `pool`: the caching proxies of pools.yaml, and the nodes behind them. */
export function registerPool(program: Command, context: CliContext): void {
  const pool = program
    .command('pool')
    .description('caching proxies for groups of nodes behind a slow or costly link');
  registerPoolLs(pool, context);
  registerPoolRender(pool, context);
  registerPoolWarm(pool, context);
  registerPoolPurge(pool, context);
  registerPoolClients(pool, context);
}
