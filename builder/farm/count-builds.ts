import { JobFailed, type JobHandler } from '../../core/queue/job-queue.ts';
import type { AttemptDetail, BuildDetails } from './build-detail.ts';
import { addTotals, type BuildTotals, noTotals, totalsOf } from './build-totals.ts';
import type { TotalsStore } from './totals-store.ts';

/** Sums up what the builds of one worker did, and writes it down now and then. */
export interface BuildCounter {
  /** Runs what `handler` runs, and counts it. */
  counted(handler: JobHandler): JobHandler;
  /** Writes what is left. */
  close(): Promise<void>;
}

export interface BuildCounterDeps {
  readonly totals: Pick<TotalsStore, 'write'>;
  readonly details: Pick<BuildDetails, 'get'>;
  /** Names this start of the worker: no other one writes under it. */
  readonly worker: string;
  readonly onError: (error: unknown) => void;
  /** Milliseconds from the end of a build until it is written down; default 2,000. */
  readonly flushMs?: number;
}

/** A worker that lives writes at least so often, or it is taken for gone after a day (see `TotalsStore.retire`). */
const touchMs = 60 * 60 * 1000;

export function createBuildCounter(deps: BuildCounterDeps): BuildCounter {
  let totals: BuildTotals = noTotals;
  let written: BuildTotals = noTotals;
  let timer: NodeJS.Timeout | undefined;
  const counting = new Set<Promise<void>>();
  let writing: Promise<void> = Promise.resolve();

  function write(): void {
    clearTimeout(timer);
    timer = undefined;
    const now = totals;
    writing = writing
      .then(() => deps.totals.write(deps.worker, now))
      .then(() => {
        written = now;
      })
      .catch(deps.onError);
  }

  const touch = setInterval(() => {
    if (totals !== noTotals) write();
  }, touchMs);
  touch.unref();

  async function count(
    id: string,
    fence: number,
    retried: boolean,
    outcome: AttemptDetail['outcome'],
  ): Promise<void> {
    // The attempt may have run in another process; what it left in the store tells of it.
    const detail = await deps.details.get(id, fence).catch(deps.onError);
    totals = addTotals(totals, totalsOf(outcome, retried, detail ?? undefined));
    timer ??= setTimeout(write, deps.flushMs ?? 2_000).unref();
  }

  return {
    counted: (handler) => async (job, context) => {
      let outcome: AttemptDetail['outcome'] = 'succeeded';
      try {
        return await handler(job, context);
      } catch (error) {
        if (context.signal.aborted) outcome = 'stopped';
        else outcome = error instanceof JobFailed ? 'failed' : 'fault';
        throw error;
      } finally {
        // Nobody waits for it.
        const counted: Promise<void> = count(job.id, context.fence, job.attempts > 1, outcome).finally(() =>
          counting.delete(counted),
        );
        counting.add(counted);
      }
    },
    async close() {
      clearInterval(touch);
      await Promise.all(counting);
      if (totals !== written) write();
      await writing;
    },
  };
}
