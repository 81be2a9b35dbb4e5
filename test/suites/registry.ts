import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Digest, digestOf } from '../../oci/digest.ts';
import type { OciErrorCode } from '../../oci/errors.ts';
import { mediaTypes } from '../../oci/media-types.ts';
import type { Registry } from '../../oci/registry.ts';
import { manifestBytes, pushContent } from '../helpers/content.ts';

export interface RegistryUnderTest {
  readonly registry: Registry;
  readonly close?: () => Promise<void> | void;
}

const small = Buffer.from('a small blob');
/** Larger than what any registry keeps beside its own records, and no multiple of anything. */
const large = Buffer.from(Array.from({ length: 300_007 }, (_, index) => (index * 7 + (index >> 8)) & 0xff));
const absent = digestOf('nobody ever pushed this');

/** What every Registry has to do, whatever is behind it. */
export function registrySuite(name: string, create: () => Promise<RegistryUnderTest>): void {
  describe(name, () => {
    let under: RegistryUnderTest;
    let registry: Registry;

    beforeEach(async () => {
      under = await create();
      registry = under.registry;
    });
    afterEach(async () => {
      await under.close?.();
    });

    describe('blobs', () => {
      it.each([
        ['a small one', small],
        ['a large one', large],
        ['an empty one', Buffer.alloc(0)],
      ])('gives back %s that was put in one call', async (_, content) => {
        const digest = digestOf(content);

        const put = await registry.putBlob('team/app', digest, Readable.from(pieces(content)));

        expect(put).toEqual({ mediaType: 'application/octet-stream', digest, size: content.length });
        expect(await registry.resolveBlob('team/app', digest)).toEqual(put);
        expect(await read(registry, 'team/app', digest)).toEqual(content);
      });

      it('takes sha512', async () => {
        const digest = digestOf(large, 'sha512');

        await registry.putBlob('team/app', digest, large);

        expect(await read(registry, 'team/app', digest)).toEqual(large);
      });

      it.each([
        ['from the middle', 500, 1499],
        ['the first byte', 0, 0],
        ['the last byte', large.length - 1, large.length - 1],
      ])('gives a range %s', async (_, start, end) => {
        await registry.putBlob('team/app', digestOf(large), large);

        const content = await registry.getBlob('team/app', digestOf(large), { start, end });

        expect(content.size).toBe(large.length);
        expect(await buffer(content.body)).toEqual(large.subarray(start, end + 1));
      });

      it.each([
        ['small', small],
        ['large', large],
      ])('refuses a range behind the end of a %s blob', async (_, content) => {
        await registry.putBlob('team/app', digestOf(content), content);
        const range = { start: content.length, end: content.length + 9 };

        await expectCode('RANGE_INVALID', () => registry.getBlob('team/app', digestOf(content), range));
      });

      it('says BLOB_UNKNOWN for what is not there', async () => {
        await expectCode('BLOB_UNKNOWN', () => registry.getBlob('team/app', absent));
        await expectCode('BLOB_UNKNOWN', () => registry.resolveBlob('team/app', absent));
        await expectCode('BLOB_UNKNOWN', () => registry.deleteBlob('team/app', absent));
      });

      it('keeps a blob of one repository from another one', async () => {
        await registry.putBlob('team/secret', digestOf(large), large);

        await expectCode('BLOB_UNKNOWN', () => registry.getBlob('team/app', digestOf(large)));
        await expectCode('BLOB_UNKNOWN', () => registry.resolveBlob('team/app', digestOf(large)));
      });

      it.each([
        ['small', small],
        ['large', large],
      ])('refuses %s bytes that have another digest, and keeps nothing', async (_, content) => {
        await expectCode('DIGEST_INVALID', () => registry.putBlob('team/app', absent, content));
        await expectCode('BLOB_UNKNOWN', () => registry.resolveBlob('team/app', absent));
        await expectCode('BLOB_UNKNOWN', () => registry.resolveBlob('team/app', digestOf(content)));
      });

      it('can be pushed again after a delete', async () => {
        await registry.putBlob('team/app', digestOf(large), large);
        await registry.deleteBlob('team/app', digestOf(large));
        await expectCode('BLOB_UNKNOWN', () => registry.getBlob('team/app', digestOf(large)));

        await registry.putBlob('team/app', digestOf(large), large);

        expect(await read(registry, 'team/app', digestOf(large))).toEqual(large);
      });

      it('takes the same blob from several clients at once', async () => {
        const repositories = ['team/a', 'team/a', 'team/b', 'team/c', 'team/c'];

        await Promise.all(repositories.map((name) => registry.putBlob(name, digestOf(large), large)));

        for (const name of repositories) expect(await read(registry, name, digestOf(large))).toEqual(large);
      });
    });

    describe('uploads', () => {
      it.each([
        ['small', small],
        ['large', large],
        ['empty', Buffer.alloc(0)],
      ])('takes a %s blob as one streamed body and a finish without one', async (_, content) => {
        const { id, offset } = await registry.startUpload('team/app');
        expect(offset).toBe(0);

        const written = await registry.writeUpload('team/app', id, Readable.from(pieces(content)));
        const finished = await registry.finishUpload('team/app', id, digestOf(content));

        expect(written).toEqual({ id, offset: content.length });
        expect(finished.size).toBe(content.length);
        expect(await read(registry, 'team/app', digestOf(content))).toEqual(content);
      });

      it.each([
        ['small', small],
        ['large', large],
      ])('takes a %s blob in the body of the finish', async (_, content) => {
        const { id } = await registry.startUpload('team/app');

        await registry.finishUpload('team/app', id, digestOf(content), Readable.from(pieces(content)), {
          length: content.length,
        });

        expect(await read(registry, 'team/app', digestOf(content))).toEqual(content);
      });

      it.each(['sha256', 'sha512'] as const)(
        'takes chunks of 1 KiB with a last one in the finish, %s',
        async (algorithm) => {
          const content = large.subarray(0, 20_500);
          const { id } = await registry.startUpload('team/app');

          let start = 0;
          for (; start + 1024 <= content.length; start += 1024) {
            const chunk = content.subarray(start, start + 1024);
            const options = { start, length: chunk.length, chunked: true };
            const written = await registry.writeUpload('team/app', id, Readable.from([chunk]), options);
            expect(written.offset).toBe(start + chunk.length);
            expect(await registry.uploadStatus('team/app', id)).toEqual(written);
          }
          const rest = content.subarray(start);
          const digest = digestOf(content, algorithm);
          await registry.finishUpload('team/app', id, digest, Readable.from([rest]), {
            start,
            length: rest.length,
          });

          expect(await read(registry, 'team/app', digest)).toEqual(content);
        },
      );

      it('takes two streamed bodies one after the other', async () => {
        const { id } = await registry.startUpload('team/app');

        await registry.writeUpload('team/app', id, Readable.from([large.subarray(0, 100_000)]));
        await registry.writeUpload('team/app', id, Readable.from([large.subarray(100_000)]));
        await registry.finishUpload('team/app', id, digestOf(large));

        expect(await read(registry, 'team/app', digestOf(large))).toEqual(large);
      });

      it('refuses a chunk out of order and goes on where it was', async () => {
        const { id } = await registry.startUpload('team/app');
        const first = { start: 0, length: 1000, chunked: true };
        await registry.writeUpload('team/app', id, Readable.from([large.subarray(0, 1000)]), first);

        for (const start of [0, 999, 1001, 5000]) {
          const body = Readable.from([large.subarray(0, 10)]);
          await expectCode('RANGE_INVALID', () =>
            registry.writeUpload('team/app', id, body, { start, length: 10 }),
          );
        }
        await expectCode('RANGE_INVALID', () =>
          registry.finishUpload('team/app', id, digestOf(large), Readable.from([small]), { start: 1 }),
        );

        expect((await registry.uploadStatus('team/app', id)).offset).toBe(1000);
        const rest = { start: 1000, length: large.length - 1000 };
        await registry.finishUpload(
          'team/app',
          id,
          digestOf(large),
          Readable.from([large.subarray(1000)]),
          rest,
        );
        expect(await read(registry, 'team/app', digestOf(large))).toEqual(large);
      });

      it.each([
        ['small', small],
        ['large', large],
      ])('keeps what arrived of a %s body that was too short', async (_, content) => {
        const { id } = await registry.startUpload('team/app');
        const part = content.subarray(0, content.length - 5);

        await expectCode('SIZE_INVALID', () =>
          registry.writeUpload('team/app', id, Readable.from([part]), { length: content.length }),
        );
        expect((await registry.uploadStatus('team/app', id)).offset).toBe(part.length);
        await registry.writeUpload('team/app', id, Readable.from([content.subarray(part.length)]));
        await registry.finishUpload('team/app', id, digestOf(content));

        expect(await read(registry, 'team/app', digestOf(content))).toEqual(content);
      });

      it('refuses a wrong digest and lets the client finish with the right one', async () => {
        const { id } = await registry.startUpload('team/app');
        await registry.writeUpload('team/app', id, Readable.from([large]));

        await expectCode('DIGEST_INVALID', () => registry.finishUpload('team/app', id, absent));
        expect((await registry.uploadStatus('team/app', id)).offset).toBe(large.length);
        await registry.finishUpload('team/app', id, digestOf(large));

        expect(await read(registry, 'team/app', digestOf(large))).toEqual(large);
        await expectCode('BLOB_UNKNOWN', () => registry.resolveBlob('team/app', absent));
      });

      it('answers a repeated finish as the first one, and knows the session no more otherwise', async () => {
        const { id } = await registry.startUpload('team/app');
        await registry.writeUpload('team/app', id, Readable.from([large]));
        const first = await registry.finishUpload('team/app', id, digestOf(large));

        expect(await registry.finishUpload('team/app', id, digestOf(large))).toEqual(first);
        await expectCode('BLOB_UPLOAD_UNKNOWN', () => registry.finishUpload('team/app', id, absent));
        await expectCode('BLOB_UPLOAD_UNKNOWN', () => registry.uploadStatus('team/app', id));
        await expectCode('BLOB_UPLOAD_UNKNOWN', () =>
          registry.writeUpload('team/app', id, Readable.from([small])),
        );
      });

      it('forgets a cancelled upload', async () => {
        const { id } = await registry.startUpload('team/app');
        await registry.writeUpload('team/app', id, Readable.from([large]));

        await registry.cancelUpload('team/app', id);

        await expectCode('BLOB_UPLOAD_UNKNOWN', () => registry.uploadStatus('team/app', id));
        await expectCode('BLOB_UPLOAD_UNKNOWN', () => registry.cancelUpload('team/app', id));
        await expectCode('BLOB_UPLOAD_UNKNOWN', () => registry.finishUpload('team/app', id, digestOf(large)));
      });

      it('does not know a session under another repository or an id nobody made', async () => {
        const { id } = await registry.startUpload('team/app');

        await expectCode('BLOB_UPLOAD_UNKNOWN', () => registry.uploadStatus('team/other', id));
        await expectCode('BLOB_UPLOAD_UNKNOWN', () =>
          registry.writeUpload('team/other', id, Readable.from([small])),
        );
        for (const made of ['nobody', '..', '0'.repeat(32), 'a'.repeat(300)]) {
          await expectCode('BLOB_UPLOAD_UNKNOWN', () => registry.uploadStatus('team/app', made));
        }
      });

      it('finishes two uploads of one blob at once', async () => {
        const sessions = await Promise.all([1, 2, 3].map(() => registry.startUpload('team/app')));
        for (const { id } of sessions) await registry.writeUpload('team/app', id, Readable.from([large]));

        await Promise.all(sessions.map(({ id }) => registry.finishUpload('team/app', id, digestOf(large))));

        expect(await read(registry, 'team/app', digestOf(large))).toEqual(large);
      });
    });

    describe('mounts', () => {
      it('makes a blob of another repository readable', async () => {
        await registry.putBlob('team/base', digestOf(large), large);

        expect(await registry.mountBlob('team/app', digestOf(large), 'team/base')).toBe(true);

        expect(await read(registry, 'team/app', digestOf(large))).toEqual(large);
      });

      it('answers false where the source does not have it', async () => {
        await registry.putBlob('team/secret', digestOf(large), large);

        expect(await registry.mountBlob('team/app', digestOf(large), 'team/base')).toBe(false);
        expect(await registry.mountBlob('team/app', absent, 'team/secret')).toBe(false);
        await expectCode('BLOB_UNKNOWN', () => registry.resolveBlob('team/app', digestOf(large)));
      });

      it('outlives the deletion of the source', async () => {
        await registry.putBlob('team/base', digestOf(large), large);
        await registry.mountBlob('team/app', digestOf(large), 'team/base');

        await registry.deleteBlob('team/base', digestOf(large));

        expect(await read(registry, 'team/app', digestOf(large))).toEqual(large);
      });
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

        expect((await registry.listTags('team/app', { limit: 50 })).entries).toEqual([
          't0',
          't1',
          't2',
          't3',
        ]);
        for (const tag of tags) {
          expect((await registry.getManifest('team/app', tag)).bytes.equals(bytes)).toBe(true);
        }
        await registry.deleteManifest('team/app', digestOf(bytes));
        expect((await registry.listTags('team/app', { limit: 50 })).entries).toEqual([]);
      });
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
  });
}

/** Rejects with an OciError of this code; any other outcome is the test's failure. */
export async function expectCode(code: OciErrorCode, call: () => Promise<unknown>): Promise<void> {
  await expect(call()).rejects.toMatchObject({ code });
}

async function read(registry: Registry, repository: string, digest: Digest): Promise<Buffer> {
  const { body, size } = await registry.getBlob(repository, digest);
  const content = await buffer(body);
  expect(size).toBe(content.length);
  return content;
}

/** Cut as a network cuts. */
function pieces(content: Buffer): Buffer[] {
  const cut: Buffer[] = [];
  for (let at = 0; at < content.length; at += 65_521) cut.push(content.subarray(at, at + 65_521));
  return cut;
}

async function allPages(
  list: (page: { limit: number; last?: string }) => Promise<{ entries: readonly string[]; next?: string }>,
  limit: number,
): Promise<string[]> {
  const all: string[] = [];
  let last: string | undefined;
  for (;;) {
    const page = await list(last === undefined ? { limit } : { limit, last });
    expect(page.entries.length).toBeLessThanOrEqual(limit);
    all.push(...page.entries);
    if (page.next === undefined) return all;
    last = page.next;
  }
}
