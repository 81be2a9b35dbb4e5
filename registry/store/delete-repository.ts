import { isDigest } from '../../oci/digest.ts';
import { isOciError, OciError } from '../../oci/errors.ts';
import { leaveBlobHints } from '../collect/hints.ts';
import { isKnownRepository, removeRepository } from './catalog.ts';
import type { StoreContext } from './context.ts';
import { deleteManifest } from './delete-manifest.ts';
import { inParallel } from './in-parallel.ts';
import { readLink } from './link.ts';
import { isReadable, readManifestRecord } from './manifest-record.ts';
import { linkKey, manifestKey, type RepositoryKind, repositoryPrefix } from './paths.ts';
import { buryRecord, tombstoneSize } from './record.ts';
import { buryTag, readTag } from './tags.ts';

export interface DeleteRepositoryResult {
  /** False: time was up, or others keep pushing; call again to go on. */
  readonly done: boolean;
  /** Manifests that this call deleted. */
  readonly manifests: number;
}

export interface DeleteRepositoryOptions {
  /** Milliseconds since the epoch, by `context.clock`: stops soon after. Default: never. */
  readonly until?: number;
}

/** Whoever pushes all the time is not waited for for ever. */
const rounds = 20;

/**
 * Removes everything from a repository and the repository from the catalog, in the order of design "DELETE": records first,
 * links last, then the catalog entry. May be called by several at once and again after it was interrupted.
 *
 * What is pushed meanwhile is either deleted with the rest, refused (MANIFEST_BLOB_UNKNOWN: its layers are gone), or begins the
 * repository anew with layers that were pushed anew. A push claims its record before it looks at its links the last time; here
 * links end before records are looked for the last time. Errors: NAME_UNKNOWN, ObjectStoreUnavailable.
 */
export async function deleteRepository(
  context: StoreContext,
  repository: string,
  options: DeleteRepositoryOptions = {},
): Promise<DeleteRepositoryResult> {
  let manifests = 0;
  let known = await isKnownRepository(context, repository);
  const isLate = (): boolean => options.until !== undefined && context.clock() >= options.until;
  /** Every object of a kind that is no tombstone, a page at a time. False: time is up. */
  const forEach = async (
    kind: RepositoryKind,
    end: (name: string) => Promise<void>,
    after?: (names: readonly string[]) => Promise<void>,
  ): Promise<boolean> => {
    const prefix = repositoryPrefix(repository, kind);
    let startAfter: string | undefined;
    do {
      const page = await context.store.list({ prefix, ...(startAfter === undefined ? {} : { startAfter }) });
      const live = page.objects.filter(({ size }) => size !== tombstoneSize);
      known ||= live.length > 0;
      for (let start = 0; start < live.length; start += 100) {
        if (isLate()) return false;
        const names = live.slice(start, start + 100).map(({ key }) => key.slice(prefix.length));
        await inParallel(names, end, 16);
        await after?.(names);
      }
      startAfter = page.next;
    } while (startAfter !== undefined);
    return true;
  };

  for (let round = 1; round <= rounds; round++) {
    const finished =
      (await forEach('_manifests', async (digest) => {
        if (await endManifest(context, repository, digest)) manifests++;
      })) &&
      (await forEach('_tags', (tag) => endTag(context, repository, tag))) &&
      (await forEach(
        '_blobs',
        (digest) => endLink(context, repository, digest),
        (digests) => leaveBlobHints(context, digests.filter(isDigest)),
      ));
    if (!known) throw new OciError('NAME_UNKNOWN', { detail: { name: repository } });
    if (!finished) break;
    // Looks for records once more, after the links are gone.
    if (await removeRepository(context, repository)) return { done: true, manifests };
  }
  return { done: false, manifests };
}

/** True: it was there for readers. A claim is ended too: its push then looks at its links again. */
async function endManifest(context: StoreContext, repository: string, digest: string): Promise<boolean> {
  if (!isDigest(digest)) return false;
  for (;;) {
    const record = await readManifestRecord(context, repository, digest, { headerOnly: true });
    if (record.header === undefined) return false;
    if (!isReadable(record)) {
      if (await buryRecord(context, manifestKey(repository, digest), record)) return false;
      continue;
    }
    try {
      await deleteManifest(context, repository, digest);
      return true;
    } catch (error) {
      if (!isOciError(error, 'MANIFEST_UNKNOWN')) throw error;
    }
  }
}

/** Only what an interrupted delete or push left: the tags of manifests went with them. */
async function endTag(context: StoreContext, repository: string, tag: string): Promise<void> {
  const version = await readTag(context, repository, tag);
  if (version.header === undefined) return;
  const record = await readManifestRecord(context, repository, version.header.digest, { headerOnly: true });
  if (!isReadable(record)) await buryTag(context, repository, tag, version);
}

async function endLink(context: StoreContext, repository: string, digest: string): Promise<void> {
  if (!isDigest(digest)) return;
  for (;;) {
    const link = await readLink(context, repository, digest);
    if (link.header === undefined) return;
    if (await buryRecord(context, linkKey(repository, digest), link)) return;
  }
}
