import { setTimeout as sleep } from 'node:timers/promises';
import type { ObjectStore } from '../../core/object-store/object-store.ts';
import { createStoreContext } from '../store/create-context.ts';
import { type CollectOptions, collect, type RunOptions } from './collect.ts';
import { type CollectionState, readCollectionState } from './collection-state.ts';
import { type Lease, takeLease } from './lease.ts';
import type { CollectionReport } from './report.ts';
import { readStoreTime } from './store-time.ts';

/** The part of a logger that a collector needs; a pino logger is one. */
export interface CollectorLog {
  info(fields: Record<string, unknown>, message: string): void;
  warn(fields: Record<string, unknown>, message: string): void;
}

export interface CollectorOptions extends CollectOptions {
  readonly store: ObjectStore;
  /** What the store's conditional writes really do; a store that is not `collectionSafe` is not collected. */
  readonly probe: () => Promise<{ readonly collectionSafe: boolean; readonly reasons: readonly string[] }>;
  /** Who this is, for people: host and process. */
  readonly holder: string;
  readonly log: CollectorLog;
  /** Milliseconds from one run of `start` to the next. */
  readonly intervalMs: number;
  /** 32 fresh lower-case hex digits; default from the system's random source. */
  readonly random?: () => string;
}

export interface Collector {
  /** Errors: CollectionRefused, CollectorBusy, ObjectStoreUnavailable (before anything was done). */
  run(options?: RunOptions): Promise<CollectionReport>;
  /** What all collectors of this store did. Errors: ObjectStoreUnavailable. */
  state(): Promise<CollectionState>;
  /** Runs now and then until `close`, taking turns with the collectors of other processes. */
  start(): void;
  /** Ends a run under way; safe at any point. */
  close(): Promise<void>;
}

/**
 * Finds and removes what nobody needs, while everybody pushes and pulls. Any number of collectors over one store do no harm to
 * each other; a lease sees to it that only one works.
 */
export function createCollector(options: CollectorOptions): Collector {
  const { log } = options;
  const { store, random, untagged } = options;
  const context = createStoreContext({
    store,
    log,
    ...(random === undefined ? {} : { random }),
    hintUntagged: untagged !== undefined,
  });
  const closing = new AbortController();
  let looping: Promise<void> | undefined;

  async function run(wanted: RunOptions = {}): Promise<CollectionReport> {
    if (wanted.dryRun === true) return collect(context, options, wanted, [closing.signal]);
    const { collectionSafe, reasons } = await options.probe();
    if (!collectionSafe) throw new CollectionRefused(reasons);
    const taken = await takeLease(context, { holder: options.holder });
    if ('heldBy' in taken) throw new CollectorBusy(taken.heldBy, taken.waitMs);
    const { lease } = taken;
    try {
      return await collect(context, options, wanted, [closing.signal, lease.signal]);
    } finally {
      await release(lease);
    }
  }

  async function release(lease: Lease): Promise<void> {
    try {
      await lease.release();
    } catch (error) {
      log.warn({ err: error }, 'the lease of the collector could not be given back; it expires by itself');
    }
  }

  /** Another process may have run a moment ago: together they run once per interval. */
  async function runInTurn(): Promise<void> {
    const { lastRun } = await readCollectionState(context);
    const now = lastRun === undefined ? 0 : (await readStoreTime(context)).getTime();
    if (lastRun !== undefined && now - lastRun < options.intervalMs / 2) return;
    const report = await run();
    const { blobs, manifests, references, uploads, errors, mode, complete } = report;
    const worked = blobs.examined + manifests.deleted + references.dropped + uploads.reaped + errors > 0;
    if (worked)
      log.info({ mode, complete, blobs, manifests, references, uploads, errors }, 'collected garbage');
    if (errors > 0)
      log.warn({ errors, messages: report.messages }, 'parts of the store could not be collected');
  }

  async function loop(): Promise<void> {
    const { signal } = closing;
    // Servers that start together should not all ask at once.
    let waitMs = Math.min(options.intervalMs, 30_000) * (0.5 + Math.random() / 2);
    let refused = false;
    while (!signal.aborted) {
      try {
        await sleep(waitMs, undefined, { signal, ref: false });
        await runInTurn();
        refused = false;
      } catch (error) {
        if (signal.aborted) return;
        if (error instanceof CollectionRefused) {
          if (!refused) log.warn({ reasons: error.reasons }, 'garbage is not collected from this store');
          refused = true;
        } else if (!(error instanceof CollectorBusy)) {
          log.warn({ err: error }, 'garbage collection failed');
        }
      }
      waitMs = options.intervalMs;
    }
  }

  return {
    run,
    state: () => readCollectionState(context),
    start() {
      looping ??= loop();
    },
    async close() {
      closing.abort(new Error('the collector is closing'));
      await looping;
    },
  };
}

/** The store's conditional writes do not hold what the protocol needs. */
export class CollectionRefused extends Error {
  override readonly name = 'CollectionRefused';
  readonly reasons: readonly string[];
  constructor(reasons: readonly string[]) {
    super(`garbage cannot be collected from this store: ${reasons.join('; ')}`);
    this.reasons = reasons;
  }
}

export class CollectorBusy extends Error {
  override readonly name = 'CollectorBusy';
  readonly heldBy: string;
  /** Milliseconds until its lease ends, unless it is renewed. */
  readonly waitMs: number;
  constructor(heldBy: string, waitMs: number) {
    super(`another collector is at work: ${heldBy}`);
    this.heldBy = heldBy;
    this.waitMs = waitMs;
  }
}
