import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { beforeEach, describe, expect, it } from 'vitest';
import { digestOf } from '../../../oci/digest.ts';
import type { Registry } from '../../../oci/registry.ts';
import { absent, expectCode, large, pieces, read, small } from './fixtures.ts';

/** Blobs and mounts. `current` gives the registry of the test that runs. */
export function blobCases(current: () => Registry): void {
  let registry: Registry;
  beforeEach(() => {
    registry = current();
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
}
