/** Runs `work` for every item of a stream, at most `limit` at a time; never holds more items than that. The first failure ends it. */
export async function forEachParallel<T>(
  items: AsyncIterable<T>,
  limit: number,
  work: (item: T) => Promise<void>,
): Promise<void> {
  const iterator = items[Symbol.asyncIterator]();
  let failed = false;
  // A generator answers one `next` after the other, so workers may ask at once.
  const run = async (): Promise<void> => {
    for (;;) {
      const next = failed ? undefined : await iterator.next();
      if (next === undefined || next.done === true) return;
      await work(next.value);
    }
  };
  try {
    await Promise.all(
      Array.from({ length: limit }, () =>
        run().catch((error: unknown) => {
          failed = true;
          throw error;
        }),
      ),
    );
  } finally {
    await iterator.return?.();
  }
}
