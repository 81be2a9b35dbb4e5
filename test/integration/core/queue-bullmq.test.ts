import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll } from 'vitest';
import { createEventBus } from '../../../core/events.ts';
import { createMemoryStore } from '../../../core/object-store/memory.ts';
import { type BullmqChannel, createBullmqChannel } from '../../../core/queue/bullmq.ts';
import { createEmbeddedQueue } from '../../../core/queue/embedded.ts';
import { createFallbackChannel } from '../../../core/queue/fallback-channel.ts';
import { createJobKeys } from '../../../core/queue/job-keys.ts';
import { createStoreChannel } from '../../../core/queue/store-channel.ts';
import { startRedis, type TestRedis } from '../../helpers/redis.ts';
import { jobQueueSuite, suitePolicy } from '../../suites/job-queue.ts';

let redis: TestRedis;
beforeAll(async () => {
  redis = await startRedis();
});
afterAll(() => redis.stop());

jobQueueSuite('the queue with BullMQ', () => {
  const store = createMemoryStore();
  const events = createEventBus();
  const name = randomUUID();
  const channels: BullmqChannel[] = [];
  const onError = (): void => {};
  return {
    open() {
      const bullmq = createBullmqChannel({ url: redis.url, prefix: 'suite', name, onError });
      channels.push(bullmq);
      const keys = createJobKeys('builds/');
      return createEmbeddedQueue({
        store,
        events,
        prefix: 'builds/',
        leaseMs: 300,
        pollMs: 50,
        retryMs: 10,
        policy: suitePolicy,
        // The way through the store is looked at so rarely that only Redis can be in time.
        channel: createFallbackChannel(
          bullmq,
          createStoreChannel({ store, keys, events: createEventBus(), pollMs: 60_000, onError }),
        ),
      });
    },
    async close() {
      await Promise.all(channels.map((channel) => channel.close()));
    },
  };
});
