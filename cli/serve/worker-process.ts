import { removeSandboxLeftovers } from '../../builder/engines/docker.ts';
import { createBuildLog } from '../../builder/farm/build-log.ts';
import { createBuilder } from '../../builder/main.ts';
import { createBuildPool } from '../../builder/worker/build-pool.ts';
import type { EventBus } from '../../core/events.ts';
import { announced } from './announce.ts';
import { openCollector } from './collection.ts';
import { forkBuildProcess } from './fork-build-process.ts';
import type { ServeOptions } from './messages.ts';
import { builderDeps, createParts } from './parts.ts';
import { openRedisDispatch } from './redis-dispatch.ts';
import { sweepEngine } from './sweep-engine.ts';
import { watchDisk } from './watch-disk.ts';

const sweepEveryMs = 60 * 60 * 1000;

/**
 * The process that takes builds, and what must happen now and then on this machine. It only holds leases and keeps logs: the builds run in
 * processes of their own.
 */
export async function startWorkerProcess(
  options: ServeOptions,
  events: EventBus,
): Promise<{
  /** Takes nothing new, and gives running builds `builder.drainSeconds` to end. */
  close(): Promise<void>;
  /** Hands running builds back at once, when it closes. */
  hurry(): void;
}> {
  const parts = await createParts(options);
  const { config, log, store } = parts;
  const { concurrency, heap, engine } = config.builder;
  const dispatch = await openRedisDispatch(config, log);
  const builder = await createBuilder({
    ...builderDeps(parts),
    registry: announced(parts.registry, events),
    events,
    ...(dispatch === undefined ? {} : { channel: dispatch.over }),
  });
  const pool = createBuildPool({
    fork: () => forkBuildProcess(options, heap),
    concurrency,
    heap,
    log,
    openLog: (build, fence) => createBuildLog({ store, events, log }, build, fence),
    publish: (topic, message) => events.publish(topic, message),
    removeLeftovers: () => removeSandboxLeftovers(engine),
  });
  const worker = builder.work({ concurrency, handler: pool.handler });
  const disk = watchDisk({
    cacheDir: parts.cacheDir,
    engine,
    ...config.builder.disk,
    concurrency,
    git: builder.git,
    log,
  });
  disk.start(worker);
  const sweep = (): void => {
    if (!('sweepTemporaries' in store)) return;
    store
      .sweepTemporaries(sweepEveryMs)
      .catch((error: unknown) => log.warn({ err: error }, 'left-over temporary files could not be removed'));
  };
  sweep();
  const timer = setInterval(sweep, sweepEveryMs);
  const unused = sweepEngine({ socket: config.builder.engine, cacheDir: parts.cacheDir, log });
  const collector = config.collection.enabled ? openCollector(config, store, log) : undefined;
  collector?.start();
  const hurry = new AbortController();
  let closing: Promise<void> | undefined;
  async function close(): Promise<void> {
    clearInterval(timer);
    await collector?.close();
    disk.close();
    unused.close();
    const late = setTimeout(() => hurry.abort(), config.builder.drainSeconds * 1000);
    await worker.drain(hurry.signal);
    clearTimeout(late);
    await worker.close();
    await pool.close();
    await builder.close();
    await dispatch?.close();
    await parts.close();
  }
  return {
    close: () => (closing ??= close()),
    hurry: () => hurry.abort(),
  };
}
