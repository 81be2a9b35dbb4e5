import type { ObjectStore } from '../../core/object-store/object-store.ts';
import { createJobArchive } from '../../core/queue/job-archive.ts';
import { timeOfId } from '../git/time-ordered-id.ts';

/** How long people may ask what became of a webhook. Milliseconds. */
const keptMs = 30 * 24 * 60 * 60 * 1000;

/** Removes the records of deliveries that are over and older than 30 days. `now`: milliseconds since 1970. Errors: ObjectStoreUnavailable. */
export async function forgetOldDeliveries(store: ObjectStore, now: number): Promise<void> {
  const archive = createJobArchive(store, 'deliveries/');
  for await (const jobs of archive.walk()) {
    for (const { id } of jobs) if (now - (timeOfId(id) ?? now) > keptMs) await archive.forget(id);
  }
}
