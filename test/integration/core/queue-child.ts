// A worker in a process of its own, for queue.test.ts: node queue-child.ts <root> <owner> [<milliseconds of its lease>]
import { appendFileSync } from 'node:fs';
import { join } from 'node:path';
import { createEventBus } from '../../../core/events.ts';
import { createFilesystemStore } from '../../../core/object-store/filesystem.ts';
import { createEmbeddedQueue } from '../../../core/queue/embedded.ts';

const [root = '', owner = '', lease] = process.argv.slice(2);
const queue = createEmbeddedQueue({
  store: createFilesystemStore({ root: join(root, 'store') }),
  prefix: 'builds/',
  events: createEventBus(),
  // With a lease that nobody waits for, others must see by its identity that it died.
  ...(lease === undefined ? { owner } : {}),
  leaseMs: Number(lease ?? 500),
  pollMs: 50,
  retryMs: 10,
});
queue.work(
  async (job, context) => {
    appendFileSync(join(root, 'runs'), `${job.id}\n`);
    process.stdout.write(`${JSON.stringify({ started: job.id })}\n`);
    if (job.payload['hang'] === owner) {
      await new Promise((_resolve, reject) => {
        context.signal.addEventListener('abort', () => {
          process.stdout.write(`${JSON.stringify({ aborted: job.id })}\n`);
          reject(context.signal.reason);
        });
      });
    }
    await context.confirmLease();
    return { owner, fence: context.fence };
  },
  { concurrency: 2 },
);
process.stdout.write('"ready"\n');
