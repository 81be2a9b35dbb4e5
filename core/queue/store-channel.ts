import type { EventBus } from '../events.ts';
import type { ObjectStore } from '../object-store/object-store.ts';
import type { ChannelListener, DispatchChannel, Release } from './dispatch-channel.ts';
import type { JobKeys } from './job-keys.ts';

export interface StoreChannelOptions {
  readonly store: ObjectStore;
  readonly keys: JobKeys;
  readonly events: EventBus;
  /** How often a worker looks for hints that no event told it of. Milliseconds. */
  readonly pollMs: number;
  readonly onError: (error: unknown) => void;
}

/** Hints as empty objects in the store, one folder per worker, and an event for those that hear it. Needs no other program. */
export function createStoreChannel({
  store,
  keys,
  events,
  pollMs,
  onError,
}: StoreChannelOptions): DispatchChannel {
  return {
    async release(worker, id) {
      // What a power cut takes away is released again.
      await store.put(keys.released(worker, id), Buffer.alloc(0), { durability: 'process' });
      events.publish(keys.releasedTopic, { worker, id });
    },

    withdraw: (worker, id) => store.delete(keys.released(worker, id)),

    async released() {
      const found: Release[] = [];
      let startAfter: string | undefined;
      do {
        const page = await store.list({
          prefix: keys.releasedPrefix,
          ...(startAfter !== undefined && { startAfter }),
        });
        found.push(...page.objects.map(({ key }) => keys.ofReleased(key)));
        startAfter = page.next;
      } while (startAfter !== undefined);
      return found;
    },

    listen(worker, onJob): ChannelListener {
      const busy = new Set<string>();
      let closed = false;
      let looking: Promise<void> | undefined;

      async function handle(id: string): Promise<void> {
        if (busy.has(id) || closed) return;
        busy.add(id);
        try {
          await onJob(id);
          await store.delete(keys.released(worker, id));
        } catch (error) {
          onError(error);
        } finally {
          busy.delete(id);
        }
      }
      async function look(): Promise<void> {
        const page = await store.list({ prefix: `${keys.releasedPrefix}${worker}/` });
        for (const { key } of page.objects) void handle(keys.ofReleased(key).id);
      }
      const lookOnce = (): void => {
        looking ??= look()
          .catch(onError)
          .finally(() => {
            looking = undefined;
          });
      };
      const unsubscribe = events.subscribe(keys.releasedTopic, (message) => {
        // From wherever events come, another machine of another version included.
        const { worker: to, id } = (message ?? {}) as { worker?: unknown; id?: unknown };
        if (to === worker && typeof id === 'string') void handle(id);
      });
      const timer = setInterval(lookOnce, pollMs);
      lookOnce();
      return {
        async close() {
          closed = true;
          clearInterval(timer);
          unsubscribe();
          await looking;
        },
      };
    },
  };
}
