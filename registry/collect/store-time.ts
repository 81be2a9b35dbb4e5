import type { StoreContext } from '../store/context.ts';
import { clockKey } from '../store/paths.ts';

/** How long something has to wait, and where "now" comes from. */
export interface WaitOptions {
  /**
   * A moment by the store's clock that has passed already; asked of the store where it is needed and not given. An old one only
   * makes things look younger than they are.
   */
  readonly storeTime?: Date;
}

/**
 * What the store takes for the time: clocks of servers may be an hour off, and every age here is measured against the store's own
 * `modified`. Costs a put and a head. Errors: ObjectStoreUnavailable.
 */
export async function readStoreTime(context: StoreContext): Promise<Date> {
  for (;;) {
    await context.store.put(clockKey, Buffer.alloc(0), { durability: 'process' });
    const info = await context.store.head(clockKey);
    if (info !== undefined) return info.modified;
  }
}

/** Milliseconds that are left until something written at `modified` is `ageMs` old; 0 = it is. */
export async function timeLeft(
  context: StoreContext,
  modified: Date | undefined,
  ageMs: number,
  options: WaitOptions,
): Promise<number> {
  if (ageMs <= 0) return 0;
  // Written by this very call.
  if (modified === undefined) return ageMs;
  const now = options.storeTime ?? (await readStoreTime(context));
  return Math.max(0, modified.getTime() + ageMs - now.getTime());
}
