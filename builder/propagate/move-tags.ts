import type { Digest } from '../../oci/digest.ts';
import type { Registry } from '../../oci/registry.ts';
import { putTags, settleTag } from '../farm/set-tags.ts';
import type { TagProtection } from '../farm/tag-protection.ts';
import type { TagRecords } from '../farm/tag-records.ts';
import { found } from '../rebase/read-image.ts';
import type { DescendantTag } from './descendants.ts';

export interface MovedTags {
  readonly moved: readonly string[];
  /** Tags that were left where they are, and why. */
  readonly left: readonly { readonly tag: string; readonly reason: string }[];
}

/**
 * Moves an app's tags from one image of a push to another one of the same push. The record goes first, by compare-and-set with the sequence of
 * the build that set it, so a newer push always wins; then the tag, as `setTags` does it. Repeating it is no error.
 */
export async function moveTags(
  deps: { readonly registry: Registry; readonly records: TagRecords; readonly protection: TagProtection },
  input: {
    readonly repository: string;
    readonly from: Digest;
    readonly to: Digest;
    readonly tags: readonly DescendantTag[];
    /** Id of the wave that moves them. */
    readonly wave: string;
  },
): Promise<MovedTags> {
  const { registry, records, protection } = deps;
  const { repository, from, to, wave } = input;
  const claims = await Promise.all(
    input.tags.map(async ({ tag, source, sequence }) => {
      if (protection.protects(repository, tag)) return { tag, reason: 'only a promotion moves it' };
      const now = (await found(() => registry.resolveManifest(repository, tag)))?.digest;
      if (now === undefined) return { tag, reason: 'it was deleted' };
      if (now === from || now === to) {
        const expected = { source, sequence, digest: from };
        if (await records.replace(repository, tag, expected, { digest: to, wave })) return { tag };
      }
      const record = await records.read(repository, tag);
      const newer = record !== undefined && record.sequence > sequence;
      return { tag, reason: newer ? 'a newer push has it' : 'somebody moved it' };
    }),
  );
  const moved = claims.filter(({ reason }) => reason === undefined).map(({ tag }) => tag);
  await putTags(registry, repository, to, moved);
  for (const tag of moved) await settleTag(registry, records, repository, tag, to);
  return {
    moved,
    left: claims.flatMap(({ tag, reason }) => (reason === undefined ? [] : [{ tag, reason }])),
  };
}
