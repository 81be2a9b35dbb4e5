import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import type { HttpServer } from '../../core/http/http-server.ts';
import type { Logger } from '../../core/log.ts';
import type { Metrics } from '../../core/metrics.ts';
import { UserError } from '../../core/user-error.ts';
import type { Freed, PoolCache, PoolEngine, PurgeTarget } from '../pool-engine.ts';
import type { Pool } from '../pools/pool.ts';
import type { Prewarming, PrewarmingDeps } from '../prewarm/prewarming.ts';
import type { PullRecord } from '../pull-record.ts';
import { startEngine } from '../start-engine.ts';
import { makeAgentKey } from './agent-key.ts';
import { createAgentServer, type PoolHealth } from './agent-server.ts';
import { rememberUsage } from './cached-usage.ts';
import { checkAuthorities } from './check-authorities.ts';
import { listensAt } from './engine-listens.ts';
import { createEventRequest } from './event-request.ts';
import type { Gate } from './gate.ts';
import { createOriginHealth, type HealthSnapshot } from './health.ts';
import { type OriginChange, purgeTargetOf, readOriginChange } from './origin-change.ts';
import { followOriginEvents, type OriginEvents } from './origin-events.ts';
import { createPoolAccess, type PoolAccess } from './pool-access.ts';
import { createPoolMetrics } from './pool-metrics.ts';
import { parsePurgeReference } from './purge.ts';
import { watchRepeatedPulls } from './repeated-pulls.ts';
import { type Scrubber, startScrubber } from './scrub.ts';

/** A pool that serves. */
export interface RunningPool {
  /** Where clients pull. */
  readonly url: string;
  /** `host:port` of the agent. */
  readonly agent: string;
  /**
   * Another configuration, without a failed request. Errors: UserError, and the one before stays in force; also for what needs a restart (name, folders,
   * engine, and the addresses it listens on).
   */
  reconfigure(pool: Pool): Promise<void>;
  /** Lets requests under way end. */
  close(): Promise<void>;
}

export interface StartPoolDeps {
  readonly log: Logger;
  readonly metrics: Metrics;
  /** Undefined: nothing is fetched before somebody asks for it. */
  readonly startPrewarming?: (pool: Pool, deps: PrewarmingDeps) => Promise<Prewarming>;
}

/** Milliseconds that the origin has to answer for the first time. */
const startPatienceMs = 3_000;

/** Starts the agent of a pool, its engine, and what works in the background. Errors: UserError; then nothing runs. */
export async function startPool(first: Pool, deps: StartPoolDeps): Promise<RunningPool> {
  const closers: (() => void | Promise<void>)[] = [];
  /** In the reverse order of starting; what fails does not keep the rest open. */
  const close = async (): Promise<void> => {
    for (const end of closers.splice(0).reverse()) {
      try {
        await end();
      } catch (error) {
        deps.log.warn({ err: error }, 'a part of the pool did not end as it should');
      }
    }
  };
  try {
    return { ...(await start(first, deps, closers)), close };
  } catch (error) {
    await close();
    throw error;
  }
}

async function start(
  first: Pool,
  { log, metrics, startPrewarming }: StartPoolDeps,
  closers: (() => void | Promise<void>)[],
): Promise<Omit<RunningPool, 'close'>> {
  let pool = first;
  let engine: PoolEngine | undefined;
  let prewarming: Prewarming | undefined;
  let scrubber: Scrubber | undefined;
  let events: OriginEvents | undefined;
  let access: PoolAccess | undefined;
  checkAuthorities(pool);
  const key = await makeAgentKey(pool.folder);
  const health = createOriginHealth({ probe: async (signal) => access?.origin.probe(signal), log });
  closers.push(() => health.close());

  const cache = (): PoolCache => present(engine).cache;
  const usage = rememberUsage(cache);
  const counts = createPoolMetrics(metrics, async () => ({
    usage: await usage(),
    maxSize: pool.cache.maxSize,
    health: health.snapshot(),
  }));
  const forget = async (target: PurgeTarget): Promise<Freed> => {
    const freed = await cache().purge(target);
    counts.purged(freed);
    return freed;
  };
  const openAccess = (wanted: Pool): PoolAccess =>
    createPoolAccess({ pool: wanted, log, state: health, observe: counts.watch });
  access = openAccess(pool);
  closers.push(() => access?.close());
  // Known before the first client asks: nobody should wait to find out.
  access.origin
    .probe(AbortSignal.timeout(startPatienceMs))
    .catch(() => health.failed('no answer at the start'));
  /** That of the configuration in force. */
  const entrance = (): PoolAccess => present(access);
  const gate: Gate = { decide: (request) => entrance().gate.decide(request) };
  const repeated = watchRepeatedPulls((digest) => scrubber?.report(digest));
  const onRecord = (record: PullRecord): void => {
    counts.onRecord(record);
    repeated(record);
    if (provesOrigin(record, health.snapshot())) health.answered();
    prewarming?.onRecord(record);
  };

  const tellHealth = async (): Promise<PoolHealth> => ({
    pool: pool.name,
    engine: {
      kind: pool.engine,
      state: engine !== undefined && (await listensAt(engine.url)) ? 'up' : 'down',
      url: engine?.url ?? '',
    },
    origin: health.snapshot(),
    cache: {
      ...(engine === undefined ? { entries: 0, bytes: 0 } : await usage()),
      maxSize: pool.cache.maxSize,
    },
    ...(prewarming === undefined ? {} : { prewarm: prewarming.status() }),
  });
  const server = createAgentServer({
    log,
    metrics,
    key,
    handlers: () => entrance().handlers,
    health: tellHealth,
    status: async () => ({
      ...(await tellHealth()),
      totals: counts.totals(),
      ...(scrubber === undefined ? {} : { scrub: scrubber.status() }),
      events: events?.connected ?? false,
    }),
    purge: (reference) => forget(parsePurgeReference(reference, pool)),
    report: (digest) => scrubber?.report(digest),
    warm: () => prewarming?.warm,
  });
  closers.push(async () => {
    server.app.server.closeAllConnections();
    await server.app.close();
  });
  const agent = await listen(server, pool.agent.listen);

  engine = await startEngine(pool, { gate, agent, health, onRecord, log });
  const started = engine;
  closers.push(() => started.close());
  scrubber = startScrubber({
    cache,
    placeFile: join(pool.folder, 'scrub-place'),
    onChecked: (bytes, outcome) => counts.scrubbed(bytes, outcome),
    onPurged: (freed) => counts.purged(freed),
    log,
  });
  closers.push(() => scrubber?.close());
  const told = (): boolean => events?.connected ?? false;
  prewarming = await startPrewarming?.(pool, {
    engine,
    health,
    origin: () => entrance().origin,
    authorization: () => entrance().authorization,
    told,
    log,
  });
  closers.push(() => prewarming?.close());

  const heed = (change: OriginChange | undefined): void => {
    prewarming?.changed(change);
    // Whoever keeps what the origin no longer has goes on giving it to those who had it.
    const deletes = change !== undefined && change.action !== 'push';
    if (deletes && pool.onOriginMissing === 'keep') return;
    if (change === undefined) return;
    if (deletes) entrance().forget(change);
    const target = purgeTargetOf(change);
    if (target === undefined) return;
    forget(target).catch((error: unknown) => {
      log.error({ err: error, ...change }, 'what the origin deleted could not be removed from the cache');
    });
  };
  const follow = (): (() => Promise<void>) => {
    const source = createEventRequest(pool.origin);
    const following = followOriginEvents({
      open: (request) => source.open(request),
      onEvent: ({ data }) => {
        const change = readOriginChange(data);
        if (change !== undefined) heed(change);
      },
      onGap: () => heed(undefined),
      log,
    });
    events = following;
    return async () => {
      await following.close();
      source.close();
    };
  };
  let unfollow = follow();
  closers.push(() => unfollow());

  return {
    url: started.url,
    agent,
    async reconfigure(next) {
      checkUnchanged(pool, next);
      checkAuthorities(next);
      const before = entrance();
      const opened = isDeepStrictEqual(rightsOf(pool), rightsOf(next)) ? before : openAccess(next);
      // The engine asks it already while it changes.
      access = opened;
      try {
        await started.reconfigure(next);
      } catch (error) {
        access = before;
        if (opened !== before) opened.close();
        throw error;
      }
      pool = next;
      if (opened !== before) before.close();
      prewarming?.reconfigure(next);
      await unfollow();
      unfollow = follow();
    },
  };
}

/** The engine has had an answer since the origin was taken for away: nobody needs to wait for the next look at it. */
function provesOrigin({ side, ns, status, time }: PullRecord, { state, since = 0 }: HealthSnapshot): boolean {
  if (state !== 'away' || side !== 'origin' || ns !== undefined || time <= since) return false;
  return status >= 200 && status < 500 && status !== 429;
}

/** What decides who may have what; another one begins without the tokens that are in use, so it is not made for nothing. */
function rightsOf({ endpoint, origin, auth, upstreams, onOriginMissing }: Pool): object {
  return { endpoint, origin, auth, upstreams, onOriginMissing };
}

/** What a process cannot change while it runs: everything else would go on with the old one unnoticed. Errors: UserError. */
function checkUnchanged(pool: Pool, next: Pool): void {
  const fixed: readonly [string, string, string][] = [
    ['name', pool.name, next.name],
    ['engine', pool.engine, next.engine],
    ['folder', pool.folder, next.folder],
    ['listen', pool.listen, next.listen],
    ['agent.listen', pool.agent.listen, next.agent.listen],
    ['cache.dir', pool.cache.folder, next.cache.folder],
  ];
  const changed = fixed.filter(([, is, shall]) => is !== shall).map(([name]) => name);
  if (changed.length === 0) return;
  throw new UserError(`${changed.join(', ')} of the pool ${pool.name} changed; that needs a restart`);
}

async function listen(server: HttpServer, address: string): Promise<string> {
  const { host, port } = readAddress(address);
  try {
    await server.app.listen({ host, port });
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    const reason = code === 'EADDRINUSE' ? 'another program listens there' : message;
    throw new UserError(
      `the pool’s agent cannot listen on ${address}: ${reason}; choose another agent.listen`,
      {
        cause,
      },
    );
  }
  const bound = server.app.server.address() as AddressInfo;
  return `${host.includes(':') ? `[${host}]` : host}:${bound.port}`;
}

/** `host:port`, as the configuration was checked for. */
function readAddress(address: string): { host: string; port: number } {
  const { hostname, port } = new URL(`http://${address}`);
  return { host: hostname.replace(/^\[(.*)\]$/, '$1'), port: Number(port === '' ? 80 : port) };
}

function present<T>(value: T | undefined): T {
  if (value === undefined) throw new UserError('the pool is only starting; try again in a moment');
  return value;
}
