import type { Registry } from '../../oci/registry.ts';
import type { LevelImageBuilt } from './build-level.ts';
import type { CatalogEntry } from './catalog.ts';

/** What came of each entry; entries are in order, parents first. */
export interface LevelOutcome {
  readonly entry: CatalogEntry;
  /** `not built`: nobody tried. */
  readonly state: 'unchanged' | 'changed' | 'failed' | 'not built';
}

/**
 * Parts the entries that changed into groups whose channels move together or not at all: an entry and everything that changed or failed above
 * it. Pure. An entry that was `not built` (nobody tried) keeps its old image and holds nobody back.
 */
export function channelGroups(outcomes: readonly LevelOutcome[]): readonly (readonly LevelOutcome[])[] {
  const groupOf = new Map<string, LevelOutcome[]>();
  const groups: LevelOutcome[][] = [];
  for (const outcome of outcomes) {
    if (outcome.state !== 'changed' && outcome.state !== 'failed') continue;
    const group = groupOf.get(outcome.entry.parent ?? '') ?? [];
    if (group.length === 0) groups.push(group);
    group.push(outcome);
    groupOf.set(outcome.entry.id, group);
  }
  return groups;
}

/** Sets all channels of an entry to its new image. */
export async function moveChannels(registry: Registry, image: LevelImageBuilt): Promise<void> {
  const { repository, file } = image.entry;
  const { bytes, descriptor } = await registry.getManifest(repository, image.digest);
  for (const channel of file.channels) {
    await registry.putManifest(repository, channel, bytes, descriptor.mediaType);
  }
}
