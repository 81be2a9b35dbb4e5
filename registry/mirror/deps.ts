import type { Registry } from '../../oci/registry.ts';
import type { MirrorOptions } from './mirror.ts';

/** The part of a logger that mirrors need; a pino logger is one. */
export interface MirrorLog {
  warn(fields: Record<string, unknown>, message: string): void;
}

/** `unknown`: it has no such thing; `refused`: it refuses the mirror's account; `limited`: 429; `failed`: everything else. */
export type UpstreamOutcome = 'answered' | 'unknown' | 'refused' | 'limited' | 'failed';

/** For whoever counts; must not throw. `upstream` is its host. */
export interface MirrorObserver {
  asked(upstream: string, outcome: UpstreamOutcome): void;
  /** A blob began to come in. */
  fetching(upstream: string, bytes: number): void;
  /** A tag was served without being compared. */
  servedStale(upstream: string): void;
}

export interface MirrorDeps {
  readonly mirrors: readonly MirrorOptions[];
  /**
   * The registry that is mirrored into, over the same store, accepting manifests whose blobs are not there yet
   * (`allowMissingBlobs`): a manifest is committed before the blobs that pulls bring later, and protects them from the start.
   */
  readonly sparse: Registry;
  /** Folder on this machine's disk for blobs on their way. */
  readonly spoolFolder: string;
  readonly log: MirrorLog;
  readonly observer?: MirrorObserver;
  /** Milliseconds since the epoch; default Date.now. */
  readonly clock?: () => number;
  /** Milliseconds after which what is stored is served while the upstream still thinks. Default 5,000. */
  readonly patienceMs?: number;
}
