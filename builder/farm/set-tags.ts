import type { Digest } from '../../oci/digest.ts';
import { isOciError } from '../../oci/errors.ts';
import type { Registry } from '../../oci/registry.ts';
import type { WantedTag } from './image-tags.ts';
import type { TagRecord, TagRecords } from './tag-records.ts';

export interface SetTagsInput {
  readonly repository: string;
  readonly digest: Digest;
  readonly moving: readonly WantedTag[];
  readonly fixed: readonly string[];
  readonly sequence: number;
  readonly build: string;
  /** Goes into the record, see there. */
  readonly tree?: string;
}

export interface SetTagsResult {
  readonly set: readonly string[];
  /** Tags that a newer push of the same ref has: left alone. */
  readonly superseded: readonly string[];
  readonly clashes: readonly { readonly tag: string; readonly with: TagRecord }[];
}

/**
 * Moves tags in the order of pushes, whatever the order in which builds end: first the record says which digest a tag must have, then the tag is
 * set to what the record says, and the record is read again until it did not change meanwhile. Whoever sets a tag last has seen the
 * newest record.
 */
export async function setTags(
  deps: {
    registry: Registry;
    records: TagRecords;
    mayTakeOver: (source: string) => Promise<boolean>;
    /** Rejects when this worker lost the build. */
    confirm: () => Promise<void>;
  },
  input: SetTagsInput,
): Promise<SetTagsResult> {
  const { registry, records } = deps;
  const { repository, digest } = input;
  const claiming = Promise.all(
    input.moving.map(async (wanted) => ({
      tag: wanted.tag,
      claim: await records.claim(
        repository,
        wanted,
        {
          sequence: input.sequence,
          digest,
          build: input.build,
          ...(input.tree === undefined ? {} : { tree: input.tree }),
        },
        deps.mayTakeOver,
      ),
    })),
  );
  const looking = Promise.all(
    input.fixed.map(async (tag) => ((await exists(registry, repository, tag)) ? [] : [tag])),
  );
  // At the same time: claims go by the push's sequence, whichever worker makes them.
  const confirming = deps.confirm();
  await Promise.allSettled([claiming, looking, confirming]);
  await confirming;
  const [claims, fresh] = await Promise.all([claiming, looking.then((tags) => tags.flat())]);
  const mine = claims.filter(({ claim }) => claim.outcome === 'claimed').map(({ tag }) => tag);
  await putTags(registry, repository, digest, [...mine, ...fresh]);
  for (const tag of mine) await settleTag(registry, records, repository, tag, digest);
  return {
    set: [...mine, ...input.fixed],
    superseded: claims.filter(({ claim }) => claim.outcome === 'superseded').map(({ tag }) => tag),
    clashes: claims.flatMap(({ tag, claim }) =>
      claim.outcome === 'clash' ? [{ tag, with: claim.with }] : [],
    ),
  };
}

/** Sets the tag to what its record says, until the record stays the same: `digest` is what it was set to last. */
export async function settleTag(
  registry: Registry,
  records: TagRecords,
  repository: string,
  tag: string,
  digest: Digest,
): Promise<void> {
  let latest = digest;
  for (;;) {
    const record = await records.read(repository, tag);
    if (record === undefined || record.digest === latest) return;
    latest = record.digest;
    await putTags(registry, repository, latest, [tag]);
  }
}

/** Sets tags to a manifest that is there. */
export async function putTags(
  registry: Registry,
  repository: string,
  digest: Digest,
  tags: readonly string[],
): Promise<void> {
  if (tags.length === 0) return;
  const { bytes, descriptor } = await registry.getManifest(repository, digest);
  await registry.putManifest(repository, digest, bytes, descriptor.mediaType, { tags });
}

async function exists(registry: Registry, repository: string, tag: string): Promise<boolean> {
  try {
    await registry.resolveManifest(repository, tag);
    return true;
  } catch (error) {
    if (isOciError(error, 'MANIFEST_UNKNOWN') || isOciError(error, 'NAME_UNKNOWN')) return false;
    throw error;
  }
}
