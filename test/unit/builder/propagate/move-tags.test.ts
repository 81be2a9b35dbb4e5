import { describe, expect, it } from 'vitest';
import { unprotectedRecords } from '../../../../builder/farm/tag-protection.ts';
import { createTagRecords } from '../../../../builder/farm/tag-records.ts';
import { moveTags } from '../../../../builder/propagate/move-tags.ts';
import { createMemoryStore } from '../../../../core/object-store/memory.ts';
import { createStoredRegistry } from '../../../../registry/stored-registry.ts';
import { pushContent } from '../../../helpers/content.ts';

const protection = {
  protects: (_repository: string, tag: string) => tag === 'prod',
  concerns: () => true,
};

describe('a wave of rebases', () => {
  it('neither sees nor moves a tag that only promotions move', async () => {
    const store = createMemoryStore();
    const registry = createStoredRegistry({ store });
    const known = await pushContent(registry, {
      'team/app': {
        manifests: { old: {}, rebased: { annotations: { base: 'new' } } },
        tags: { main: 'old', prod: 'old' },
      },
    });
    const { old, rebased } = known['team/app'].manifests;
    const records = createTagRecords(store);
    const tags = ['main', 'prod'].map((tag) => ({
      tag,
      source: `team/app refs/heads/${tag}`,
      sequence: 1,
      build: 'b',
    }));
    for (const { tag, ...record } of tags) {
      await records.claim(
        'team/app',
        { tag, source: record.source },
        { ...record, digest: old.digest },
        async () => false,
      );
    }

    const { moved, left } = await moveTags(
      { registry, records, protection },
      { repository: 'team/app', from: old.digest, to: rebased.digest, tags, wave: 'w' },
    );

    expect(moved).toEqual(['main']);
    expect(left).toEqual([{ tag: 'prod', reason: 'only a promotion moves it' }]);
    expect((await registry.resolveManifest('team/app', 'prod')).digest).toBe(old.digest);
    const seen: string[] = [];
    for await (const { tag } of unprotectedRecords(records, protection).entries()) seen.push(tag);
    expect(seen).toEqual(['main']);
  });
});
