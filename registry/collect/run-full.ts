import { createBoundedCache } from '../../core/bounded-cache.ts';
import type { Digest } from '../../oci/digest.ts';
import { pointersPrefix, referencesPrefix, repositoryPrefix } from '../store/paths.ts';
import { tombstoneSize } from '../store/record.ts';
import { attempt, type Run, review, settle } from './run.ts';
import {
  type KnownAttempts,
  type ScrubOptions,
  type ScrubOutcome,
  scrubListed,
  scrubManifestReferences,
  scrubReferrers,
} from './scrub.ts';
import { scrubTags } from './scrub-tags.ts';
import {
  type ListedReferences,
  type WalkOptions,
  walkFolders,
  walkKeys,
  walkPointers,
  walkReferences,
  walkRepositories,
} from './walk.ts';

/** How far a full scan has come that did not end: so the next one need not begin anew. */
export interface FullProgress {
  /** The last repository that was done; undefined = none; '' = all are. */
  repository?: string;
  /** Ranges of digests that were done. */
  readonly ranges: string[];
}

/** A pointer written this recently is a push under way more often than not: condemning it only makes it be turned back. */
const youngMs = 60 * 60 * 1000;
/** A claim that is older than any push. */
const claimsOlderThanMs = 60 * 60 * 1000;
const shards = 64;
const shardsAtOnce = 16;

/** Everything: needs no hint. Reads records and lists keys, and no pointer of a blob that is referenced. */
export async function runFull(run: Run, progress: FullProgress): Promise<void> {
  const known = createBoundedCache<string, string>(100_000);
  if (progress.repository !== '') await scanRepositories(run, progress, known);
  progress.repository = '';
  await scanBlobs(run, progress, known);
}

async function scanRepositories(run: Run, progress: FullProgress, known: KnownAttempts): Promise<void> {
  let done = 0;
  /** In order; those at the front are done as far as `ended` says. */
  const begun: string[] = [];
  const ended = new Set<string>();
  for await (const { repository } of walkRepositories(run.context.store, progress.repository)) {
    begun.push(repository);
    await attempt(run, async () => {
      await scanRepository(run, repository, known);
      ended.add(repository);
      for (let [first] = begun; first !== undefined && ended.delete(first); [first] = begun) {
        progress.repository = first;
        begun.shift();
      }
      run.onProgress('repositories', ++done);
    });
  }
  await settle(run);
}

async function scanRepository(run: Run, repository: string, known: KnownAttempts): Promise<void> {
  const { context, dryRun, tally, settings } = run;
  const options = scrubOptions(run, known);
  count(run, await scrubManifestReferences(context, repository, options));
  count(run, await scrubReferrers(context, repository, options));
  const tags = await scrubTags(context, repository, { dryRun });
  tally.tags.ended += tags.ended;
  tally.tags.reverseDropped += tags.dropped;
  if (settings.untagged?.appliesTo(repository) !== true) return;
  for await (const digest of untaggedManifests(run, repository)) {
    await reviewInRepository(run, repository, digest);
  }
}

/** Not through the pool: this is a job of the pool already. */
async function reviewInRepository(run: Run, repository: string, digest: Digest): Promise<void> {
  const inline = { ...run, pool: { add: (job: () => Promise<void>) => job(), drain: async () => {} } };
  await review(inline, { kind: 'manifest', repository, digest });
}

/** By three listings side by side; no record is read. */
async function* untaggedManifests(run: Run, repository: string): AsyncGenerator<Digest> {
  const { store } = run.context;
  const prefix = repositoryPrefix(repository, '_manifests');
  const tagged = createCursor(walkFolders(store, repositoryPrefix(repository, '_tagsof')));
  const held = createCursor(walkFolders(store, repositoryPrefix(repository, '_mrefs')));
  const before = run.storeTime.getTime() - run.settings.graceMs;
  for await (const { key, size, modified } of walkKeys(store, { prefix })) {
    if (size === tombstoneSize || (run.settings.graceMs > 0 && modified.getTime() > before)) continue;
    const digest = key.slice(prefix.length);
    if (!(await tagged.has(digest)) && !(await held.has(digest))) yield digest as Digest;
  }
}

/** Answers questions that come in ascending order from a sorted walk. */
function createCursor(walk: AsyncGenerator<string>) {
  let current: string | undefined = '';
  return {
    async has(text: string): Promise<boolean> {
      while (current !== undefined && current < text) {
        const next = await walk.next();
        current = next.done === true ? undefined : next.value;
      }
      return current === text;
    },
  };
}

/** Sorted listings of pointers and references side by side, many ranges of digests at a time. */
async function scanBlobs(run: Run, progress: FullProgress, known: KnownAttempts): Promise<void> {
  const ranges: WalkOptions[] = [];
  for (const algorithm of ['sha256', 'sha512']) ranges.push(...(await rangesOf(run, algorithm)));
  const open = ranges.filter(({ startAfter = '' }) => !progress.ranges.includes(startAfter));
  let done = ranges.length - open.length;
  let next = 0;
  const work = async (): Promise<void> => {
    for (let range = open[next++]; range !== undefined; range = open[next++]) {
      await scanRange(run, range, known);
      progress.ranges.push(range.startAfter ?? '');
      run.onProgress('blobs', ++done, ranges.length);
    }
  };
  // All of them have ended before the first failure is told: nothing goes on behind the caller's back.
  const outcomes = await Promise.allSettled(Array.from({ length: shardsAtOnce }, work));
  for (const outcome of outcomes) if (outcome.status === 'rejected') throw outcome.reason;
  await settle(run);
}

/** One range where everything fits into a page of the store. `startAfter` and `before` are behind `blobs/` and `refs/` alike. */
async function rangesOf(run: Run, algorithm: string): Promise<WalkOptions[]> {
  const whole = { prefix: `${algorithm}/`, startAfter: `${algorithm}/` };
  const page = await run.context.store.list({ prefix: `${pointersPrefix}${algorithm}/` });
  if (page.next === undefined) return [whole];
  return Array.from({ length: shards }, (_, index) => {
    const at = (shard: number): string =>
      `${algorithm}/${((shard * 256) / shards).toString(16).padStart(2, '0')}`;
    return {
      prefix: `${algorithm}/`,
      startAfter: at(index),
      ...(index + 1 < shards ? { before: at(index + 1) } : {}),
    };
  });
}

function below(prefix: string, range: WalkOptions): WalkOptions {
  return {
    prefix: prefix + range.prefix,
    startAfter: prefix + (range.startAfter ?? range.prefix),
    ...(range.before === undefined ? {} : { before: prefix + range.before }),
  };
}

async function scanRange(run: Run, range: WalkOptions, known: KnownAttempts): Promise<void> {
  const { context, storeTime, settings } = run;
  const options = scrubOptions(run, known);
  const youngest =
    settings.graceMs <= 0
      ? Number.POSITIVE_INFINITY
      : storeTime.getTime() - Math.min(youngMs, settings.graceMs);
  const references = walkReferences(context.store, below(referencesPrefix, range));
  let group: ListedReferences | undefined = await nextOf(references);
  /** Scrubs the references of one blob; true: some are left. */
  const scrubGroup = async (): Promise<boolean> => {
    const digest = group?.digest;
    let kept = 0;
    for (; group !== undefined && group.digest === digest; group = await nextOf(references)) {
      const outcome = await scrubListed(context, group.references, options);
      count(run, outcome);
      kept += outcome.kept;
    }
    return kept > 0;
  };
  for await (const { digest, object } of walkPointers(context.store, below(pointersPrefix, range))) {
    while (group !== undefined && group.digest < digest) await scrubGroup();
    if (group?.digest === digest && (await scrubGroup())) continue;
    if (object.modified.getTime() > youngest) continue;
    await review(run, { kind: 'blob', digest }, true);
  }
  while (group !== undefined) await scrubGroup();
}

async function nextOf<T>(walk: AsyncGenerator<T>): Promise<T | undefined> {
  const next = await walk.next();
  return next.done === true ? undefined : next.value;
}

function scrubOptions(run: Run, known: KnownAttempts): ScrubOptions {
  return { claimsOlderThanMs, known, storeTime: run.storeTime, dryRun: run.dryRun };
}

function count(run: Run, outcome: ScrubOutcome): void {
  const { references } = run.tally;
  references.kept += outcome.kept;
  references.dropped += outcome.dropped;
  references.claimsExpired += outcome.expired;
}
