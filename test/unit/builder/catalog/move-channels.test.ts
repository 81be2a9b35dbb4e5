import { describe, expect, it } from 'vitest';
import type { CatalogEntry } from '../../../../builder/catalog/catalog.ts';
import { channelGroups, type LevelOutcome } from '../../../../builder/catalog/move-channels.ts';

function outcome(id: string, parent: string | undefined, state: LevelOutcome['state']): LevelOutcome {
  const entry = { id, ...(parent === undefined ? {} : { parent }) } as CatalogEntry;
  return { entry, state };
}

describe('channels that move together', () => {
  it.each<[string, readonly LevelOutcome[], readonly string[]]>([
    ['nothing, when nothing changed', [outcome('base', undefined, 'unchanged')], []],
    [
      'an entry and all that changed on top of it, failed ones too',
      [
        outcome('base', undefined, 'changed'),
        outcome('jdk', 'base', 'changed'),
        outcome('resin', 'jdk', 'failed'),
        outcome('nodejs', 'base', 'changed'),
      ],
      ['base jdk resin nodejs'],
    ],
    [
      'two parts that changed each for itself, apart',
      [
        outcome('base', undefined, 'unchanged'),
        outcome('jdk', 'base', 'changed'),
        outcome('resin', 'jdk', 'changed'),
        outcome('python', 'base', 'failed'),
      ],
      ['jdk resin', 'python'],
    ],
    [
      'nobody with what was not tried',
      [
        outcome('base', undefined, 'changed'),
        outcome('jdk', 'base', 'not built'),
        outcome('resin', 'jdk', 'not built'),
      ],
      ['base'],
    ],
  ])('are %s', (_, outcomes, groups) => {
    expect(channelGroups(outcomes).map((group) => group.map(({ entry }) => entry.id).join(' '))).toEqual(
      groups,
    );
  });
});
