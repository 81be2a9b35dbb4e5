// A build's process whose builds do what their payload says, for build-pool.test.ts.
import type { ToBuildProcess } from '../../../../builder/worker/messages.ts';
import { serveBuilds } from '../../../../builder/worker/serve-builds.ts';
import { JobFailed } from '../../../../core/queue/job-queue.ts';

const server = serveBuilds({
  send(message, sent = () => {}) {
    process.send?.(message, undefined, undefined, () => sent());
  },
});
process.on('disconnect', () => process.exit(1));
process.on('message', (message: ToBuildProcess) => {
  server.receive(message);
  if (message.type === 'stop') process.exit(0);
});

function eatMemory(): void {
  const eaten: string[][] = [];
  for (;;) eaten.push(Array.from({ length: 100_000 }, (_, index) => `${index} ${eaten.length}`));
}

server.ready(async ({ payload }, context) => {
  const { signal, fence } = context;
  const does = payload['does'] as string;
  const log = server.openLog();
  log.line(`runs as ${does}`);
  // Its worker must have this line before the process does what it is here for.
  await context.confirmLease();
  switch (does) {
    case 'fail':
      throw new JobFailed('no App.yaml');
    case 'break':
      throw new Error('the store does not answer');
    case 'wait':
      signal.throwIfAborted();
      await new Promise<void>((resolve) => {
        signal.addEventListener('abort', () => resolve());
      });
      throw signal.reason as Error;
    case 'exit':
      return process.exit(3);
    case 'eat memory':
      eatMemory();
      break;
    case 'spin':
      for (;;);
  }
  server.publish('waves', { from: fence });
  await log.close({ end: true });
  return { pid: process.pid, fence };
});
