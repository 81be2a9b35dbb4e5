import type { Command } from 'commander';
import type { Freed } from '../../cache-proxy/pool-engine.ts';
import { askAgent } from '../ask-agent.ts';
import type { CliContext } from '../context.ts';
import { loadPool } from '../load-pool.ts';
import { toJson } from '../text.ts';

interface PurgeFlags {
  readonly pools: string;
  readonly json?: boolean;
}

/** `pool purge NAME REF…`: through the agent of the pool, on its machine. */
export function registerPoolPurge(pool: Command, context: CliContext): void {
  pool
    .command('purge <name> <reference...>')
    .description('make a pool forget an image, a repository, or a manifest or layer by its digest')
    .option('--pools <file>', 'file of the pools', 'pools.yaml')
    .option('--json', 'as JSON')
    .action((name: string, references: string[], flags: PurgeFlags) =>
      purge(context, name, references, flags),
    );
}

async function purge(
  context: CliContext,
  name: string,
  references: readonly string[],
  { pools, json }: PurgeFlags,
): Promise<void> {
  const pool = loadPool(context, { name, file: pools });
  const freed: ({ reference: string } & Freed)[] = [];
  for (const reference of references) {
    const { entries, bytes } = await askAgent<Freed>(pool, 'POST', '/_pool/purge', { reference });
    freed.push({ reference, entries, bytes });
    if (json === true) continue;
    const what = entries === 0 ? 'was not cached' : `removed, ${entries} entries, ${bytes} bytes`;
    context.stdout(`${reference}: ${what}\n`);
  }
  if (json === true) context.stdout(toJson(freed));
}
