import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { digestOf } from '../../../oci/digest.ts';
import { mediaTypes } from '../../../oci/media-types.ts';
import { waitFor } from '../../helpers/process.ts';
import {
  type EngineUnderTest,
  expectBytes,
  moveTag,
  openTestPool,
  pushImage,
  settle,
  type TestPool,
} from './fixture.ts';

/** Manifests by tag: the origin has the last word as long as it has one. */
export function tagSuite(under: EngineUnderTest): void {
  describe('pulls by tag', () => {
    let test: TestPool;
    beforeAll(async () => {
      test = await openTestPool(under);
    });
    afterEach(() => settle(test));
    afterAll(() => test.close());

    it('a tag is revalidated, and its bytes do not come twice', async () => {
      const image = await pushImage(test.origin.registry);
      expectBytes((await test.get(image.byTag)).body, image.manifest);

      // An engine may believe an answer for a second.
      await waitFor(
        async () => {
          expectBytes((await test.get(image.byTag)).body, image.manifest);
          return test.origin.seen.some(({ path, status }) => path === image.byTag && status === 304);
        },
        { what: 'a revalidation', timeoutMs: 10_000 },
      );

      expect(test.origin.bodyBytes(image.byTag)).toBe(image.manifest.length);
    });

    it('a tag that was moved at the origin is seen', async () => {
      const image = await pushImage(test.origin.registry);
      await test.get(image.byTag);

      const next = await moveTag(test.origin.registry, image.repository);

      await waitFor(
        async () => (await test.get(image.byTag)).headers['docker-content-digest'] === next.digest,
        {
          what: 'the moved tag',
          timeoutMs: 10_000,
        },
      );
      expectBytes((await test.get(image.byTag)).body, next.bytes);
    });

    it('HEAD and GET of a tag say the same', async () => {
      const image = await pushImage(test.origin.registry);

      const head = await test.call('HEAD', image.byTag);
      const get = await test.get(image.byTag);

      for (const name of ['docker-content-digest', 'content-type', 'content-length']) {
        expect([name, head.headers[name]]).toEqual([name, get.headers[name]]);
      }
      expect(head.body.length).toBe(0);
    });

    it('what clients accept is kept apart, as registries answer them differently', async () => {
      const { repository } = await pushImage(test.origin.registry);
      const kinds = [mediaTypes.ociIndex, mediaTypes.ociManifest, mediaTypes.dockerManifest];
      const bodyOf = (accept: string | undefined): string =>
        JSON.stringify({ schemaVersion: 2, mediaType: kinds.find((kind) => accept?.includes(kind)) });
      test.origin.rule = ({ headers }) => {
        const body = bodyOf(headers.accept);
        const digest = digestOf(body);
        return {
          status: 200,
          headers: {
            'content-type': kinds.find((kind) => headers.accept?.includes(kind)),
            'content-length': body.length,
            'docker-content-digest': digest,
            etag: `"${digest}"`,
          },
          body,
        };
      };

      for (let round = 0; round < 2; round += 1) {
        for (const accept of kinds) {
          const answer = await test.get(`/v2/${repository}/manifests/many`, { accept });

          expect(answer.headers['content-type']).toBe(accept);
          expect(answer.body.toString()).toBe(bodyOf(accept));
        }
      }
    });

    it('a tag that one client pulled is there for another one that accepts its kind, without the origin', async () => {
      const image = await pushImage(test.origin.registry);
      await test.get(image.byTag, { accept: mediaTypes.ociManifest });
      test.origin.rule = () => ({ status: 503 });

      const both = await test.get(image.byTag, {
        accept: `${mediaTypes.dockerManifest}, ${mediaTypes.ociManifest}`,
      });
      const neither = await test.get(image.byTag, { accept: mediaTypes.dockerManifest });

      expectBytes(both.body, image.manifest);
      expect(neither.status).toBe(503);
    });

    it('a tag that the origin does not have is 404', async () => {
      const image = await pushImage(test.origin.registry);

      const answer = await test.get(`/v2/${image.repository}/manifests/never`);

      expect([answer.status, answer.code]).toEqual([404, expect.stringMatching(/UNKNOWN$/)]);
    });

    it('a tag that the origin lost is still served where the pool keeps such', async () => {
      const image = await pushImage(test.origin.registry);
      await test.get(image.byTag);
      test.origin.rule = () => ({ status: 404 });

      const answer = await test.get(image.byTag);

      expectBytes(answer.body, image.manifest);
    });
  });

  describe('a pool that drops what the origin lost', () => {
    it('answers 404 then', async () => {
      await using test = await openTestPool(under, { onOriginMissing: 'drop' });
      const image = await pushImage(test.origin.registry);
      await test.get(image.byTag);
      test.origin.rule = () => ({ status: 404 });

      await waitFor(async () => (await test.get(image.byTag)).status === 404, {
        what: '404',
        timeoutMs: 10_000,
      });
    });
  });
}
