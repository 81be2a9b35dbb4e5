import { join } from 'node:path';
import type { Pool } from '../../cache-proxy/pools/pool.ts';

/** A pool that keeps everything in `folder`; sizes small enough for tests. */
export function makePool(
  options: { folder: string; listen: string; origin: readonly string[] } & Partial<Omit<Pool, 'origin'>>,
): Pool {
  const { folder, listen, origin, ...rest } = options;
  return {
    name: 'test',
    endpoint: `http://${listen}`,
    allowPlain: true,
    agent: { listen: '127.0.0.1:0' },
    engine: 'embedded',
    parents: [],
    shards: [],
    cache: {
      folder: join(folder, 'cache'),
      maxSize: 2 * 1024 ** 3,
      minFree: 0,
      inactive: 60 * 86_400_000,
      slice: 1024 ** 2,
    },
    link: { down: 1e9, prewarm: 1e9, prewarmDay: 1e9 },
    nodes: { cidrs: [] },
    auth: { mode: 'token', offlineGrace: 86_400_000, anonymousRepositories: [] },
    upstreams: [],
    prewarm: { always: [], follow: [], topBytes: 0, halfLife: 3 * 86_400_000, maxLayer: 10 * 1024 ** 3 },
    onOriginMissing: 'keep',
    p2p: { engine: 'none' },
    ...rest,
    folder,
    listen,
    origin: { urls: origin },
  };
}
