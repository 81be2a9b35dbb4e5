import type { StoreContext } from '../store/context.ts';
import type { Examiner } from './examiner.ts';
import type { Finding } from './finding.ts';
import type { KeyPartitions } from './key-partitions.ts';

/** What was looked at. */
export interface VerifyCounts {
  repositories: number;
  manifests: number;
  tags: number;
  links: number;
  references: number;
  blobs: number;
  /** Of all blobs that are not being deleted. */
  blobBytes: number;
  dataObjects: number;
  dataBytes: number;
  uploads: number;
  /** Left by deletes; 64 bytes each. */
  tombstones: number;
}

export type VerifyStep = 'blobs' | 'uploads' | 'data' | 'repositories';

/** What the steps of one verification share. */
export interface Verification {
  readonly context: StoreContext;
  readonly examiner: Examiner;
  readonly counts: VerifyCounts;
  /** Data keys that a pointer or an upload session names. */
  readonly named: KeyPartitions;
  readonly bytes: boolean;
  readonly parallel: number;
  /** Milliseconds: younger bytes that nothing names may belong to a push that is under way. */
  readonly youngMs: number;
  /** Told without a second look. */
  report(found: Finding): void;
  progress(step: VerifyStep): void;
}

export function emptyCounts(): VerifyCounts {
  return {
    repositories: 0,
    manifests: 0,
    tags: 0,
    links: 0,
    references: 0,
    blobs: 0,
    blobBytes: 0,
    dataObjects: 0,
    dataBytes: 0,
    uploads: 0,
    tombstones: 0,
  };
}
