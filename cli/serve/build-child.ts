import { writeFile } from 'node:fs/promises';
import { flushCompileCache } from 'node:module';
import { createBuilder } from '../../builder/main.ts';
import type { FromBuildProcess, ToBuildProcess } from '../../builder/worker/messages.ts';
import { serveBuilds } from '../../builder/worker/serve-builds.ts';
import { createEventBus } from '../../core/events.ts';
import { sandboxOptions } from '../sandbox-config.ts';
import { announced } from './announce.ts';
import { createEngineSandbox } from './engine-sandbox.ts';
import type { ServeOptions } from './messages.ts';
import { builderDeps, createParts } from './parts.ts';

// The start of every process that runs builds: a child of the worker, which holds their leases and keeps their logs.
const options = JSON.parse(process.argv[2] ?? '{}') as ServeOptions;
const server = serveBuilds({
  send(message: FromBuildProcess, sent = () => {}) {
    if (process.connected) process.send?.(message, undefined, undefined, () => sent());
    else sent();
  },
});

const start = async (): Promise<{ close(): Promise<void> }> => {
  const parts = await createParts(options);
  const { config, log, registry } = parts;
  const events = createEventBus((topic, message) => server.publish(topic, message));
  const builder = await createBuilder({
    ...builderDeps(parts),
    registry: announced(registry, events),
    events,
  });
  const sandbox = createEngineSandbox({
    socket: config.builder.engine,
    registry,
    log,
    cacheDir: parts.cacheDir,
    ...sandboxOptions(config.builder.sandbox),
  });
  server.ready(builder.runner({ sandbox, openLog: () => server.openLog() }));
  flushCompileCache();
  return {
    async close() {
      await sandbox.close();
      await builder.close();
      await parts.close();
    },
  };
};

const unable = (error: unknown): void => {
  const reason = error instanceof Error ? error.message : String(error);
  process.send?.({ type: 'unable', reason } satisfies FromBuildProcess, undefined, undefined, () =>
    process.exit(1),
  );
};

// Only the worker says when it is over; a build must not outlive it.
process.on('SIGINT', () => {});
process.on('SIGTERM', () => {});
process.on('SIGHUP', () => {});
process.on('disconnect', () => process.exit(1));
// When memory runs out, the kernel is to take a build rather than the server. Where there is no such file, it decides itself.
writeFile('/proc/self/oom_score_adj', '500').catch(() => {});

const running = start();
running.catch(unable);
process.on('message', (message: ToBuildProcess) => {
  server.receive(message);
  if (message.type !== 'stop') return;
  void running.then((parts) => parts.close()).finally(() => process.exit(0));
});
