import { createBuilder } from '../../builder/main.ts';
import type { EventBus } from '../../core/events.ts';
import { sandboxOptions } from '../sandbox-config.ts';
import { openCollector } from './collection.ts';
import { createEngineSandbox } from './engine-sandbox.ts';
import type { ServeOptions } from './messages.ts';
import { builderDeps, createParts } from './parts.ts';
import { sweepEngine } from './sweep-engine.ts';

const sweepEveryMs = 60 * 60 * 1000;

/** The process that runs builds, and what must happen now and then on this machine. */
export async function startWorkerProcess(
  options: ServeOptions,
  events: EventBus,
): Promise<{ close(): Promise<void> }> {
  const parts = await createParts(options);
  const { config, log, store, registry } = parts;
  const builder = await createBuilder({ ...builderDeps(parts), events });
  const sandbox = createEngineSandbox({
    socket: config.builder.engine,
    registry,
    log,
    cacheDir: parts.cacheDir,
    ...sandboxOptions(config.builder.sandbox),
  });
  const worker = builder.work({ concurrency: config.builder.concurrency, sandbox });
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
  return {
    async close() {
      clearInterval(timer);
      unused.close();
      await collector?.close();
      await worker.close();
      await sandbox.close();
      await builder.close();
      await parts.close();
    },
  };
}
