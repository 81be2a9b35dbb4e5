import type { EventBus } from '../events.ts';
import type { ObjectStore } from '../object-store/object-store.ts';
import type { DispatchChannel } from './dispatch-channel.ts';
import type { DispatchPolicy } from './dispatch-policy.ts';
import type { JobKeys } from './job-keys.ts';
import type { WorkerDirectory } from './worker-directory.ts';

/** What a worker and the dispatcher beside it work with. Times in milliseconds. */
export interface QueueDeps {
  readonly store: ObjectStore;
  readonly keys: JobKeys;
  readonly events: EventBus;
  readonly channel: DispatchChannel;
  readonly directory: WorkerDirectory;
  readonly policy: DispatchPolicy;
  readonly owner: string;
  readonly isGone: (owner: string) => boolean;
  readonly now: () => number;
  readonly leaseMs: number;
  readonly pollMs: number;
  readonly retryMs: number;
  readonly onError: (error: unknown) => void;
}
