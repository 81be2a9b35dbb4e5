import type { ImageTags } from './image-tags.ts';
import type { TagRecords } from './tag-records.ts';

/** Tags that only promotions move; builds and waves of rebases leave them where they are. */
export interface TagProtection {
  protects(repository: string, tag: string): boolean;
  /** Some tag of the repository is protected: what is built there is remembered. */
  concerns(repository: string): boolean;
}

export const noProtection: TagProtection = { protects: () => false, concerns: () => false };

/** What a build may set, and what it must leave to a promotion. */
export function freeTags(
  { moving, fixed }: ImageTags,
  protects: (tag: string) => boolean,
): ImageTags & { readonly left: readonly string[] } {
  return {
    moving: moving.filter(({ tag }) => !protects(tag)),
    fixed: fixed.filter((tag) => !protects(tag)),
    left: [...moving.map(({ tag }) => tag), ...fixed].filter(protects),
  };
}

/** The records as waves see them: what they may not move is not there. */
export function unprotectedRecords(records: TagRecords, protection: TagProtection): TagRecords {
  return {
    ...records,
    async *entries() {
      for await (const entry of records.entries()) {
        if (!protection.protects(entry.repository, entry.tag)) yield entry;
      }
    },
  };
}
