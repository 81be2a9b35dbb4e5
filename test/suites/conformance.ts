import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Digest, type DigestAlgorithm, digestOf } from '../../oci/digest.ts';
import { mediaTypes } from '../../oci/media-types.ts';
import type { HttpAnswer } from '../helpers/raw-http.ts';
import { createConformanceCalls, octets, other, repository } from './conformance-calls.ts';
import { type ConformanceImage, type ConformanceSet, conformanceSets } from './conformance-content.ts';
import { refusedManifests } from './conformance-refusals.ts';

export interface RegistryAddress {
  /** `http://127.0.0.1:<port>`; an empty registry where everybody may do everything. */
  readonly url: string;
  close(): Promise<void>;
}

export interface ConformanceOptions {
  /** What becomes of an image with a missing layer: the specification leaves it to the registry. Default refused. */
  readonly missingBlobs?: 'refused' | 'accepted';
}

/** The cases of OCI's two conformance suites (the legacy one of 1.1.1 and its successor at `dev`), over HTTP. */
export function conformanceSuite(
  name: string,
  start: () => Promise<RegistryAddress>,
  options: ConformanceOptions = {},
): void {
  describe(name, () => {
    let address: RegistryAddress;
    beforeAll(async () => {
      address = await start();
    });
    afterAll(async () => {
      await address.close();
    });

    const calls = createConformanceCalls(() => address.url);
    const { call, blobPath, manifestPath, follow, open, push, patch, expectStored, expectDeleted } = calls;

    it('end-1 answers', async () => {
      expect((await call('GET', '/v2/')).status).toBe(200);
    });

    it('an empty repository has no tags (404) and no referrers (an empty index)', async () => {
      expect((await call('GET', '/v2/conformance/empty/tags/list')).status).toBe(404);
      const referrers = await call('GET', `/v2/conformance/empty/referrers/${digestOf('x')}`);
      expect(referrers.status).toBe(200);
      expect(referrers.headers['content-type']).toBe(mediaTypes.ociIndex);
      expect(JSON.parse(referrers.body.toString())).toMatchObject({
        schemaVersion: 2,
        mediaType: mediaTypes.ociIndex,
        manifests: [],
      });
    });

    describe.each<DigestAlgorithm>(['sha256', 'sha512'])('blobs with %s', (algorithm) => {
      const fresh = (size = 512): { content: Buffer; digest: Digest } => {
        const content = randomBytes(size);
        return { content, digest: digestOf(content, algorithm) };
      };
      const chunkOf = (content: Buffer, index: number): Buffer =>
        content.subarray(index * 1024, (index + 1) * 1024);

      it('get-missing is 404', async () => {
        const answer = await call('GET', blobPath(fresh().digest));
        expect([answer.status, answer.code]).toEqual([404, 'BLOB_UNKNOWN']);
      });

      it('post only', async () => {
        const { content, digest } = fresh();
        const created = await call('POST', `/v2/${repository}/blobs/uploads/?digest=${digest}`, {
          headers: { ...octets, 'content-length': content.length },
          body: content,
        });
        await expectStored(created, content, digest);
        await expectDeleted(blobPath(digest));
      });

      it('post with digest-algorithm, then put', async () => {
        const { content, digest } = fresh();
        const opened = await call('POST', `/v2/${repository}/blobs/uploads/?digest-algorithm=${algorithm}`);
        expect(opened.status).toBe(202);
        await expectStored(
          await patch(opened, content, undefined, 'PUT', `digest=${digest}`),
          content,
          digest,
        );
      });

      it('post and put', async () => {
        const { content, digest } = fresh();
        const created = await patch(await open(), content, undefined, 'PUT', `digest=${digest}`);
        await expectStored(created, content, digest);
        await expectDeleted(blobPath(digest));
      });

      it('chunked in a single chunk', async () => {
        const { content, digest } = fresh();
        const patched = await patch(await open(), content, 0);
        expect([patched.status, patched.headers.range]).toEqual([202, `0-${content.length - 1}`]);
        await expectStored(await call('PUT', follow(patched, `digest=${digest}`)), content, digest);
      });

      it('streamed', async () => {
        const { content, digest } = fresh();
        const patched = await call('PATCH', follow(await open()), {
          headers: { ...octets, 'transfer-encoding': 'chunked' },
          body: content,
        });
        expect(patched.status).toBe(202);
        await expectStored(await call('PUT', follow(patched, `digest=${digest}`)), content, digest);
      });

      it('mounted from a repository, and not from where it is missing', async () => {
        const { content, digest } = fresh();
        const missing = await call('POST', `/v2/${repository}/blobs/uploads/?mount=${digest}&from=${other}`);
        expect(missing.status).toBe(202);
        expect(missing.headers.location).toBeDefined();

        await push(content, digest, other);
        const mounted = await call('POST', `/v2/${repository}/blobs/uploads/?mount=${digest}&from=${other}`);
        await expectStored(mounted, content, digest);
        await expectDeleted(blobPath(digest));

        await expectDeleted(blobPath(digest, other));
      });

      it('mounted anonymously from a repository whose manifest names it', async () => {
        const { content, digest } = fresh();
        await push(content, digest, other);
        const layer = { mediaType: mediaTypes.ociLayer, digest, size: content.length };
        const config = { ...layer, mediaType: mediaTypes.ociConfig };
        const document = { schemaVersion: 2, mediaType: mediaTypes.ociManifest, config, layers: [layer] };
        const put = await call('PUT', `/v2/${other}/manifests/holder`, {
          headers: { 'content-type': mediaTypes.ociManifest },
          body: JSON.stringify(document),
        });
        expect(put.status).toBe(201);

        const mounted = await call('POST', `/v2/${repository}/blobs/uploads/?mount=${digest}`);

        await expectStored(mounted, content, digest);
        await expectDeleted(blobPath(digest));
        await expectDeleted(follow(put));
        await expectDeleted(blobPath(digest, other));
      });

      it('mounted anonymously from a repository where it was only pushed', async () => {
        const { content, digest } = fresh();
        await push(content, digest, other);

        const mounted = await call('POST', `/v2/${repository}/blobs/uploads/?mount=${digest}`);

        await expectStored(mounted, content, digest);
        await expectDeleted(blobPath(digest));
        await expectDeleted(blobPath(digest, other));
        const gone = await call('POST', `/v2/${repository}/blobs/uploads/?mount=${digest}`);
        expect(gone.status).toBe(202);
        expect((await call('DELETE', follow(gone))).status).toBe(204);
      });

      it('mounted anonymously from nowhere opens an upload instead', async () => {
        const { digest } = fresh();
        const answer = await call('POST', `/v2/${repository}/blobs/uploads/?mount=${digest}`);
        expect(answer.status).toBe(202);
        expect((await call('DELETE', follow(answer))).status).toBe(204);
      });

      it('cancelled', async () => {
        const opened = await open();
        expect((await call('DELETE', follow(opened), { headers: { 'content-length': 0 } })).status).toBe(204);
        const gone = await call('GET', follow(opened));
        expect([gone.status, gone.code]).toEqual([404, 'BLOB_UPLOAD_UNKNOWN']);
      });

      it.each([false, true])('in chunks of 1 KiB, the last one by PUT: %s', async (lastByPut) => {
        const { content, digest } = fresh(3 * 1024 - 5);
        let at = await open();
        for (const index of lastByPut ? [0, 1] : [0, 1, 2]) {
          at = await patch(at, chunkOf(content, index), index * 1024);
          expect(at.status).toBe(202);
        }
        const last = lastByPut
          ? await patch(at, chunkOf(content, 2), 2048, 'PUT', `digest=${digest}`)
          : await call('PUT', follow(at, `digest=${digest}`), {
              headers: { ...octets, 'content-length': 0 },
            });
        await expectStored(last, content, digest);
      });

      it.each([false, true])('out of order, the last chunk by PUT: %s', async (lastByPut) => {
        const { content, digest } = fresh(3 * 1024 - 5);
        let at = await open();
        for (const [index, wrong] of [
          [0, 1],
          [1, 2],
          [2, 0],
        ] as const) {
          const byPut = lastByPut && wrong === 2;
          const query = byPut ? `digest=${digest}` : '';
          const refused = await patch(
            at,
            chunkOf(content, wrong),
            wrong * 1024,
            byPut ? 'PUT' : 'PATCH',
            query,
          );
          expect(refused.status).toBe(416);
          const status = await call('GET', follow(at));
          expect(status.status).toBe(204);
          expect(status.headers.range).toBe(`0-${Math.max(0, index * 1024 - 1)}`);
          expect(status.headers.location).toBeDefined();
          const put = lastByPut && index === 2;
          const finish = put ? `digest=${digest}` : '';
          at = await patch(status, chunkOf(content, index), index * 1024, put ? 'PUT' : 'PATCH', finish);
          expect(at.status).toBe(put ? 201 : 202);
        }
        if (!lastByPut) at = await call('PUT', follow(at, `digest=${digest}`));
        await expectStored(at, content, digest);
      });

      it('ranges', async () => {
        const { content, digest } = fresh(2048);
        await push(content, digest);
        for (const [range, start, end] of [
          ['500-1499', 500, 1499],
          ['500-', 500, 2047],
          ['-500', 1548, 2047],
          ['2000-5000', 2000, 2047],
        ] as const) {
          const part = await call('GET', blobPath(digest), { headers: { range: `bytes=${range}` } });
          expect(part.status).toBe(206);
          expect(part.headers['content-length']).toBe(String(end - start + 1));
          expect(part.headers['content-range']).toBe(`bytes ${start}-${end}/2048`);
          expect(part.body.equals(content.subarray(start, end + 1))).toBe(true);
        }
        for (const range of ['500-0', '5000-10000']) {
          const refused = await call('GET', blobPath(digest), { headers: { range: `bytes=${range}` } });
          expect([refused.status, refused.headers['content-range']]).toEqual([416, 'bytes */2048']);
        }
        await expectDeleted(blobPath(digest));
      });

      it.each([
        ['the empty blob', Buffer.alloc(0)],
        ['the empty JSON object', Buffer.from('{}')],
      ])('%s', async (_, content) => {
        const digest = digestOf(content, algorithm);
        await expectStored(
          await patch(await open(), content, undefined, 'PUT', `digest=${digest}`),
          content,
          digest,
        );
      });

      it('bytes that do not match their digest are refused by every way of pushing', async () => {
        const { content, digest } = fresh(3 * 1024 - 5);
        const bad = Buffer.concat([content, Buffer.from('oh no')]);
        const headers = { ...octets, 'content-length': bad.length };
        const post = await call('POST', `/v2/${repository}/blobs/uploads/?digest=${digest}`, {
          headers,
          body: bad,
        });
        const put = await patch(await open(), bad, undefined, 'PUT', `digest=${digest}`);
        const one = await patch(await open(), bad.subarray(0, 1024), 0);
        const chunked = await call(
          'PUT',
          follow(await patch(one, bad.subarray(1024), 1024), `digest=${digest}`),
        );
        const two = await patch(await open(), bad.subarray(0, 1024), 0);
        const lastByPut = await patch(two, bad.subarray(1024), 1024, 'PUT', `digest=${digest}`);
        const streamed = await call('PUT', follow(await patch(await open(), bad), `digest=${digest}`));
        for (const refused of [post, put, chunked, lastByPut, streamed]) {
          expect([refused.status, refused.code]).toEqual([400, 'DIGEST_INVALID']);
        }
        expect((await call('HEAD', blobPath(digest))).status).toBe(404);
      });
    });

    const accepted = options.missingBlobs === 'accepted';
    describe.each(conformanceSets({ sparseImages: accepted }))('$name', (set: ConformanceSet) => {
      it('is pushed, listed, read, referred to and deleted', async () => {
        for (const blob of set.blobs) await push(blob.content, blob.digest);
        for (const image of set.manifests) await putManifest(image);
        await expectTags(set);
        for (const image of set.manifests) await expectManifest(image);
        await expectReferrers(set);
        for (const image of set.manifests.toReversed()) {
          for (const tag of image.tags) await expectDeleted(manifestPath(tag));
          await expectDeleted(manifestPath(image.digest));
        }
        for (const blob of set.blobs) await expectDeleted(blobPath(blob.digest));
      });
    });

    const putManifest = async (image: ConformanceImage): Promise<void> => {
      const headers = { 'content-type': image.mediaType };
      const query = image.tagsByParameter ? `?${image.tags.map((tag) => `tag=${tag}`).join('&')}` : '';
      const tags = image.tagsByParameter ? [] : image.tags;
      for (const reference of [image.digest + query, ...tags]) {
        const put = await call('PUT', manifestPath(reference), { headers, body: image.bytes });
        expect(put.status, put.body.toString()).toBe(201);
        expect(put.headers['oci-subject']).toBe(image.subject);
        expect((await call('GET', follow(put))).body.equals(image.bytes)).toBe(true);
        if (reference.startsWith(image.digest))
          expect(put.headers['docker-content-digest']).toBe(image.digest);
        if (query !== '' && reference.startsWith(image.digest)) {
          expect(valuesOf(put, 'oci-tag').sort()).toEqual([...image.tags].sort());
        }
      }
    };
    const expectManifest = async (image: ConformanceImage): Promise<void> => {
      for (const reference of [image.digest, ...image.tags]) {
        const head = await call('HEAD', manifestPath(reference));
        const got = await call('GET', manifestPath(reference), {
          headers: { accept: `${mediaTypes.ociIndex}, ${mediaTypes.ociManifest}` },
        });
        for (const answer of [head, got]) {
          expect(answer.status).toBe(200);
          expect(answer.headers['content-type']).toBe(image.mediaType);
          expect(answer.headers['content-length']).toBe(String(image.bytes.length));
          expect(answer.headers['docker-content-digest']).toBe(image.digest);
        }
        expect(head.body).toHaveLength(0);
        expect(got.body.equals(image.bytes)).toBe(true);
      }
    };
    const expectTags = async (set: ConformanceSet): Promise<void> => {
      const tags = set.manifests.flatMap((image) => image.tags).sort();
      const list = async (query: string): Promise<readonly string[]> => {
        const answer = await call('GET', `/v2/${repository}/tags/list${query}`);
        expect([answer.status, answer.headers['content-type']]).toEqual([200, 'application/json']);
        return (JSON.parse(answer.body.toString()) as { tags: string[] }).tags;
      };
      const listed = await list('');
      expect(listed).toEqual(tags);
      const middle = tags[Math.floor(tags.length / 2) - 1];
      if (middle !== undefined)
        expect(await list(`?last=${middle}`)).toEqual(tags.filter((tag) => tag > middle));
      expect(await list('?n=0')).toEqual([]);
      expect(await list('?n=1')).toEqual(tags.slice(0, 1));
    };
    const expectReferrers = async (set: ConformanceSet): Promise<void> => {
      const subjects = new Set(
        set.manifests.flatMap(({ subject }) => (subject === undefined ? [] : [subject])),
      );
      for (const subject of subjects) {
        const referring = set.manifests.filter((image) => image.subject === subject);
        const all = await call('GET', `/v2/${repository}/referrers/${subject}`);
        expect(all.headers['content-type']).toBe(mediaTypes.ociIndex);
        expect(digestsOf(all).sort()).toEqual(referring.map(({ digest }) => digest).sort());
        for (const { digest, artifactType, annotations, mediaType, bytes } of referring) {
          const entry = descriptorsOf(all).find((one) => one['digest'] === digest);
          expect(entry).toMatchObject({ mediaType, size: bytes.length, artifactType });
          if (annotations !== undefined) expect(entry).toMatchObject({ annotations });
          const path = `/v2/${repository}/referrers/${subject}?artifactType=${encodeURIComponent(artifactType)}`;
          const filtered = await call('GET', path);
          expect(filtered.headers['oci-filters-applied']).toBe('artifactType');
          expect(descriptorsOf(filtered).every((one) => one['artifactType'] === artifactType)).toBe(true);
          expect(digestsOf(filtered)).toContain(digest);
        }
      }
    };

    refusedManifests(calls, accepted);
  });
}

function valuesOf(answer: HttpAnswer, name: string): string[] {
  return answer.rawHeaders.filter(
    (_, index) => answer.rawHeaders[index - 1]?.toLowerCase() === name && index % 2 === 1,
  );
}

function descriptorsOf(answer: HttpAnswer): Record<string, unknown>[] {
  return (JSON.parse(answer.body.toString()) as { manifests: Record<string, unknown>[] }).manifests;
}

function digestsOf(answer: HttpAnswer): string[] {
  return descriptorsOf(answer).map((one) => String(one['digest']));
}
