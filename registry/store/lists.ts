import type { Descriptor } from '../../oci/descriptor.ts';
import { type Digest, isDigest } from '../../oci/digest.ts';
import { OciError } from '../../oci/errors.ts';
import type { Page, PageOptions, ReferrersOptions } from '../../oci/registry.ts';
import { isKnownRepository } from './catalog.ts';
import type { StoreContext } from './context.ts';
import { inParallel } from './in-parallel.ts';
import { isReadable, readManifestRecord } from './manifest-record.ts';
import { catalogPrefix, referrersPrefix, splitVersion, tagPrefix } from './paths.ts';
import { tombstoneSize } from './record.ts';

/** distribution-spec: a page of referrers should not be larger than a manifest may be (4 MiB); leaves room for the frame. */
const referrersPageBytes = 3.5 * 1024 * 1024;

/** Errors: NAME_UNKNOWN. */
export async function listTags(
  context: StoreContext,
  repository: string,
  page: PageOptions,
): Promise<Page<string>> {
  const tags = await listRecords(context, tagPrefix(repository), page);
  if (tags.entries.length === 0 && !(await isKnownRepository(context, repository))) {
    throw new OciError('NAME_UNKNOWN', { detail: { name: repository } });
  }
  return tags;
}

export function listRepositories(context: StoreContext, page: PageOptions): Promise<Page<string>> {
  return listRecords(context, catalogPrefix, page);
}

/**
 * One page of names whose records are no tombstones; reads on until the page is full, or nearly, and no further: where the store has more,
 * `next` is given although all of that may be tombstones.
 */
async function listRecords(
  context: StoreContext,
  prefix: string,
  { limit, last }: PageOptions,
): Promise<Page<string>> {
  const entries: string[] = [];
  if (limit <= 0) return { entries };
  let startAfter = last === undefined ? undefined : `${prefix}${last}`;
  for (;;) {
    const page = await context.store.list({
      prefix,
      limit: Math.min(1000, Math.max(limit - entries.length, 100)),
      ...(startAfter === undefined ? {} : { startAfter }),
    });
    for (const { key, size } of page.objects) {
      if (size === tombstoneSize) continue;
      if (entries.length === limit) return { entries, next: entries.at(-1) as string };
      entries.push(key.slice(prefix.length));
    }
    if (page.next === undefined) return { entries };
    if (entries.length === limit || isAlmostFull(entries, limit)) {
      return { entries, next: entries.at(-1) as string };
    }
    startAfter = page.next;
  }
}

/**
 * Ceph ends a page early where one of an index's shards has no more to give: the rest would cost a second LIST. distribution-spec,
 * "Listing Tags", allows fewer than were asked for where a Link leads on.
 */
function isAlmostFull(entries: readonly string[], limit: number): boolean {
  return limit >= 100 && entries.length >= limit * 0.75;
}

export async function listReferrers(
  context: StoreContext,
  repository: string,
  subject: Digest,
  options: ReferrersOptions,
): Promise<Page<Descriptor>> {
  const { limit, artifactType } = options;
  const entries: Descriptor[] = [];
  if (limit <= 0) return { entries };
  const prefix = referrersPrefix(repository, subject);
  // `$` is the character after `#`: behind every attempt of that digest.
  let startAfter = options.last === undefined ? undefined : `${prefix}${options.last}$`;
  let bytes = 0;
  let previous: Digest | undefined;
  for (;;) {
    const listed = await context.store.list({
      prefix,
      limit: 64,
      ...(startAfter === undefined ? {} : { startAfter }),
    });
    const found = await inParallel(listed.objects, ({ key }) =>
      readReferrer(context, repository, key, prefix),
    );
    for (const referrer of found) {
      if (referrer === undefined) continue;
      const { descriptor, size } = referrer;
      if (artifactType !== undefined && descriptor.artifactType !== artifactType) continue;
      if (entries.length === limit || (entries.length > 0 && bytes + size > referrersPageBytes)) {
        return previous === undefined ? { entries } : { entries, next: previous };
      }
      entries.push(descriptor);
      bytes += size;
      previous = descriptor.digest;
    }
    if (listed.next === undefined) return { entries };
    startAfter = listed.next;
  }
}

/** An entry whose attempt is not its record's is garbage that a DELETE or a lost push left behind. */
async function readReferrer(
  context: StoreContext,
  repository: string,
  key: string,
  prefix: string,
): Promise<{ descriptor: Descriptor; size: number } | undefined> {
  const entry = splitVersion(key.slice(prefix.length));
  if (entry === undefined || !isDigest(entry.name)) return undefined;
  const [record, stored] = await Promise.all([
    readManifestRecord(context, repository, entry.name, { headerOnly: true }),
    context.store.get(key),
  ]);
  if (stored === undefined || !isReadable(record) || record.header.attempt !== entry.version)
    return undefined;
  return { descriptor: JSON.parse(stored.body.toString()) as Descriptor, size: stored.size };
}
