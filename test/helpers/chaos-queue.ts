import type { EventBus } from '../../core/events.ts';
import type { ObjectStore } from '../../core/object-store/object-store.ts';
import { createBullmqChannel } from '../../core/queue/bullmq.ts';
import type { DispatchChannel } from '../../core/queue/dispatch-channel.ts';
import { createEmbeddedQueue } from '../../core/queue/embedded.ts';
import { createFallbackChannel } from '../../core/queue/fallback-channel.ts';
import { createJobKeys } from '../../core/queue/job-keys.ts';
import type { JobQueue } from '../../core/queue/job-queue.ts';
import { createStoreChannel } from '../../core/queue/store-channel.ts';

export interface ChaosQueueOptions {
  readonly store: ObjectStore;
  readonly events: EventBus;
  /** Of the Redis that carries jobs to the workers; without one the store does. */
  readonly url?: string | undefined;
  readonly onError?: (error: unknown) => void;
  /** Told of each job that comes to a worker of this process by the channel under test, not by its fallback. */
  readonly onHint?: (id: string) => void;
}

/** The queue that all processes of job-queue-chaos.ts share. A lease lasts long enough for a busy machine, and short enough for the test. */
export function openChaosQueue(options: ChaosQueueOptions): JobQueue {
  const { store, events, url, onError = () => {}, onHint = () => {} } = options;
  const prefix = 'builds/';
  const keys = createJobKeys(prefix);
  const timing = { leaseMs: 4_000, pollMs: 250, retryMs: 10 };
  const own = createStoreChannel({
    store,
    events,
    keys,
    onError,
    pollMs: url === undefined ? timing.pollMs : timing.pollMs * 8,
  });
  const channel =
    url === undefined
      ? told(own, onHint)
      : createFallbackChannel(
          told(createBullmqChannel({ url, prefix: 'chaos', name: 'builds', onError }), onHint),
          own,
        );
  return createEmbeddedQueue({ store, events, prefix, ...timing, channel, onError });
}

function told(channel: DispatchChannel, onHint: (id: string) => void): DispatchChannel {
  return {
    ...channel,
    listen: (worker, onJob) =>
      channel.listen(worker, (id) => {
        onHint(id);
        return onJob(id);
      }),
  };
}
