import { randomBytes } from 'node:crypto';
import type { ObjectStore } from '../../../../core/object-store/object-store.ts';
import type { StoreContext } from '../../../../registry/store/context.ts';

/** Waits for nothing: tests of what happens in between schedule it themselves. */
export function createContext(store: ObjectStore, overrides: Partial<StoreContext> = {}): StoreContext {
  return {
    store,
    clock: Date.now,
    wait: async () => {},
    random: () => randomBytes(16).toString('hex'),
    log: { warn: () => {} },
    allowMissingBlobs: false,
    ...overrides,
  };
}

/** Every key of the store, in byte order. */
export async function allKeys(store: ObjectStore, prefix = ''): Promise<string[]> {
  const keys: string[] = [];
  let startAfter: string | undefined;
  do {
    const page = await store.list({ prefix, ...(startAfter === undefined ? {} : { startAfter }) });
    keys.push(...page.objects.map(({ key }) => key));
    startAfter = page.next;
  } while (startAfter !== undefined);
  return keys;
}
