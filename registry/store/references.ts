import type { StoreContext } from './context.ts';
import { inParallel } from './in-parallel.ts';

/** Empty objects whose keys say everything. Durable on return; one by one they cost no fsync, only their directories do. */
export async function putReferences(context: StoreContext, keys: readonly string[]): Promise<void> {
  const nothing = Buffer.alloc(0);
  await inParallel(keys, (key) => context.store.put(key, nothing, { durability: 'process' }));
  await context.store.syncPrefixes([...new Set(keys.map(parentOf))]);
}

function parentOf(key: string): string {
  return key.slice(0, key.lastIndexOf('/') + 1);
}
