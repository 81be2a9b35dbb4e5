import { createHash, randomBytes } from 'node:crypto';
import { type ObjectStore, PreconditionFailed } from '../../core/object-store/object-store.ts';

/** Which deliveries were there before. Replicas agree, as the store lets one of them be the first. */
export interface SeenDeliveries {
  /**
   * Claims what names a delivery for the id `by`. Returns the id that has it: `by` itself, or an earlier one's, unless `forget` says that it
   * may be forgotten (it came to nothing).
   */
  claim(name: SeenName, by: string, forget: (id: string) => Promise<boolean>): Promise<string>;
  /** Removes what is older than a week. */
  sweep(): Promise<void>;
}

/** `scope`: within which `value`, which is the sender's and may be anything, has to be unique. */
export interface SeenName {
  readonly kind: 'delivery' | 'body' | 'nonce';
  readonly scope: string;
  readonly value: string | Uint8Array;
}

const prefix = 'hooks/seen/';
/** Providers send once more within three days (GitHub), people within a few. Milliseconds. */
const keptMs = 7 * 24 * 60 * 60 * 1000;

export function createSeenDeliveries(store: ObjectStore, now: () => number = Date.now): SeenDeliveries {
  return {
    async claim({ kind, scope, value }, by, forget) {
      const hash = createHash('sha256').update(`${scope}\0`).update(value).digest('hex');
      const key = `${prefix}${kind}-${hash}`;
      const body = Buffer.from(
        JSON.stringify({ state: 'seen', nonce: randomBytes(12).toString('hex'), id: by }),
      );
      for (;;) {
        const found = await store.get(key);
        const holder = found === undefined ? undefined : idOf(found.body, key);
        if (found !== undefined && holder !== undefined) {
          const old = now() - found.modified.getTime() > keptMs;
          if (holder === by || (!old && !(await forget(holder)))) return holder;
        }
        try {
          await store.put(key, body, found === undefined ? { ifNoneMatch: '*' } : { ifMatch: found.etag });
          return by;
        } catch (error) {
          if (!(error instanceof PreconditionFailed)) throw error;
        }
      }
    },
    async sweep() {
      let startAfter: string | undefined;
      do {
        const page = await store.list({ prefix, ...(startAfter === undefined ? {} : { startAfter }) });
        const old = page.objects.filter(({ modified }) => now() - modified.getTime() > keptMs);
        await store.deleteMany(old.map(({ key }) => key));
        startAfter = page.next;
      } while (startAfter !== undefined);
    },
  };
}

function idOf(body: Buffer, key: string): string {
  const { id } = JSON.parse(body.toString('utf8')) as { id?: unknown };
  if (typeof id !== 'string') throw new Error(`${key} is damaged`);
  return id;
}
