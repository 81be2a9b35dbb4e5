import { Readable } from 'node:stream';
import { beforeEach, describe, expect, it } from 'vitest';
import { digestOf } from '../../../oci/digest.ts';
import type { Registry } from '../../../oci/registry.ts';
import { absent, expectCode, large, pieces, read, small } from './fixtures.ts';

/** Upload sessions. `current` gives the registry of the test that runs. */
export function uploadCases(current: () => Registry): void {
  let registry: Registry;
  beforeEach(() => {
    registry = current();
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
}
