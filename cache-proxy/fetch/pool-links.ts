import type { PoolEngineDeps } from '../pool-engine.ts';
import type { Pool } from '../pools/pool.ts';
import { createOriginLink, OriginAway, type OriginLink } from './origin-link.ts';
import { createParentPools, type ParentPools } from './parent-pools.ts';

/** Whom a pool fetches from. */
export interface PoolLinks {
  readonly pool: Pool;
  /** Undefined: the pool's own origin. Errors: OriginAway for a registry that is not configured (any more). */
  of(ns: string | undefined): { readonly link: OriginLink; readonly parents: ParentPools | undefined };
  close(): void;
}

/** Errors: those of reading certificates. */
export function createPoolLinks(
  pool: Pool,
  { log, health }: Pick<PoolEngineDeps, 'log' | 'health'>,
): PoolLinks {
  const own = {
    link: createOriginLink({ origin: pool.origin, trusted: true, log, health }),
    parents: createParentPools(pool),
  };
  const others = new Map(
    pool.upstreams.map((upstream) => [
      upstream.ns,
      { link: createOriginLink({ origin: upstream, trusted: false, log }), parents: undefined },
    ]),
  );
  return {
    pool,
    of(ns) {
      const found = ns === undefined ? own : others.get(ns);
      if (found === undefined) throw new OriginAway('no such registry is configured');
      return found;
    },
    close() {
      own.link.close();
      own.parents?.close();
      for (const { link } of others.values()) link.close();
    },
  };
}
