import type { PoolEngine, PoolEngineDeps } from './pool-engine.ts';
import type { Pool } from './pools/pool.ts';

/** The engine that `pool.engine` names. Only that one is loaded. Errors: UserError when it cannot start. */
export async function startEngine(pool: Pool, deps: PoolEngineDeps): Promise<PoolEngine> {
  if (pool.engine === 'nginx') {
    const { startNginxEngine } = await import('./nginx/pool-engine.ts');
    return startNginxEngine(pool, deps);
  }
  const { startEmbeddedEngine } = await import('./embedded/start-embedded-engine.ts');
  return startEmbeddedEngine(pool, deps);
}
