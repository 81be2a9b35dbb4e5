import { startRedis } from '../../helpers/redis.ts';
import { jobQueueChaosSuite } from '../../suites/job-queue-chaos.ts';

jobQueueChaosSuite('the embedded queue', async () => ({}));

jobQueueChaosSuite('the queue with BullMQ', async () => {
  const redis = await startRedis();
  return {
    url: redis.url,
    also: [
      () => redis.flush(),
      // First it comes back empty, and then with what it had written down.
      () => redis.restart({ appendOnly: true }),
      () => redis.restart(),
    ],
    close: () => redis.stop(),
  };
});
