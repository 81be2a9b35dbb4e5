import { createWorkPool } from '../collect/work-pool.ts';

/** Runs `work` for every item of a stream, at most `limit` at a time; never holds more items than that. The first failure ends it. */
export async function forEachParallel<T>(
  items: AsyncIterable<T>,
  limit: number,
  work: (item: T) => Promise<void>,
): Promise<void> {
  const pool = createWorkPool(limit);
  for await (const item of items) await pool.add(() => work(item));
  await pool.drain();
}
