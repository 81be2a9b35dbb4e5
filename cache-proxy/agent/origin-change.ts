import { isDigest } from '../../oci/digest.ts';
import { isRepositoryName, isTag } from '../../oci/reference.ts';
import type { PurgeTarget } from '../pool-engine.ts';

/** What the origin says happened to one of its repositories. */
export type OriginChange =
  | {
      readonly action: 'push';
      readonly repository: string;
      readonly digest: string;
      /** That this push set; none for a push by digest. */
      readonly tags: readonly string[];
    }
  /** A manifest with all its tags. */
  | { readonly action: 'delete'; readonly repository: string; readonly digest: string }
  | { readonly action: 'untag'; readonly repository: string; readonly tag: string }
  /** A blob was taken out of the repository. */
  | { readonly action: 'unlink'; readonly repository: string; readonly digest: string }
  /** The whole repository was deleted; it may have begun anew since. */
  | { readonly action: 'remove'; readonly repository: string };

/** The data of one event of the origin's stream. Undefined: none that this version knows, or nothing that a registry could mean. */
export function readOriginChange(data: string): OriginChange | undefined {
  let event: unknown;
  try {
    event = JSON.parse(data);
  } catch {
    return undefined;
  }
  if (typeof event !== 'object' || event === null) return undefined;
  const { action, repository, digest, tag, tags } = event as Readonly<Record<string, unknown>>;
  if (typeof repository !== 'string' || !isRepositoryName(repository)) return undefined;
  if (action === 'remove') return { action, repository };
  if (action === 'untag')
    return typeof tag === 'string' && isTag(tag) ? { action, repository, tag } : undefined;
  if (typeof digest !== 'string' || !isDigest(digest)) return undefined;
  if (action === 'delete' || action === 'unlink') return { action, repository, digest };
  if (action !== 'push') return undefined;
  const set = Array.isArray(tags) ? tags : [];
  return {
    action,
    repository,
    digest,
    tags: set.filter((each): each is string => typeof each === 'string' && isTag(each)),
  };
}

/**
 * What a pool that follows its origin's deletions no longer keeps. A blob that one repository gave up may be another's: nobody reaches it through the first
 * any more, and the cache's own order sees to the rest.
 */
export function purgeTargetOf(change: OriginChange): PurgeTarget | undefined {
  switch (change.action) {
    case 'delete':
      return { digest: change.digest };
    case 'untag':
      return { repository: change.repository, tag: change.tag };
    case 'remove':
      return { repository: change.repository };
    case 'push':
    case 'unlink':
      return undefined;
  }
}
