import type { Metrics } from '../../core/metrics.ts';
import type { ObjectStore } from '../../core/object-store/object-store.ts';
import { readCollectionState } from '../../registry/collect/collection-state.ts';
import { createStoreContext } from '../../registry/store/create-context.ts';

/** A scrape of each process asks the store no more often. */
const rememberMs = 5000;

const helps = {
  brickyard_collection_runs_total: 'Runs of garbage collection, of all collectors of this store.',
  brickyard_collection_errors_total: 'Things that a run could not work on.',
  brickyard_collection_blobs_condemned_total:
    'Blobs that nobody references any more, and that may be needed again.',
  brickyard_collection_blobs_deleted_total: 'Blobs whose bytes were deleted.',
  brickyard_collection_bytes_freed_total: 'Bytes of deleted blobs.',
  brickyard_collection_manifests_deleted_total: 'Manifests that the policy for untagged ones removed.',
  brickyard_collection_references_dropped_total: 'References that no push stood behind.',
  brickyard_collection_uploads_reaped_total: 'Upload sessions that were ended or forgotten.',
  brickyard_collection_last_run_timestamp_seconds: 'When the last run began, by the store’s clock.',
  brickyard_collection_last_full_scan_timestamp_seconds:
    'When the last full scan that came to its end began.',
  brickyard_collection_last_run_duration_seconds: 'How long the last run took.',
} as const;

/** What all collectors of the store did, in the metrics of every process: they keep it in the store. */
export function addCollectionMetrics(metrics: Metrics, store: ObjectStore): void {
  const context = createStoreContext({ store });
  let known: { readAt: number; state: ReturnType<typeof readCollectionState> } | undefined;
  metrics.readings(helps, async () => {
    const now = performance.now();
    if (known === undefined || now - known.readAt > rememberMs) {
      known = { readAt: now, state: readCollectionState(context) };
    }
    const { totals, lastRun, lastFull, report } = await known.state;
    const values: Record<keyof typeof helps, number | undefined> = {
      brickyard_collection_runs_total: totals.runs,
      brickyard_collection_errors_total: totals.errors,
      brickyard_collection_blobs_condemned_total: totals.blobsCondemned,
      brickyard_collection_blobs_deleted_total: totals.blobsDeleted,
      brickyard_collection_bytes_freed_total: totals.bytesDeleted,
      brickyard_collection_manifests_deleted_total: totals.manifestsDeleted,
      brickyard_collection_references_dropped_total: totals.referencesDropped,
      brickyard_collection_uploads_reaped_total: totals.uploadsReaped,
      brickyard_collection_last_run_timestamp_seconds: lastRun === undefined ? undefined : lastRun / 1000,
      brickyard_collection_last_full_scan_timestamp_seconds:
        lastFull === undefined ? undefined : lastFull / 1000,
      brickyard_collection_last_run_duration_seconds:
        report === undefined ? undefined : (Date.parse(report.finished) - Date.parse(report.started)) / 1000,
    };
    return values;
  });
}
