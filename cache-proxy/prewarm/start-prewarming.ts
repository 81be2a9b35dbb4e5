import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createOriginClient, createPlainState, type OriginClient } from '../agent/origin-client.ts';
import type { Pool } from '../pools/pool.ts';
import { readSnapshotFile, writeSnapshotFile } from '../popularity/snapshot-file.ts';
import { createEngineClient } from './engine-client.ts';
import { createTagFinder } from './followed-tags.ts';
import { createImageReader } from './image-reader.ts';
import { createEgressLease } from './leases.ts';
import { budgetAt, createPace } from './pace.ts';
import { createPlanner } from './planner.ts';
import { createPoolApi } from './pool-api.ts';
import { type Counted, createPrewarmer, type Prewarmer, type PrewarmTiming } from './prewarmer.ts';
import type { Prewarming, PrewarmingDeps } from './prewarming.ts';
import { runWarm, type WarmedItem } from './warm.ts';
import { createWarmHandler, type WarmNow } from './warm-handler.ts';
import { parseWarmReferences } from './warm-references.ts';

/** What was counted is kept so often. Milliseconds. */
const keepEvery = 600_000;

const nothing = { hit: 0, missed: 0, seconds: 0 };

interface Running {
  readonly prewarmer: Prewarmer;
  readonly warm: WarmNow;
  close(): Promise<void>;
}

/**
 * Popularity and prewarming of one pool, put together. What was counted lies in `popularity.json` and `popularity-layers.json` in the pool's folder. Errors: those of reading these files
 * or the listener's certificate.
 */
export async function startPrewarming(
  first: Pool,
  deps: PrewarmingDeps & { readonly timing?: Partial<PrewarmTiming> },
): Promise<Prewarming> {
  const { log } = deps;
  const files = {
    images: join(first.folder, 'popularity.json'),
    layers: join(first.folder, 'popularity-layers.json'),
  };
  const read = (file: string) =>
    readSnapshotFile(file, Date.now(), (reason) =>
      log.warn({ file, reason }, 'what was counted of pulls cannot be read; counting begins anew'),
    );
  const [images, layers] = await Promise.all([read(files.images), read(files.layers)]);
  let running = await run(first, deps, {
    ...(images === undefined ? {} : { images }),
    ...(layers === undefined ? {} : { layers }),
  });
  let closed = false;

  const keep = async (): Promise<void> => {
    try {
      const counted = running.prewarmer.snapshots();
      await writeSnapshotFile(files.images, counted.images);
      await writeSnapshotFile(files.layers, counted.layers);
    } catch (error) {
      log.warn({ err: error }, 'what was counted of pulls cannot be kept');
    }
  };
  const timer = setInterval(() => void keep(), keepEvery);
  timer.unref();
  const ending = new Set<Promise<void>>();
  const swap = async (next: Pool): Promise<void> => {
    const before = running;
    try {
      running = await run(next, deps, before.prewarmer.snapshots());
      await before.close();
    } catch (error) {
      log.error({ err: error }, 'prewarming goes on with the configuration before');
    }
  };

  return {
    onRecord: (record) => running.prewarmer.onRecord(record),
    changed(change) {
      if (change === undefined) running.prewarmer.onGap();
      else if (change.action === 'push') running.prewarmer.onPush(change);
    },
    warm: createWarmHandler(
      (references, options) => running.warm(references, options),
      (error) => log.error({ err: error }, 'images could not be made warm'),
    ),
    status: () => running.prewarmer.status(),
    reconfigure(next) {
      if (closed) return;
      const swapping = swap(next).finally(() => ending.delete(swapping));
      ending.add(swapping);
    },
    async close() {
      closed = true;
      clearInterval(timer);
      await Promise.all(ending);
      await keep();
      await running.close();
    },
  };
}

async function run(
  pool: Pool,
  deps: PrewarmingDeps & { readonly timing?: Partial<PrewarmTiming> },
  remembered: Partial<Counted>,
): Promise<Running> {
  const { engine: served, health, origin, authorization, told, log, timing } = deps;
  const upstreams = new Map<string, OriginClient>(
    pool.upstreams.map((upstream) => [
      upstream.ns,
      createOriginClient({ origin: upstream, state: createPlainState() }),
    ]),
  );
  const engine = createEngineClient({
    url: served.url,
    authorization,
    ...(pool.tls === undefined ? {} : { certificate: await readFile(pool.tls.certificate, 'utf8') }),
  });
  const api = createPoolApi({
    pool: pool.name,
    // Not for a repository: a registry that wants tokens for this has none of it.
    ask: (request) => origin().askAsPool(request, ''),
    onRefused: (question, status, message) =>
      log.warn(
        { question, status, message },
        'the origin refuses the pool what only pools may ask: see registry.pools.accounts there',
      ),
  });
  const lease = createEgressLease({ api, wanted: () => budgetAt(pool.link, Date.now()), log });
  const pace = createPace({ link: pool.link, granted: () => lease.granted });
  const reader = createImageReader({ engine });
  const tags = createTagFinder((ns) => {
    const client = ns === undefined ? origin() : upstreams.get(ns);
    return client === undefined ? undefined : (request, scope) => client.askAsPool(request, scope);
  });
  const planner = createPlanner({
    pool: () => pool,
    cache: served.cache,
    reader,
    onUnreadable: (image, error) => log.warn({ image, err: error }, 'an image cannot be prewarmed'),
  });
  const away = (): boolean => health.away;
  const warm = { engine, pace, slice: pool.cache.slice, away };
  const prewarmer = createPrewarmer({
    pool: () => pool,
    planner,
    tags,
    api,
    lease,
    pace,
    warm,
    told,
    away,
    log,
    remembered,
    ...(timing === undefined ? {} : { timing }),
  });
  return {
    prewarmer,
    async warm(references, { signal, onEvent }) {
      const images =
        references.length > 0
          ? parseWarmReferences(pool, references)
          : [...(await tags.find(prewarmer.patterns(), 1000))].map(({ tag, ...name }) => ({
              ...name,
              reference: tag,
            }));
      const unreadable: WarmedItem[] = [];
      const { fetch } = await planner.planImages(images, signal, (image, { message }) => {
        const item = {
          kind: 'tag' as const,
          ...image,
          reason: 'pushed' as const,
          ...nothing,
          error: message,
        };
        unreadable.push(item);
        onEvent({ event: 'item', item });
      });
      const report = await lease.during(() => runWarm(fetch, { ...warm, signal, onEvent }));
      const failed = report.failed + unreadable.length;
      return { ...report, items: [...unreadable, ...report.items], failed };
    },
    async close() {
      await prewarmer.close();
      engine.close();
      for (const client of upstreams.values()) client.close();
    },
  };
}
