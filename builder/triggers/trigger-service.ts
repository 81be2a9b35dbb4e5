import { hostname } from 'node:os';
import type { EventBus } from '../../core/events.ts';
import type { Logger } from '../../core/log.ts';
import type { ObjectStore } from '../../core/object-store/object-store.ts';
import { createEmbeddedQueue, type EmbeddedQueueOptions } from '../../core/queue/embedded.ts';
import type { BuildService } from '../farm/build-service.ts';
import type { FetchLimits } from '../git/fetch-target.ts';
import type { GitHost } from '../git/git-host.ts';
import { type Delivery, toDelivery } from './delivery.ts';
import { forgetOldDeliveries } from './old-deliveries.ts';
import { createDeliveryReceiver, type ReceiveDelivery } from './receive-delivery.ts';
import type { Lookup } from './resolve-host.ts';
import { createDeliveryRunner } from './run-delivery.ts';
import { createSeenDeliveries } from './seen-deliveries.ts';
import { createStatusReports, type StatusReportsDeps } from './status-reports.ts';
import type { Trigger } from './trigger.ts';

/** Webhooks of repositories elsewhere: taken by any process that answers HTTP, worked off by one that builds. */
export interface TriggerService {
  readonly receive: ReceiveDelivery;
  get(id: string): Promise<Delivery | undefined>;
  /** Newest first. */
  list(options?: { limit?: number; before?: string }): Promise<readonly Delivery[]>;
  /** Starts working deliveries off and telling commits how their builds go. */
  work(): { close(): Promise<void> };
}

export interface TriggerServiceDeps {
  readonly store: ObjectStore;
  readonly events: EventBus;
  readonly log: Logger;
  readonly git: Pick<GitHost, 'fetchRefs'>;
  readonly builds: Pick<BuildService, 'get'>;
  readonly triggers: readonly Trigger[];
  readonly publicUrl?: string;
  readonly limits?: FetchLimits;
  readonly lookup?: Lookup;
  /** Milliseconds since 1970. */
  readonly now?: () => number;
  /** How patient the queue of deliveries is. */
  readonly queue?: Pick<EmbeddedQueueOptions, 'leaseMs' | 'pollMs' | 'retryMs'>;
  readonly statuses?: Pick<StatusReportsDeps, 'pollMs' | 'retryMs'>;
}

/** Fetches at the same time: they wait for others most of the time. */
const fetchesAtOnce = 4;
/** A repository that is away for a moment is asked again after this time, and after twice as long. Milliseconds. */
const retryMs = 20_000;
const sweepEveryMs = 6 * 60 * 60 * 1000;

/** 4 GiB, 10 million objects (Linux has about as many), an hour. */
const defaultLimits: FetchLimits = {
  bytes: 4 * 1024 ** 3,
  objects: 10_000_000,
  milliseconds: 60 * 60 * 1000,
};

export function createTriggerService(deps: TriggerServiceDeps): TriggerService {
  const { store, log, triggers, now } = deps;
  const queue = createEmbeddedQueue({
    store,
    prefix: 'deliveries/',
    events: deps.events,
    owner: `${hostname()}:${process.pid}`,
    onError: (error) => log.warn({ err: error }, 'queue of deliveries will try again'),
    retryMs,
    ...deps.queue,
  });
  const seen = createSeenDeliveries(store, now);
  const statuses = createStatusReports({ ...deps, ...deps.statuses });

  return {
    receive: createDeliveryReceiver({ triggers, seen, queue, ...(now === undefined ? {} : { now }) }),
    async get(id) {
      const job = await queue.get(id);
      return job === undefined ? undefined : toDelivery(job);
    },
    list: async (options) => (await queue.list(options)).map(toDelivery),
    work() {
      const runner = createDeliveryRunner({ ...deps, statuses, limits: deps.limits ?? defaultLimits });
      const worker = queue.work(runner, { concurrency: fetchesAtOnce });
      const telling = statuses.work();
      const sweep = (): void =>
        void Promise.all([seen.sweep(), forgetOldDeliveries(store, (now ?? Date.now)())]).catch(
          (error: unknown) => log.warn({ err: error }, 'old deliveries could not be removed'),
        );
      const timer = setInterval(sweep, sweepEveryMs);
      return {
        async close() {
          clearInterval(timer);
          await Promise.all([worker.close(), telling.close()]);
        },
      };
    },
  };
}
