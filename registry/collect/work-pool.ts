/** Runs jobs side by side, so many at a time, for whoever makes them one after another. */
export interface WorkPool {
  /** Resolves when the job has begun: the caller goes no faster than the pool. Errors: that of an earlier job. */
  add(job: () => Promise<void>): Promise<void>;
  /** Resolves when all jobs have ended. Errors: the first one of a job. */
  drain(): Promise<void>;
}

export function createWorkPool(limit: number): WorkPool {
  const running = new Set<Promise<void>>();
  let failure: { error: unknown } | undefined;
  const check = (): void => {
    if (failure !== undefined) throw failure.error;
  };
  return {
    async add(job) {
      while (running.size >= limit) await Promise.race(running);
      check();
      const run: Promise<void> = job()
        .catch((error: unknown) => {
          failure ??= { error };
        })
        .finally(() => running.delete(run));
      running.add(run);
    },
    async drain() {
      while (running.size > 0) await Promise.all(running);
      check();
    },
  };
}
