import type { Digest } from '../../oci/digest.ts';
import type { StoreContext } from '../store/context.ts';
import { inParallel } from '../store/in-parallel.ts';
import { isReadable, readManifestRecord } from '../store/manifest-record.ts';
import {
  type BlobReference,
  blobReferencesPrefix,
  manifestKey,
  parseManifestReferenceKey,
  repositoryPrefix,
} from '../store/paths.ts';
import { buryRecord } from '../store/record.ts';
import { timeLeft, type WaitOptions } from './store-time.ts';
import { walkReferences, walkRepository } from './walk.ts';

export interface ScrubOptions extends WaitOptions {
  /** Claims older than so many milliseconds are ended on the way; undefined = none are. Safe at any age, 0 included. */
  readonly claimsOlderThanMs?: number;
  /** Attempts of records seen earlier: spares reading a record for each of its references. */
  readonly known?: KnownAttempts;
  /** Says what would be done. */
  readonly dryRun?: boolean;
}

/** Any bounded map. What it says may be old: it is believed only where that keeps something. */
export interface KnownAttempts {
  get(record: string): string | undefined;
  set(record: string, attempt: string): unknown;
}

export interface ScrubOutcome {
  readonly kept: number;
  readonly dropped: number;
  /** Claims that nobody finished. */
  readonly expired: number;
}

/** What an attempt of one manifest left under `key`. */
interface AttemptEntry {
  readonly key: string;
  readonly repository: string;
  readonly manifest: Digest;
  readonly attempt: string;
}

/**
 * Deletes those references of a blob whose attempt is not their record's: garbage for ever, at any age, as the claim comes before
 * the references, and the commit of a claim that was replaced fails. Errors: ObjectStoreUnavailable.
 */
export async function scrubBlobReferences(
  context: StoreContext,
  digest: Digest,
  options: ScrubOptions = {},
): Promise<ScrubOutcome> {
  let total = nothing;
  for await (const { references } of walkReferences(context.store, {
    prefix: blobReferencesPrefix(digest),
  })) {
    total = add(total, await scrubListed(context, references, options));
  }
  return total;
}

/** The same for references that were listed before this call. */
export function scrubListed(
  context: StoreContext,
  references: readonly BlobReference[],
  options: ScrubOptions = {},
): Promise<ScrubOutcome> {
  return scrubEntries(context, references, options);
}

/** The same for what the indexes of a repository need of its manifests. */
export function scrubManifestReferences(
  context: StoreContext,
  repository: string,
  options: ScrubOptions = {},
): Promise<ScrubOutcome> {
  return scrubKind(context, repository, '_mrefs', options);
}

/** The same for a repository's lists of referrers. */
export function scrubReferrers(
  context: StoreContext,
  repository: string,
  options: ScrubOptions = {},
): Promise<ScrubOutcome> {
  return scrubKind(context, repository, '_referrers', options);
}

async function scrubKind(
  context: StoreContext,
  repository: string,
  kind: '_mrefs' | '_referrers',
  options: ScrubOptions,
): Promise<ScrubOutcome> {
  const prefix = repositoryPrefix(repository, kind);
  let total = nothing;
  let batch: AttemptEntry[] = [];
  const flush = async (): Promise<void> => {
    total = add(total, await scrubEntries(context, batch, options));
    batch = [];
  };
  for await (const { key } of walkRepository(context, repository, kind)) {
    const entry = parseManifestReferenceKey(key);
    if (entry === undefined) continue;
    batch.push({ key: prefix + key, repository, manifest: entry.manifest, attempt: entry.attempt });
    if (batch.length === entriesAtOnce) await flush();
  }
  await flush();
  return total;
}

const entriesAtOnce = 1000;

async function scrubEntries(
  context: StoreContext,
  entries: readonly AttemptEntry[],
  options: ScrubOptions,
): Promise<ScrubOutcome> {
  const garbage: string[] = [];
  let expired = 0;
  // One look per record, though a manifest's references of one blob are usually alone.
  const byRecord = new Map<string, AttemptEntry[]>();
  for (const entry of entries) {
    const record = manifestKey(entry.repository, entry.manifest);
    if (options.known?.get(record) === entry.attempt) continue;
    const group = byRecord.get(record);
    if (group === undefined) byRecord.set(record, [entry]);
    else group.push(entry);
  }
  await inParallel([...byRecord], async ([record, group]) => {
    const [{ repository, manifest }] = group as [AttemptEntry];
    // Read after the entries were listed, never remembered from before: a claim made in between has entries of its own there.
    const { header } = await readManifestRecord(context, repository, manifest, { headerOnly: true });
    let attempt = header?.attempt;
    if (header?.state === 'pending' && options.claimsOlderThanMs !== undefined) {
      const claim = { ...options, olderThanMs: options.claimsOlderThanMs };
      if (await expireClaim(context, repository, manifest, claim)) {
        expired++;
        attempt = undefined;
      }
    }
    if (attempt !== undefined && header?.state !== 'pending') options.known?.set(record, attempt);
    for (const entry of group) if (entry.attempt !== attempt) garbage.push(entry.key);
  });
  if (options.dryRun !== true && garbage.length > 0) await context.store.deleteMany(garbage);
  return { kept: entries.length - garbage.length, dropped: garbage.length, expired };
}

/**
 * Ends a claim on a manifest that nobody finished. Whoever made it, if he lives, fails to commit and starts over.
 * False: there is none, or it is younger. Errors: ObjectStoreUnavailable.
 */
export async function expireClaim(
  context: StoreContext,
  repository: string,
  digest: Digest,
  options: WaitOptions & { readonly olderThanMs: number; readonly dryRun?: boolean },
): Promise<boolean> {
  const record = await readManifestRecord(context, repository, digest, { headerOnly: true });
  if (record.header === undefined || isReadable(record)) return false;
  if ((await timeLeft(context, record.modified, options.olderThanMs, options)) > 0) return false;
  return options.dryRun === true || buryRecord(context, manifestKey(repository, digest), record);
}

const nothing: ScrubOutcome = { kept: 0, dropped: 0, expired: 0 };

function add(a: ScrubOutcome, b: ScrubOutcome): ScrubOutcome {
  return { kept: a.kept + b.kept, dropped: a.dropped + b.dropped, expired: a.expired + b.expired };
}
