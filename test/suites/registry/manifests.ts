import { beforeEach, describe, expect, it } from 'vitest';
import { digestOf } from '../../../oci/digest.ts';
import { mediaTypes } from '../../../oci/media-types.ts';
import type { Registry } from '../../../oci/registry.ts';
import { manifestBytes, pushContent } from '../../helpers/content.ts';
import { absent, expectCode, large } from './fixtures.ts';

/** Manifests and tags. `current` gives the registry of the test that runs. */
export function manifestCases(current: () => Registry): void {
  let registry: Registry;
  beforeEach(() => {
    registry = current();
  });

  describe('manifests', () => {
    const image = { blobs: { layer: large }, manifests: { image: { layers: ['layer'] } } };

    it('gives back the exact bytes by digest and by tag', async () => {
      const known = await pushContent(registry, { 'team/app': image });
      const { digest } = known['team/app'].manifests.image;
      const { bytes: compact } = await registry.getManifest('team/app', digest);
      const bytes = Buffer.from(`${JSON.stringify(JSON.parse(compact.toString()), null, 3)}\n\n`);

      const put = await registry.putManifest('team/app', 'v1', bytes, mediaTypes.ociManifest);

      expect(put.descriptor).toEqual({
        mediaType: mediaTypes.ociManifest,
        digest: digestOf(bytes),
        size: bytes.length,
      });
      expect(put.tags).toEqual(['v1']);
      for (const reference of ['v1', digestOf(bytes)]) {
        const got = await registry.getManifest('team/app', reference);
        expect(got.bytes.equals(bytes)).toBe(true);
        expect(got.descriptor).toEqual(put.descriptor);
        expect(await registry.resolveManifest('team/app', reference)).toEqual(put.descriptor);
      }
    });

    it('sets several tags at once by digest', async () => {
      const known = await pushContent(registry, { 'team/app': image });
      const { digest, bytes } = known['team/app'].manifests.image;

      const put = await registry.putManifest('team/app', digest, bytes, mediaTypes.ociManifest, {
        tags: ['a', 'b'],
      });

      expect(put.tags).toEqual(['a', 'b']);
      expect((await registry.listTags('team/app', { limit: 10 })).entries).toEqual(['a', 'b']);
    });

    it('takes a sha512 manifest by its digest', async () => {
      const known = await pushContent(registry, { 'team/app': image });
      const { bytes } = known['team/app'].manifests.image;
      const digest = digestOf(bytes, 'sha512');

      await registry.putManifest('team/app', digest, bytes, mediaTypes.ociManifest, { tags: ['v1'] });

      expect((await registry.resolveManifest('team/app', 'v1')).digest).toBe(digest);
    });

    it('refuses bytes that have another digest', async () => {
      const known = await pushContent(registry, { 'team/app': image });
      const { bytes } = known['team/app'].manifests.image;

      await expectCode('DIGEST_INVALID', () =>
        registry.putManifest('team/app', absent, bytes, mediaTypes.ociManifest),
      );
    });

    it('refuses a manifest whose blob another repository has', async () => {
      const known = await pushContent(registry, { 'team/secret': image });
      const { bytes } = known['team/secret'].manifests.image;

      await expectCode('MANIFEST_BLOB_UNKNOWN', () =>
        registry.putManifest('team/app', 'v1', bytes, mediaTypes.ociManifest),
      );
      await expectCode('NAME_UNKNOWN', () => registry.getManifest('team/app', 'v1'));
    });

    it('takes indexes: full, nested, empty and sparse', async () => {
      const known = await pushContent(registry, {
        'team/app': {
          manifests: {
            image: {},
            index: { manifests: ['image'] },
            nested: { manifests: ['index', 'image'] },
            nothing: { manifests: [] },
          },
          tags: { multi: 'nested' },
        },
      });
      const { nested } = known['team/app'].manifests;

      await registry.putManifest('team/mirror', 'multi', nested.bytes, mediaTypes.ociIndex);

      expect((await registry.getManifest('team/mirror', 'multi')).bytes.equals(nested.bytes)).toBe(true);
    });

    it('takes non-distributable layers that nobody pushed', async () => {
      const known = await pushContent(registry, { 'team/app': { manifests: { image: {} } } });
      const parsed = JSON.parse(known['team/app'].manifests.image.bytes.toString()) as object;
      const layers = [
        { mediaType: mediaTypes.dockerForeignLayer, digest: absent, size: 5, urls: ['https://x.test/'] },
      ];

      await registry.putManifest('team/app', 'w', Buffer.from(JSON.stringify({ ...parsed, layers })), '');

      expect((await registry.resolveManifest('team/app', 'w')).mediaType).toBe(mediaTypes.ociManifest);
    });

    it('says MANIFEST_UNKNOWN in a repository that it knows and NAME_UNKNOWN elsewhere', async () => {
      await pushContent(registry, { 'team/app': { manifests: { image: {} } } });

      await expectCode('MANIFEST_UNKNOWN', () => registry.getManifest('team/app', 'nope'));
      await expectCode('MANIFEST_UNKNOWN', () => registry.resolveManifest('team/app', absent));
      await expectCode('NAME_UNKNOWN', () => registry.getManifest('team/other', 'nope'));
      await expectCode('NAME_UNKNOWN', () => registry.listTags('team/other', { limit: 5 }));
    });

    it('moves a tag, and deleting the old manifest leaves it where it is', async () => {
      const known = await pushContent(registry, {
        'team/app': {
          manifests: { one: { annotations: { n: '1' } }, two: { annotations: { n: '2' } } },
          tags: { latest: 'one', old: 'one' },
        },
      });
      const { one, two } = known['team/app'].manifests;
      await registry.putManifest('team/app', 'latest', two.bytes, mediaTypes.ociManifest);

      await registry.deleteManifest('team/app', one.digest);

      expect((await registry.resolveManifest('team/app', 'latest')).digest).toBe(two.digest);
      await expectCode('MANIFEST_UNKNOWN', () => registry.resolveManifest('team/app', 'old'));
      await expectCode('MANIFEST_UNKNOWN', () => registry.getManifest('team/app', one.digest));
      await expectCode('MANIFEST_UNKNOWN', () => registry.deleteManifest('team/app', one.digest));
      expect((await registry.listTags('team/app', { limit: 5 })).entries).toEqual(['latest']);
    });

    it('can be pushed again after a delete, and deleted again', async () => {
      const known = await pushContent(registry, { 'team/app': { ...image, tags: { v1: 'image' } } });
      const { digest, bytes } = known['team/app'].manifests.image;

      for (let round = 0; round < 3; round++) {
        await registry.deleteManifest('team/app', digest);
        await expectCode('MANIFEST_UNKNOWN', () => registry.getManifest('team/app', 'v1'));
        await registry.putManifest('team/app', 'v1', bytes, mediaTypes.ociManifest);
        expect((await registry.getManifest('team/app', 'v1')).bytes.equals(bytes)).toBe(true);
      }
    });

    it('deletes a tag and leaves the manifest', async () => {
      const known = await pushContent(registry, { 'team/app': { ...image, tags: { v1: 'image' } } });
      const { digest } = known['team/app'].manifests.image;

      await registry.deleteTag('team/app', 'v1');

      await expectCode('MANIFEST_UNKNOWN', () => registry.getManifest('team/app', 'v1'));
      await expectCode('MANIFEST_UNKNOWN', () => registry.deleteTag('team/app', 'v1'));
      expect((await registry.resolveManifest('team/app', digest)).digest).toBe(digest);
      expect((await registry.listTags('team/app', { limit: 5 })).entries).toEqual([]);
    });

    it('takes the same manifest twenty times at once', async () => {
      const known = await pushContent(registry, { 'team/app': { blobs: { layer: large } } });
      const bytes = manifestBytes({ config: 'layer', layers: ['layer'] }, known['team/app']);
      const tags = Array.from({ length: 20 }, (_, index) => `t${index % 4}`);

      await Promise.all(
        tags.map((tag) => registry.putManifest('team/app', tag, bytes, mediaTypes.ociManifest)),
      );

      expect((await registry.listTags('team/app', { limit: 50 })).entries).toEqual(['t0', 't1', 't2', 't3']);
      for (const tag of tags) {
        expect((await registry.getManifest('team/app', tag)).bytes.equals(bytes)).toBe(true);
      }
      await registry.deleteManifest('team/app', digestOf(bytes));
      expect((await registry.listTags('team/app', { limit: 50 })).entries).toEqual([]);
    });
  });
}
