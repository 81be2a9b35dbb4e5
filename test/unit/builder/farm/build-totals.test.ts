import { describe, expect, it } from 'vitest';
import type { AppDetail, AttemptDetail } from '../../../../builder/farm/build-detail.ts';
import { addTotals, noTotals, phaseBuckets, totalsOf } from '../../../../builder/farm/build-totals.ts';
import { createBuildCounter } from '../../../../builder/farm/count-builds.ts';
import { createTotalsStore } from '../../../../builder/farm/totals-store.ts';
import { createMemoryStore } from '../../../../core/object-store/memory.ts';
import type { JobContext, JobRecord } from '../../../../core/queue/job-queue.ts';
import { JobFailed } from '../../../../core/queue/job-queue.ts';

const made = {
  digest: 'sha256:x',
  layers: {
    mountedBytes: 100,
    mountedLayers: 3,
    skippedBytes: 10,
    skippedLayers: 1,
    storedBytes: 5,
    storedLayers: 2,
  },
} as AppDetail;
const unchanged = { digest: 'sha256:y', unchanged: 'other' } as AppDetail;
const detail = {
  phases: { plan: 20, build: 3000 },
  caches: { hit: 1, partial: 2, miss: 3 },
  logBytes: 7,
  apps: [made, unchanged],
};
const one = totalsOf('succeeded', false, detail);

describe('totals of builds', () => {
  it('are those of each attempt, added up', () => {
    const sum = addTotals(addTotals(noTotals, one), totalsOf('fault', true, undefined));

    expect(sum).toMatchObject({
      attempts: { succeeded: 1, failed: 0, stopped: 0, fault: 1 },
      retries: 1,
      results: { hit: 1, miss: 1 },
      dependencies: { hit: 1, partial: 2, miss: 3 },
      layers: { hit: 1, miss: 2 },
      bytes: { mounted: 100, skipped: 10, stored: 5 },
      logBytes: 7,
    });
    expect(Object.keys(sum.phases)).toEqual(['plan', 'build']);
    expect(sum.phases.build).toEqual({
      count: 1,
      sum: 3,
      buckets: phaseBuckets.map((most) => (most >= 3 ? 1 : 0)),
    });
  });

  it('count every worker once, also when those that are gone are added up by somebody who dies', async () => {
    const store = createMemoryStore();
    const totals = createTotalsStore(store);
    for (const worker of ['a', 'b', 'c']) await totals.write(worker, one);
    const builds = async (): Promise<number> => (await totals.read()).attempts.succeeded;
    expect(await builds()).toBe(3);

    // He dies before he deletes what he added up.
    const dying = createTotalsStore({ ...store, deleteMany: () => Promise.reject(new Error('killed')) });
    await expect(dying.retire(Number.POSITIVE_INFINITY)).rejects.toThrow('killed');
    expect(await builds()).toBe(3);
    await totals.write('d', one);
    await totals.retire(Number.POSITIVE_INFINITY);
    await totals.retire(Number.POSITIVE_INFINITY);

    expect(await builds()).toBe(4);
    expect((await store.list({ prefix: 'farm/totals/' })).objects).toEqual([]);
    await totals.write('e', one);
    await totals.retire(0);
    expect((await store.list({ prefix: 'farm/totals/' })).objects).toHaveLength(1);
  });

  it('of a worker are written when it closes, by how its builds ended', async () => {
    const totals = createTotalsStore(createMemoryStore());
    const get = async (): Promise<AttemptDetail> => ({ ...detail }) as unknown as AttemptDetail;
    const onError = (error: unknown): never => {
      throw error;
    };
    const counter = createBuildCounter({ totals, details: { get }, worker: 'w', onError });
    const stopped = new AbortController();
    stopped.abort();
    const run = async (attempts: number, signal: AbortSignal, error?: Error): Promise<void> => {
      const handler = counter.counted(async () => {
        if (error !== undefined) throw error;
        return {};
      });
      await handler({ id: 'x', attempts } as JobRecord, { signal, fence: attempts } as JobContext).catch(
        () => {},
      );
    };

    const { signal } = new AbortController();
    await run(1, signal);
    await run(1, signal, new JobFailed('no'));
    await run(2, signal, new Error('disk'));
    await run(3, stopped.signal, new Error('aborted'));
    await counter.close();

    expect(await totals.read()).toMatchObject({
      attempts: { succeeded: 1, failed: 1, stopped: 1, fault: 1 },
      retries: 2,
      logBytes: 28,
    });
  });
});
