import type { Digest } from '../../oci/digest.ts';
import type { StoreContext } from '../store/context.ts';
import { finishDeletions, type MarkedBlob, markBlob } from './collect-blob.ts';
import { type Hint, hintsAtOnce, leaveCondemned } from './hints.ts';
import type { Tally } from './report.ts';
import { reviewManifest } from './review-manifest.ts';
import type { WorkPool } from './work-pool.ts';

/** Which manifests without a tag are removed. */
export interface UntaggedPolicy {
  /** Milliseconds that a manifest has to be without need. */
  readonly olderThanMs: number;
  readonly appliesTo: (repository: string) => boolean;
}

export interface CollectionSettings {
  /** Milliseconds that blobs stay condemned: as long as the slowest push, or whatever readers hold addresses for. */
  readonly graceMs: number;
  /** Undefined: manifests without a tag stay. */
  readonly untagged?: UntaggedPolicy;
}

/** How far a run has come, for whoever watches. */
export type CollectionPhase = 'uploads' | 'hints' | 'repositories' | 'blobs';
export type OnProgress = (phase: CollectionPhase, done: number, total?: number) => void;

/** What the parts of one run share. */
export interface Run {
  /** Its store is paced, and ends the run by an error when that is stopped. */
  readonly context: StoreContext;
  readonly settings: CollectionSettings;
  readonly dryRun: boolean;
  /** When the run began. */
  readonly storeTime: Date;
  readonly tally: Tally;
  readonly pool: WorkPool;
  readonly signal: AbortSignal;
  readonly onProgress: OnProgress;
  /** Blobs whose bytes go next. */
  readonly marked: MarkedBlob[];
  /** Condemned by this run, or not due yet. */
  readonly due: Hint[];
}

/** S3 deletes so many objects in one request. */
const deletionsAtOnce = 1000;
/** A store that fails this often is not worth asking any more. */
const mostErrors = 1000;

/** Puts the look at one blob or manifest into the pool. What fails is counted and left for the next run. */
export function review(run: Run, hint: Hint, unreferenced = false): Promise<void> {
  return attempt(run, async () => {
    try {
      if (hint.kind === 'blob') await reviewBlob(run, hint.digest, unreferenced);
      else await reviewUntagged(run, hint.repository, hint.digest);
    } catch (error) {
      // It may be condemned by now.
      run.due.push(hint);
      throw error;
    }
  });
}

/** Puts any job into the pool; its failure is counted. */
export function attempt(run: Run, job: () => Promise<void>): Promise<void> {
  return run.pool.add(async () => {
    try {
      await job();
    } catch (error) {
      if (run.signal.aborted || run.tally.errors >= mostErrors) throw error;
      run.tally.addError(error);
    }
  });
}

/** Ends what the pool has begun: nothing is left to a later part of the run. */
export async function settle(run: Run): Promise<void> {
  await run.pool.drain();
  await deleteMarked(run, run.marked.splice(0));
  await leaveDue(run);
}

async function reviewBlob(run: Run, digest: Digest, unreferenced: boolean): Promise<void> {
  const { context, settings, dryRun, storeTime, tally } = run;
  const { graceMs } = settings;
  const outcome = await markBlob(context, digest, { graceMs, dryRun, storeTime, unreferenced });
  if (outcome.outcome === 'deleting') {
    run.marked.push(outcome);
    if (run.marked.length >= deletionsAtOnce) await deleteMarked(run, run.marked.splice(0));
    return;
  }
  tally.addBlob(outcome);
  if (outcome.outcome === 'condemned') await remember(run, { kind: 'blob', digest });
}

async function reviewUntagged(run: Run, repository: string, digest: Digest): Promise<void> {
  const { context, settings, dryRun, storeTime, tally } = run;
  const { untagged, graceMs } = settings;
  if (untagged?.appliesTo(repository) !== true) return;
  const { olderThanMs } = untagged;
  const outcome = await reviewManifest(context, repository, digest, {
    graceMs,
    olderThanMs,
    dryRun,
    storeTime,
  });
  tally.addManifest(outcome);
  if (outcome.outcome === 'condemned' || outcome.outcome === 'young') {
    await remember(run, { kind: 'manifest', repository, digest });
  }
}

async function remember(run: Run, hint: Hint): Promise<void> {
  run.due.push(hint);
  if (run.due.length >= hintsAtOnce) await leaveDue(run);
}

async function leaveDue(run: Run): Promise<void> {
  const due = run.due.splice(0);
  if (run.dryRun) return;
  try {
    await leaveCondemned(run.context, run.storeTime, due);
  } catch (error) {
    run.due.push(...due);
    throw error;
  }
}

async function deleteMarked(run: Run, marked: readonly MarkedBlob[]): Promise<void> {
  if (marked.length === 0) return;
  try {
    await finishDeletions(run.context, marked);
  } catch (error) {
    run.due.push(...marked.map(({ digest }) => ({ kind: 'blob', digest }) as const));
    throw error;
  }
  for (const { size } of marked) run.tally.addBlob({ outcome: 'deleted', size });
}
