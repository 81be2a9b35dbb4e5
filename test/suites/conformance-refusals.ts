import { randomBytes } from 'node:crypto';
import { expect, it } from 'vitest';
import { digestOf } from '../../oci/digest.ts';
import { mediaTypes } from '../../oci/media-types.ts';
import type { ConformanceCalls } from './conformance-calls.ts';
import { conformanceSets } from './conformance-content.ts';

/** The cases of manifests that a registry does not have, or does not take. */
export function refusedManifests(calls: ConformanceCalls, missingBlobsAccepted: boolean): void {
  const { call, blobPath, manifestPath, push, expectDeleted } = calls;

  it('a manifest that was never pushed is 404 by tag and by digest', async () => {
    for (const reference of ['never-pushed', digestOf(randomBytes(8)), '.INVALID_MANIFEST_NAME']) {
      expect((await call('GET', manifestPath(reference))).status).toBe(404);
      expect((await call('HEAD', manifestPath(reference))).status).toBe(404);
    }
  });

  it('a digest that is none is 400 on PUT and on GET', async () => {
    const headers = { 'content-type': mediaTypes.ociManifest };
    const put = await call('PUT', manifestPath('sha256:baddigeststring'), { headers, body: '{}' });
    expect([put.status, put.code]).toEqual([400, 'DIGEST_INVALID']);
    expect((await call('GET', manifestPath('sha256:baddigeststring'))).status).toBe(400);
  });

  if (!missingBlobsAccepted) {
    it('an image whose layer is missing is refused, and leaves nothing', async () => {
      const sparse = conformanceSets({ sparseImages: true }).find((set) => set.name === 'a sparse image');
      const [image] = sparse?.manifests ?? [];
      if (sparse === undefined || image === undefined) throw new Error('no such set');
      for (const blob of sparse.blobs) await push(blob.content, blob.digest);

      for (const reference of [image.digest, 'sparse-image']) {
        const headers = { 'content-type': image.mediaType };
        const put = await call('PUT', manifestPath(reference), { headers, body: image.bytes });
        expect([put.status, put.code]).toEqual([404, 'MANIFEST_BLOB_UNKNOWN']);
        expect((await call('HEAD', manifestPath(reference))).status).toBe(404);
      }
      for (const blob of sparse.blobs) await expectDeleted(blobPath(blob.digest));
    });
  }

  it('a manifest whose descriptor has another size than its blob is refused', async () => {
    const content = randomBytes(64);
    const config = { mediaType: mediaTypes.ociConfig, digest: digestOf(content), size: content.length };
    await push(content, config.digest);
    const headers = { 'content-type': mediaTypes.ociManifest };
    for (const size of [content.length - 1, content.length + 1]) {
      const layers = [{ ...config, mediaType: mediaTypes.ociLayer, size }];
      const body = JSON.stringify({ schemaVersion: 2, mediaType: mediaTypes.ociManifest, config, layers });
      const put = await call('PUT', manifestPath('wrong-size'), { headers, body });
      expect([put.status, put.code]).toEqual([400, 'MANIFEST_INVALID']);
      expect((await call('HEAD', manifestPath(digestOf(body)))).status).toBe(404);
    }
    expect((await call('HEAD', manifestPath('wrong-size'))).status).toBe(404);
    await expectDeleted(blobPath(config.digest));
  });

  it('a manifest that does not match its digest is refused', async () => {
    const headers = { 'content-type': mediaTypes.ociManifest };
    const bytes = `{"schemaVersion":2,"mediaType":"${mediaTypes.ociManifest}"}`;
    const put = await call('PUT', manifestPath(digestOf(bytes)), { headers, body: `${bytes}  ` });
    expect(put.status).toBe(400);
    expect((await call('HEAD', manifestPath(digestOf(bytes)))).status).toBe(404);
  });
}
