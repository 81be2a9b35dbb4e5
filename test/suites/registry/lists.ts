import { beforeEach, describe, expect, it } from 'vitest';
import { type Digest, digestOf } from '../../../oci/digest.ts';
import { mediaTypes } from '../../../oci/media-types.ts';
import type { Registry } from '../../../oci/registry.ts';
import { manifestBytes, pushContent } from '../../helpers/content.ts';
import { absent, allPages } from './fixtures.ts';

/** Referrers, tag lists, repository lists. `current` gives the registry of the test that runs. */
export function listCases(current: () => Registry): void {
  let registry: Registry;
  beforeEach(() => {
    registry = current();
  });

  describe('referrers', () => {
    it('lists what names a subject, in pages, by artifact type, and forgets what was deleted', async () => {
      const known = await pushContent(registry, {
        'team/app': {
          manifests: {
            image: {},
            one: { subject: 'image', artifactType: 'application/x.sbom', annotations: { a: '1' } },
            two: { subject: 'image', configType: 'application/x.sig', annotations: { a: '2' } },
            three: { subject: 'image', manifests: ['image'], artifactType: 'application/x.sbom' },
          },
        },
      });
      const { image, one, two, three } = known['team/app'].manifests;
      const subject = image.digest;
      const expected = [
        { ...one.descriptor, artifactType: 'application/x.sbom', annotations: { a: '1' } },
        { ...two.descriptor, artifactType: 'application/x.sig', annotations: { a: '2' } },
        { ...three.descriptor, artifactType: 'application/x.sbom' },
      ].sort((a, b) => (String(a.digest) < String(b.digest) ? -1 : 1));

      const all = await registry.listReferrers('team/app', subject, { limit: 10 });
      const first = await registry.listReferrers('team/app', subject, { limit: 2 });
      const rest = await registry.listReferrers('team/app', subject, {
        limit: 2,
        last: String(first.next),
      });
      const boms = await registry.listReferrers('team/app', subject, {
        limit: 10,
        artifactType: 'application/x.sbom',
      });

      expect(all).toEqual({ entries: expected });
      expect([...first.entries, ...rest.entries]).toEqual(expected);
      expect(rest.next).toBeUndefined();
      expect(boms.entries).toEqual(expected.filter((entry) => entry.artifactType === 'application/x.sbom'));

      await registry.deleteManifest('team/app', two.digest);
      const after = await registry.listReferrers('team/app', subject, { limit: 10 });
      expect(after.entries.map((entry) => entry.digest)).not.toContain(two.digest);
      expect(after.entries).toHaveLength(2);
    });

    it('takes a referrer before its subject, says so, and has none for strangers', async () => {
      const known = await pushContent(registry, { 'team/base': { manifests: { image: {} } } });
      await registry.putBlob('team/app', digestOf('{}'), Buffer.from('{}'));
      const bytes = manifestBytes({ subject: 'image', artifactType: 'a/b' }, known['team/base']);

      const put = await registry.putManifest('team/app', digestOf(bytes), bytes, mediaTypes.ociManifest);

      expect(put.subject).toBe(known['team/base'].manifests.image.digest);
      const listed = await registry.listReferrers('team/app', put.subject as Digest, { limit: 5 });
      expect(listed.entries.map((entry) => entry.digest)).toEqual([digestOf(bytes)]);
      expect(await registry.listReferrers('team/other', absent, { limit: 5 })).toEqual({ entries: [] });
      expect(await registry.listReferrers('team/app', absent, { limit: 5 })).toEqual({ entries: [] });
    });
  });

  describe('lists', () => {
    const names = ['a', 'a-b', 'a.b', 'a/b', 'a/b/c', 'a0', 'ab', 'b'];

    it('pages through tags in byte order without gaps or repeats', async () => {
      const tags = ['1', '10', '2', 'A', 'B', '_x', 'a', 'a-b', 'a.b', 'ab', 'b', 'latest'];
      await pushContent(registry, {
        'team/app': {
          manifests: { image: {} },
          tags: Object.fromEntries([...tags].reverse().map((tag) => [tag, 'image'])),
        },
        'team/app-b': { manifests: { image: {} }, tags: { stranger: 'image' } },
      });

      for (const limit of [1, 3, tags.length, 100]) {
        expect(await allPages((page) => registry.listTags('team/app', page), limit)).toEqual(tags);
      }
      expect(await registry.listTags('team/app', { limit: 0 })).toEqual({ entries: [] });
      const middle = await registry.listTags('team/app', { limit: 2, last: 'a-' });
      expect(middle.entries).toEqual(['a-b', 'a.b']);
    });

    it('fills a page although tags before it were deleted', async () => {
      const tags = Array.from({ length: 30 }, (_, index) => `t${String(index).padStart(2, '0')}`);
      await pushContent(registry, {
        'team/app': {
          manifests: { image: {} },
          tags: Object.fromEntries(tags.map((tag) => [tag, 'image'])),
        },
      });
      for (const tag of tags.slice(0, 25)) await registry.deleteTag('team/app', tag);

      expect(await registry.listTags('team/app', { limit: 3 })).toEqual({
        entries: ['t25', 't26', 't27'],
        next: 't27',
      });
      expect(await registry.listTags('team/app', { limit: 3, last: 't27' })).toEqual({
        entries: ['t28', 't29'],
      });
    });

    it('pages through repositories in byte order, names that begin alike included', async () => {
      for (const name of [...names].reverse())
        await pushContent(registry, { [name]: { manifests: { image: {} } } });

      for (const limit of [1, 2, 3, 100]) {
        expect(await allPages((page) => registry.listRepositories(page), limit)).toEqual(names);
      }
      expect((await registry.listRepositories({ limit: 10, last: 'a.b' })).entries).toEqual(names.slice(3));
    });
  });
}
