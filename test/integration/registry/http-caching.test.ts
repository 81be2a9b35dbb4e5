import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createMemoryStore } from '../../../core/object-store/memory.ts';
import { digestOf } from '../../../oci/digest.ts';
import { mediaTypes } from '../../../oci/media-types.ts';
import { createStoredRegistry } from '../../../registry/stored-registry.ts';
import { send } from '../../helpers/raw-http.ts';
import { startRegistryServer, type TestRegistryServer } from '../../helpers/registry-server.ts';

const config = Buffer.from('{}');
const descriptor = { mediaType: mediaTypes.ociConfig, digest: digestOf(config), size: config.length };
const image = { schemaVersion: 2, mediaType: mediaTypes.ociManifest, config: descriptor, layers: [] };
const bytes = Buffer.from(JSON.stringify(image));
const digest = digestOf(bytes);

let server: TestRegistryServer;
beforeAll(async () => {
  const registry = createStoredRegistry({ store: createMemoryStore() });
  server = await startRegistryServer(registry);
  await registry.putBlob('a', descriptor.digest, config);
  await registry.putManifest('a', 'latest', bytes, mediaTypes.ociManifest);
});
afterAll(async () => {
  await server.close();
});

describe('If-None-Match', () => {
  it.each([`"${digest}"`, digest, `W/"${digest}"`, '*', `"other", "${digest}"`])(
    '%s is 304 without a body, for GET and HEAD',
    async (header) => {
      for (const method of ['GET', 'HEAD']) {
        const answer = await send(server.url, method, '/v2/a/manifests/latest', {
          headers: { 'if-none-match': header },
        });
        expect([answer.status, answer.body.length, answer.headers.etag]).toEqual([304, 0, `"${digest}"`]);
      }
    },
  );

  it.each(['"other"', '', digest.slice(0, -1)])('%j is 200', async (header) => {
    const answer = await send(server.url, 'GET', '/v2/a/manifests/latest', {
      headers: { 'if-none-match': header },
    });
    expect([answer.status, answer.body.equals(bytes)]).toEqual([200, true]);
  });
});

describe('many referrers with large annotations', () => {
  it('come in pages of at most 4 MiB, each one once', async () => {
    const pushed: string[] = [];
    for (let index = 0; index < 12; index += 1) {
      const annotations = { large: String(index).padEnd(600_000, 'x') };
      const referrer = Buffer.from(
        JSON.stringify({ ...image, subject: { ...descriptor, digest }, annotations }),
      );
      const put = await send(server.url, 'PUT', `/v2/a/manifests/${digestOf(referrer)}`, {
        headers: { 'content-type': mediaTypes.ociManifest },
        body: referrer,
      });
      expect(put.status).toBe(201);
      pushed.push(digestOf(referrer));
    }

    const listed: string[] = [];
    let pages = 0;
    for (let path: string | undefined = `/v2/a/referrers/${digest}`; path !== undefined; pages += 1) {
      const page = await send(server.url, 'GET', path);
      expect(page.status).toBe(200);
      expect(page.body.length).toBeLessThanOrEqual(4 * 1024 * 1024);
      const { manifests } = JSON.parse(page.body.toString()) as { manifests: { digest: string }[] };
      listed.push(...manifests.map((entry) => entry.digest));
      path = /^<([^>]+)>; rel="next"$/.exec(String(page.headers.link ?? ''))?.[1];
    }

    expect(pages).toBe(2);
    expect(listed).toEqual([...pushed].sort());
  });
});
