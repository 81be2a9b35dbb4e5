import { createBoundedCache } from '../../core/bounded-cache.ts';
import type { ObjectStore } from '../../core/object-store/object-store.ts';
import { pacedStore } from '../collect/paced-store.ts';
import { walkFolders } from '../collect/walk.ts';
import { createStoreContext } from '../store/create-context.ts';
import { isUnder } from '../store/paths.ts';
import { createExaminer } from './examiner.ts';
import { type Finding, type FindingKind, finding, type Severity } from './finding.ts';
import { createKeyPartitions } from './key-partitions.ts';
import { emptyCounts, type Verification, type VerifyCounts, type VerifyStep } from './verification.ts';
import { verifyBlobs } from './verify-blobs.ts';
import { verifyData } from './verify-data.ts';
import { verifyRepositories } from './verify-repositories.ts';
import { verifyUploads } from './verify-uploads.ts';

export interface VerifyOptions {
  readonly store: ObjectStore;
  /** Read the bytes of all blobs and compare them with their digests. Default false. */
  readonly bytes?: boolean;
  /** Requests at once; default 32. */
  readonly parallel?: number;
  /** Requests to the store in a second; default 0 = no limit. */
  readonly requestsPerSecond?: number;
  /** What `registry.allowMissingBlobs` says: images without all of their layers are no damage. Default false. */
  readonly allowMissingBlobs?: boolean;
  /** Prefixes of mirrored repositories: their layers come when somebody pulls them. Default none. */
  readonly mirrored?: readonly string[];
  /** First parts of keys that other rooms write; whatever else is there is told as unknown. */
  readonly otherPrefixes?: readonly string[];
  /** Milliseconds; unnamed bytes that are younger may belong to a push that is under way. Default one hour. */
  readonly youngMs?: number;
  /** See `ExaminerOptions`. */
  readonly waits?: readonly number[];
  readonly onFinding: (found: Finding) => void;
  /** How many things of a step were looked at so far; told now and then. */
  readonly onProgress?: (step: VerifyStep, done: number) => void;
  readonly wait?: (milliseconds: number) => Promise<void>;
  /** Milliseconds since the epoch; default Date.now. */
  readonly clock?: () => number;
}

export interface VerifyResult {
  readonly counts: Readonly<VerifyCounts>;
  readonly findings: Readonly<Partial<Record<FindingKind, number>>>;
  readonly severities: Readonly<Record<Severity, number>>;
  /** To the store. */
  readonly requests: number;
}

const ownPrefixes = ['data', 'blobs', 'repos', 'refs', 'catalog', 'uploads', 'gcq'];
const progressEvery = 100;

/**
 * Reads everything that the registry keeps in a store and tells of each inconsistency, while people push, delete and collect.
 * Changes nothing. Memory does not grow with the store: lists are merged page by page. Errors: ObjectStoreUnavailable.
 */
export async function verifyStore(options: VerifyOptions): Promise<VerifyResult> {
  const { store, onFinding, onProgress, parallel = 32, requestsPerSecond = 0 } = options;
  const plain = createStoreContext({ ...options, store });
  let requests = 0;
  const onRequest = (): void => void requests++;
  const context = {
    ...plain,
    store: pacedStore(store, { rate: requestsPerSecond, concurrency: parallel, onRequest }),
  };
  const findings: Partial<Record<FindingKind, number>> = {};
  const severities = { damage: 0, garbage: 0, note: 0 };
  // Whoever needs an unreadable object stumbles over it.
  const unreadable = createBoundedCache<string, true>(10_000);
  const { mirrored = [] } = options;
  const report = (raw: Finding): void => {
    const onItsWay = raw.kind === 'missing-child' && mirrored.some((prefix) => isUnder(raw.key, prefix));
    const found = onItsWay ? finding('missing-blob', raw.key, raw.detail, raw.version) : raw;
    if (found.kind === 'unreadable-record') {
      if (unreadable.has(found.key)) return;
      unreadable.set(found.key, true);
    }
    findings[found.kind] = (findings[found.kind] ?? 0) + 1;
    severities[found.severity]++;
    onFinding(found);
  };
  const done: Partial<Record<VerifyStep, number>> = {};
  const verification: Verification = {
    context,
    examiner: createExaminer({
      context,
      onFinding: report,
      parallel,
      ...(options.waits === undefined ? {} : { waits: options.waits }),
    }),
    counts: emptyCounts(),
    named: createKeyPartitions(),
    bytes: options.bytes ?? false,
    parallel,
    youngMs: options.youngMs ?? 60 * 60 * 1000,
    report,
    progress(step) {
      const now = (done[step] ?? 0) + 1;
      done[step] = now;
      if (now % progressEvery === 1) onProgress?.(step, now);
    },
  };
  try {
    await findUnknown(verification, options.otherPrefixes ?? []);
    await verifyBlobs(verification);
    await verifyUploads(verification);
    await verifyData(verification);
    await verifyRepositories(verification);
    await verification.examiner.settle();
  } finally {
    await verification.named.close();
  }
  return { counts: verification.counts, findings, severities, requests };
}

async function findUnknown(verification: Verification, others: readonly string[]): Promise<void> {
  const known = new Set([...ownPrefixes, ...others]);
  for await (const folder of walkFolders(verification.context.store, '')) {
    if (!known.has(folder)) verification.report(finding('unknown-key', `${folder}/`));
  }
}
