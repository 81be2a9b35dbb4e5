import type { StoreContext } from '../store/context.ts';
import { collectionStateKey } from '../store/paths.ts';
import { type RecordHeader, readRecord, replaceRecord } from '../store/record.ts';
import type { CollectionReport } from './report.ts';
import type { FullProgress } from './run-full.ts';

/** What all collectors of a store know together; a lost one costs a full scan too early, and numbers in graphs. */
export interface CollectionState {
  /** Milliseconds since the epoch by the store's clock, when the last run began. */
  readonly lastRun?: number;
  /** The same of the last full scan that came to its end. */
  readonly lastFull?: number;
  /** A full scan that did not, begun at this time. */
  readonly unfinished?: { readonly begun: number; readonly progress: FullProgress } | undefined;
  /** The last run. */
  readonly report?: CollectionReport;
  readonly totals: CollectionTotals;
}

/** Since the store was made. */
export interface CollectionTotals {
  readonly runs: number;
  readonly errors: number;
  readonly blobsCondemned: number;
  readonly blobsDeleted: number;
  readonly bytesDeleted: number;
  readonly manifestsDeleted: number;
  readonly referencesDropped: number;
  readonly uploadsReaped: number;
}

interface StateHeader extends RecordHeader {
  readonly state: 'collection';
}

const none: CollectionTotals = {
  runs: 0,
  errors: 0,
  blobsCondemned: 0,
  blobsDeleted: 0,
  bytesDeleted: 0,
  manifestsDeleted: 0,
  referencesDropped: 0,
  uploadsReaped: 0,
};

/** Errors: ObjectStoreUnavailable. */
export async function readCollectionState(context: StoreContext): Promise<CollectionState> {
  return decode((await readRecord<StateHeader>(context, collectionStateKey)).payload);
}

/** Errors: ObjectStoreUnavailable. */
export async function recordRun(
  context: StoreContext,
  report: CollectionReport,
  changes: Partial<CollectionState>,
): Promise<void> {
  for (;;) {
    const seen = await readRecord<StateHeader>(context, collectionStateKey);
    const known = decode(seen.payload);
    const state = { ...known, ...changes, report, totals: addTotals(known.totals, report) };
    const written = await replaceRecord<StateHeader>(
      context,
      collectionStateKey,
      seen,
      { state: 'collection' },
      { payload: Buffer.from(JSON.stringify(state)), durability: 'process' },
    );
    if (written !== undefined) return;
  }
}

function addTotals(totals: CollectionTotals, report: CollectionReport): CollectionTotals {
  const { blobs, manifests, references, uploads } = report;
  return {
    runs: totals.runs + 1,
    errors: totals.errors + report.errors,
    blobsCondemned: totals.blobsCondemned + blobs.condemned,
    blobsDeleted: totals.blobsDeleted + blobs.deleted,
    bytesDeleted: totals.bytesDeleted + blobs.deletedBytes,
    manifestsDeleted: totals.manifestsDeleted + manifests.deleted,
    referencesDropped: totals.referencesDropped + references.dropped,
    uploadsReaped: totals.uploadsReaped + uploads.reaped,
  };
}

function decode(payload: Buffer): CollectionState {
  if (payload.length === 0) return { totals: none };
  const state = JSON.parse(payload.toString()) as CollectionState;
  return { ...state, totals: { ...none, ...state.totals } };
}
