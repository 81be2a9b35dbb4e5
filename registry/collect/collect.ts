import type { StoreContext } from '../store/context.ts';
import { type CollectionState, readCollectionState, recordRun } from './collection-state.ts';
import { leaveCondemned } from './hints.ts';
import { LeaseLost } from './lease.ts';
import { pacedStore } from './paced-store.ts';
import { type CollectionReport, createTally } from './report.ts';
import { type CollectionSettings, type OnProgress, type Run, settle } from './run.ts';
import { type FullProgress, runFull } from './run-full.ts';
import { runHints } from './run-hints.ts';
import { runUploads } from './run-uploads.ts';
import { readStoreTime } from './store-time.ts';
import { createWorkPool } from './work-pool.ts';

export interface CollectOptions extends CollectionSettings {
  /** Milliseconds from one full scan to the next; the runs between follow hints. */
  readonly fullIntervalMs: number;
  /** Requests per second to the store; 0 = as many as `concurrency` allows. */
  readonly rate: number;
  /** Requests at the same time; default 64. */
  readonly concurrency?: number;
}

export interface RunOptions {
  /** Default: where the last full scan is too long ago. */
  readonly full?: boolean;
  /** Changes nothing and takes no lease. */
  readonly dryRun?: boolean;
  /** Ends the run early; its report then is not `complete`. */
  readonly signal?: AbortSignal;
  readonly onProgress?: OnProgress;
}

/**
 * One run from beginning to end, or to where it is stopped; what is left is taken up by the next one.
 * Errors: ObjectStoreUnavailable, before anything was done; later ones are in the report.
 */
export async function collect(
  base: StoreContext,
  options: CollectOptions,
  { full, dryRun = false, signal: asked, onProgress = () => {} }: RunOptions,
  signals: readonly AbortSignal[],
): Promise<CollectionReport> {
  const signal = AbortSignal.any([...signals, ...(asked === undefined ? [] : [asked])]);
  const started = new Date();
  const tally = createTally();
  const { rate, concurrency = 64 } = options;
  const onRequest = (): void => {
    tally.requests++;
  };
  const store = pacedStore(base.store, { rate, concurrency, signal, onRequest });
  const context = { ...base, store };
  const known = await readCollectionState(base);
  // A dry run writes nothing, not even to learn the time: this machine's has to do.
  const storeTime = dryRun ? new Date() : await readStoreTime(base);
  const isFull =
    full ?? (known.lastFull === undefined || storeTime.getTime() - known.lastFull >= options.fullIntervalMs);
  const begun = isFull ? resume(known, storeTime, options) : undefined;
  const { graceMs, untagged } = options;
  const settings = untagged === undefined ? { graceMs } : { graceMs, untagged };
  const pool = createWorkPool(concurrency);
  const run: Run = {
    context,
    settings,
    dryRun,
    storeTime,
    tally,
    pool,
    signal,
    onProgress,
    marked: [],
    due: [],
  };
  let complete = false;
  try {
    await runUploads(run);
    await runHints(run);
    if (begun !== undefined) await runFull(run, begun.progress);
    await settle(run);
    complete = true;
  } catch (error) {
    if (!signal.aborted || signal.reason instanceof LeaseLost) tally.addError(error);
    // No job goes on behind the caller's back.
    await pool.drain().catch(() => {});
  }
  const mode = isFull ? 'full' : 'hints';
  const report = tally.report({ mode, dryRun, started, complete });
  if (dryRun) return report;
  try {
    // Stopped halfway: what was condemned or marked must not wait for the next full scan.
    await leaveCondemned(base, run.storeTime, [
      ...run.due,
      ...run.marked.map(({ digest }) => ({ kind: 'blob', digest }) as const),
    ]);
    const scan =
      begun === undefined
        ? {}
        : complete
          ? { lastFull: begun.begun, unfinished: undefined }
          : { unfinished: begun };
    await recordRun(base, report, { lastRun: storeTime.getTime(), ...scan });
    return report;
  } catch (error) {
    tally.addError(error);
    return tally.report({ mode, dryRun, started, complete: false });
  }
}

/** A scan that was cut off goes on, unless that was too long ago. */
function resume(
  known: CollectionState,
  storeTime: Date,
  options: CollectOptions,
): { begun: number; progress: FullProgress } {
  const { unfinished } = known;
  const now = storeTime.getTime();
  return unfinished !== undefined && now - unfinished.begun < options.fullIntervalMs / 7
    ? structuredClone(unfinished)
    : { begun: now, progress: { ranges: [] } };
}
