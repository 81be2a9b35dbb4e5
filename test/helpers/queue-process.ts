// One process that works on jobs, for job-queue-chaos.ts: node queue-process.ts <root> <owner> [url of Redis]
// Its parent carries events between such processes, as `brickyard serve` does, and kills them.
import { appendFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { createEventBus } from '../../core/events.ts';
import { createFilesystemStore } from '../../core/object-store/filesystem.ts';
import {
  type JsonValue,
  type ObjectStore,
  PreconditionFailed,
} from '../../core/object-store/object-store.ts';
import type { JobHandler } from '../../core/queue/job-queue.ts';
import { createRedisEvents } from '../../core/redis/redis-events.ts';
import { openChaosQueue } from './chaos-queue.ts';

const [root = '', owner = '', url] = process.argv.slice(2);
const note = (line: string): void => appendFileSync(join(root, 'notes'), `${line}\n`);

/** The store, which notes each job that was written as ended, by whomever. */
function noticing(store: ObjectStore): ObjectStore {
  return {
    ...store,
    async put(key, body, options) {
      const answer = await store.put(key, body, options);
      const id = /^builds\/(.+)$/.exec(key)?.[1];
      if (id !== undefined) {
        const { state } = JSON.parse(Buffer.from(body).toString()) as { state: string };
        if (state !== 'queued' && state !== 'running') note(`ended ${id} ${state}`);
      }
      return answer;
    },
  };
}

const store = noticing(createFilesystemStore({ root: join(root, 'store') }));
const events = createEventBus((topic, message) => {
  if (machines !== undefined) machines.publish(topic, message);
  else process.send?.({ topic, message });
});
// With Redis each process is a machine of its own.
const machines =
  url === undefined
    ? undefined
    : createRedisEvents({
        url,
        prefix: 'chaos',
        deliver: (topic, message) => events.deliver(topic, message),
        say: (line) => note(`said ${line}`),
      });
process.on('message', ({ topic, message }: { topic: string; message: JsonValue }) => {
  events.deliver(topic, message);
});
process.on('disconnect', () => process.exit(0));

/** An image that is pushed twice, or by a worker that lost the job to another one, is a fault. */
async function push(id: string, fence: number): Promise<void> {
  try {
    await store.put(`effects/${id}`, Buffer.from(String(fence)), { ifNoneMatch: '*' });
  } catch (error) {
    if (!(error instanceof PreconditionFailed)) throw error;
    const before = Number((await store.get(`effects/${id}`))?.body.toString());
    // The same effect again, of a worker that died before it could say so, is the one thing that may happen.
    if (before >= fence) note(`late ${id} ${fence} after ${before}`);
  }
}

/** As the builder sets tags: never back to an older commit of the ref. */
async function setTag(ref: string, sequence: number): Promise<void> {
  const key = `tags/${ref}`;
  for (;;) {
    const found = await store.get(key);
    if (found !== undefined && Number(found.body.toString()) >= sequence) return;
    try {
      const condition = found === undefined ? { ifNoneMatch: '*' as const } : { ifMatch: found.etag };
      await store.put(key, Buffer.from(String(sequence)), condition);
      return;
    } catch (error) {
      if (!(error instanceof PreconditionFailed)) throw error;
    }
  }
}

const handler: JobHandler = async ({ id, payload }, context) => {
  const { signal, fence } = context;
  note(`began ${id} ${owner}`);
  await delay(Number(payload['ms']), undefined, { signal });
  await context.confirmLease();
  await push(id, fence);
  await setTag(payload['ref'] as string, Number(payload['sequence']));
  return { fence };
};

const queue = openChaosQueue({
  store,
  events,
  url,
  onError: (error) => note(`error ${String(error)}`),
  onHint: (id) => note(`hint ${id}`),
});
queue.work(handler, { concurrency: 2 });
process.send?.('ready');
