import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Command } from 'commander';
import { checkNginx } from '../../cache-proxy/nginx/check-nginx.ts';
import { noNginx } from '../../cache-proxy/nginx/nginx-child.ts';
import { poolConfig } from '../../cache-proxy/nginx/pool-config.ts';
import { renderNginx } from '../../cache-proxy/nginx/render.ts';
import { runFolder } from '../../cache-proxy/nginx/run-folder.ts';
import type { Pool } from '../../cache-proxy/pools/pool.ts';
import { UserError } from '../../core/user-error.ts';
import type { CliContext } from '../context.ts';
import { loadPool } from '../load-pool.ts';

interface RenderFlags {
  readonly pools: string;
  readonly check?: boolean;
}

/** `pool render [NAME]`: what `serve pool` lets nginx run with, for people who want to read it. */
export function registerPoolRender(pool: Command, context: CliContext): void {
  pool
    .command('render [name]')
    .description('print the nginx configuration of a pool, as serve pool writes it')
    .option('--pools <file>', 'the pools', 'pools.yaml')
    .option('--check', 'ask nginx -t whether it would start with it, and fail when it would not')
    .action((name: string | undefined, flags: RenderFlags) => render(context, name, flags));
}

/** Errors: UserError. */
async function render(context: CliContext, name: string | undefined, flags: RenderFlags): Promise<void> {
  const pool = loadPool(context, { name, file: flags.pools });
  if (pool.engine === 'embedded') {
    context.stderr(`note: pool ${pool.name} has engine: embedded, so nothing reads this\n`);
  }
  const runtime = { run: runFolder(pool), agent: pool.agent.listen, generation: 'rendered' };
  const text = renderNginx(poolConfig(pool, runtime), [
    `Pool ${pool.name}: brickyard serve pool --pool ${pool.name} writes this and runs nginx with it.`,
    'nginx by itself could serve nothing: it asks that process who may have what, and for all that its cache lacks.',
  ]);
  if (flags.check === true) {
    await check(pool);
    context.stderr('nginx -t: good\n');
  }
  context.stdout(text);
}

/** nginx opens its logs and makes its folders even for a check: somewhere else than where it may be running. Errors: UserError. */
async function check(pool: Pool): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'brickyard-render-'));
  try {
    const moved = { ...pool, folder, cache: { ...pool.cache, folder } };
    const runtime = { run: folder, agent: pool.agent.listen, generation: 'rendered' };
    const verdict = await checkNginx(renderNginx(poolConfig(moved, runtime)));
    if (verdict.kind === 'absent') throw noNginx();
    if (verdict.kind === 'refused')
      throw new UserError(`nginx would not start with this:\n${verdict.reason}`);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
