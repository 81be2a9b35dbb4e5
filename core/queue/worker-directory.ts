import type { EventBus } from '../events.ts';
import type { JsonValue, ListedObject, ObjectStore } from '../object-store/object-store.ts';
import type { JobKeys } from './job-keys.ts';
import type { WorkerInfo } from './job-queue.ts';

export interface WorkerDirectoryOptions {
  readonly store: ObjectStore;
  readonly keys: JobKeys;
  readonly events: EventBus;
  /** A worker speaks three times in it, and is gone when it was silent for two of them. Milliseconds. */
  readonly leaseMs: number;
  /** Milliseconds since any moment; never set back. */
  readonly elapsed?: () => number;
}

/** Which workers live: each has a document that it writes again and again. */
export interface WorkerDirectory {
  say(worker: WorkerInfo): Promise<void>;
  remove(id: string): Promise<void>;
  /** Those that live, by id, and the ids of those that this directory has seen stand still for too long. Errors: ObjectStoreUnavailable. */
  look(): Promise<{ readonly live: WorkerInfo[]; readonly gone: string[] }>;
}

/** More workers than any farm has; what lies behind them is not looked at. */
const mostWorkers = 1000;

export function createWorkerDirectory(options: WorkerDirectoryOptions): WorkerDirectory {
  const { store, keys, events, leaseMs, elapsed = () => performance.now() } = options;
  let seen = new Map<string, { modified: number; since: number }>();

  /** By the store's clock beside the others that speak, and by standing still: machines' clocks differ. */
  function isGone({ key, modified }: ListedObject, newest: number, next: typeof seen): boolean {
    const time = modified.getTime();
    const before = seen.get(key);
    const entry = before?.modified === time ? before : { modified: time, since: elapsed() };
    next.set(key, entry);
    return newest - time > leaseMs * 2 || elapsed() - entry.since > leaseMs * 2;
  }

  return {
    async say(worker) {
      const body = Buffer.from(JSON.stringify(worker));
      events.publish(keys.workersTopic, { ...worker });
      await store.put(keys.worker(worker.id), body, { durability: 'process' });
    },
    async remove(id) {
      events.publish(keys.workersTopic, { id, owner: '', slots: 0, busy: 0, labels: {}, at: '' });
      await store.delete(keys.worker(id));
    },
    async look() {
      const { objects } = await store.list({ prefix: keys.workersPrefix, limit: mostWorkers });
      const newest = Math.max(0, ...objects.map(({ modified }) => modified.getTime()));
      const next: typeof seen = new Map();
      const live: WorkerInfo[] = [];
      const gone: string[] = [];
      await Promise.all(
        objects.map(async (object) => {
          const id = object.key.slice(keys.workersPrefix.length);
          if (isGone(object, newest, next)) {
            gone.push(id);
            return;
          }
          const found = await store.get(object.key);
          const info = found && parse(found.body);
          if (info?.id === id) live.push(info);
        }),
      );
      seen = next;
      return { live: live.sort((a, b) => (a.id < b.id ? -1 : 1)), gone: gone.sort() };
    },
  };
}

/** A power cut may leave it empty: then its worker, if it lives, writes it again. */
function parse(body: Buffer): WorkerInfo | undefined {
  try {
    return parseWorkerInfo(JSON.parse(body.toString()) as JsonValue);
  } catch {
    return undefined;
  }
}

/** Undefined: it is of another version of this program. */
export function parseWorkerInfo(value: JsonValue): WorkerInfo | undefined {
  const info = value as Partial<WorkerInfo> | null;
  return typeof info?.id === 'string' && Number.isSafeInteger(info.slots) && Number.isSafeInteger(info.busy)
    ? (info as WorkerInfo)
    : undefined;
}
