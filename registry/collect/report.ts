import type { BlobOutcome } from './collect-blob.ts';
import type { ManifestOutcome } from './review-manifest.ts';

/** What one run did, or with `dryRun` would do. Bytes are those of blobs and uploads, not of the store's small objects. */
export interface CollectionReport {
  readonly mode: 'hints' | 'full';
  readonly dryRun: boolean;
  /** ISO times by this machine's clock. */
  readonly started: string;
  readonly finished: string;
  /** False: stopped, or the store failed; the next run goes on. */
  readonly complete: boolean;
  readonly blobs: {
    /** Looked at one by one, as a listing or a hint showed no reference. */
    readonly examined: number;
    /** From now on; they stay readable for the grace period. */
    readonly condemned: number;
    readonly condemnedBytes: number;
    /** Condemned by an earlier run and not due yet. */
    readonly waiting: number;
    readonly waitingBytes: number;
    readonly deleted: number;
    readonly deletedBytes: number;
    /** Condemned before, and needed again. */
    readonly revived: number;
  };
  readonly manifests: { readonly condemned: number; readonly waiting: number; readonly deleted: number };
  readonly references: { readonly kept: number; readonly dropped: number; readonly claimsExpired: number };
  readonly tags: { readonly ended: number; readonly reverseDropped: number };
  readonly uploads: { readonly reaped: number; readonly bytes: number; readonly aborted: number };
  /** ISO time by this machine's clock, when the first of what is condemned may go; undefined = nothing waits. */
  readonly nextDue?: string;
  /** Sent to the store. */
  readonly requests: number;
  /** Things that could not be worked on, and stay for the next run. */
  readonly errors: number;
  /** The first of them. */
  readonly messages: readonly string[];
}

type Counts<T> = { -readonly [K in keyof T]: T[K] };

/** Adds up a run. */
export interface Tally {
  readonly blobs: Counts<CollectionReport['blobs']>;
  readonly manifests: Counts<CollectionReport['manifests']>;
  readonly references: Counts<CollectionReport['references']>;
  readonly tags: Counts<CollectionReport['tags']>;
  readonly uploads: Counts<CollectionReport['uploads']>;
  requests: number;
  errors: number;
  readonly messages: string[];
  /** Milliseconds from now. */
  soonestMs: number | undefined;
  addBlob(outcome: BlobOutcome): void;
  addManifest(outcome: ManifestOutcome): void;
  addError(error: unknown): void;
  report(run: Pick<CollectionReport, 'mode' | 'dryRun' | 'complete'> & { started: Date }): CollectionReport;
}

const mostMessages = 10;

export function createTally(): Tally {
  const wait = (ms: number): void => {
    tally.soonestMs = Math.min(ms, tally.soonestMs ?? ms);
  };
  const tally: Tally = {
    blobs: {
      examined: 0,
      condemned: 0,
      condemnedBytes: 0,
      waiting: 0,
      waitingBytes: 0,
      deleted: 0,
      deletedBytes: 0,
      revived: 0,
    },
    manifests: { condemned: 0, waiting: 0, deleted: 0 },
    references: { kept: 0, dropped: 0, claimsExpired: 0 },
    tags: { ended: 0, reverseDropped: 0 },
    uploads: { reaped: 0, bytes: 0, aborted: 0 },
    requests: 0,
    errors: 0,
    messages: [],
    soonestMs: undefined,
    addBlob(outcome) {
      const { blobs } = tally;
      blobs.examined++;
      if (outcome.outcome === 'referenced' && outcome.revived) blobs.revived++;
      if (outcome.outcome === 'deleted') {
        blobs.deleted++;
        blobs.deletedBytes += outcome.size;
      }
      if (outcome.outcome !== 'condemned') return;
      if (outcome.fresh) {
        blobs.condemned++;
        blobs.condemnedBytes += outcome.size;
      } else {
        blobs.waiting++;
        blobs.waitingBytes += outcome.size;
      }
      wait(outcome.waitMs);
    },
    addManifest(outcome) {
      const { manifests } = tally;
      if (outcome.outcome === 'deleted') manifests.deleted++;
      if (outcome.outcome === 'condemned') {
        if (outcome.fresh) manifests.condemned++;
        else manifests.waiting++;
        wait(outcome.waitMs);
      }
    },
    addError(error) {
      tally.errors++;
      const text = error instanceof Error ? error.message : String(error);
      if (tally.messages.length < mostMessages && !tally.messages.includes(text)) tally.messages.push(text);
    },
    report({ started, ...run }) {
      const { blobs, manifests, references, tags, uploads, requests, errors, messages, soonestMs } = tally;
      return structuredClone({
        ...run,
        started: started.toISOString(),
        finished: new Date().toISOString(),
        blobs,
        manifests,
        references,
        tags,
        uploads,
        ...(soonestMs === undefined ? {} : { nextDue: new Date(Date.now() + soonestMs).toISOString() }),
        requests,
        errors,
        messages,
      });
    },
  };
  return tally;
}
