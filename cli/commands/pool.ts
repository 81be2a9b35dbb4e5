import type { Command } from 'commander';
import type { CliContext } from '../context.ts';
import { registerPoolClients } from './pool-clients.ts';

/** `pool`: the caching proxies of pools.yaml, and the nodes behind them. */
export function registerPool(program: Command, context: CliContext): void {
  const pool = program
    .command('pool')
    .description('caching proxies for groups of nodes behind a slow or costly link');
  registerPoolClients(pool, context);
}
