import { once } from 'node:events';
import { createServer, type IncomingHttpHeaders, type IncomingMessage, request } from 'node:http';
import type { AddressInfo } from 'node:net';
import { finished } from 'node:stream/promises';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { digestOf } from '../../../oci/digest.ts';
import { waitFor } from '../../helpers/process.ts';
import {
  type EngineUnderTest,
  expectBytes,
  openTestPool,
  poolAuthorization,
  pushImage,
  settle,
  slice,
  type TestPool,
} from './fixture.ts';

/** What reaches the origin: writes and questions about blobs as the client itself, fetches as the pool. */
export function originSideSuite(under: EngineUnderTest): void {
  describe('towards the origin', () => {
    let test: TestPool;
    beforeAll(async () => {
      test = await openTestPool(under);
    });
    afterEach(() => settle(test));
    afterAll(() => test.close());

    it('what is fetched is fetched with the pool’s account, never with the client’s', async () => {
      const image = await pushImage(test.origin.registry);
      const from = test.origin.seen.length;

      for (const path of [image.byTag, image.byDigest, image.blob]) await test.get(path);

      const sent = test.origin.seen.slice(from).map(({ headers }) => headers.authorization);
      expect(sent).toContain(poolAuthorization);
      // Some ask without an account first, to learn what is wanted.
      expect(new Set(sent.filter((each) => each !== undefined))).toEqual(new Set([poolAuthorization]));
    });

    it('a push passes, piece by piece as the client sends it, with the client’s own Authorization', async () => {
      const { repository } = await pushImage(test.origin.registry);
      const piece = Buffer.alloc(1024 * 1024, 'brick');
      const content = Buffer.concat(Array.from({ length: 50 }, () => piece));
      const opened = await test.call('POST', `/v2/${repository}/blobs/uploads/`);
      expect(opened.status).toBe(202);
      const upload = locationIn(opened.headers, test.engine.url);

      const patch = request(new URL(upload, test.engine.url), {
        method: 'PATCH',
        headers: { authorization: 'Bearer alice', 'content-length': content.length },
        agent: false,
      });
      const answered = once(patch, 'response') as Promise<[IncomingMessage]>;
      patch.write(piece);
      await waitFor(
        () => test.origin.seen.some(({ method, received }) => method === 'PATCH' && received > 0),
        {
          what: 'the first bytes of a push at the origin',
          timeoutMs: 20_000,
        },
      );
      for (let sent = 1; sent < 50; sent += 1) {
        if (!patch.write(piece)) await once(patch, 'drain');
      }
      patch.end();
      const [patched] = await answered;
      patched.resume();
      await finished(patched);
      expect(patched.statusCode).toBe(202);
      const next = new URL(locationIn(patched.headers, test.engine.url), test.engine.url);
      next.searchParams.set('digest', digestOf(content));
      const put = await test.call('PUT', next.pathname + next.search);

      expect(put.status).toBe(201);
      const writes = test.origin.seen.filter(({ method }) => ['POST', 'PATCH', 'PUT'].includes(method));
      expect(new Set(writes.map(({ headers }) => headers.authorization))).toEqual(new Set(['Bearer alice']));
      expectBytes((await test.get(`/v2/${repository}/blobs/${digestOf(content)}`)).body, content);
    });

    it('a pushed manifest is the tag’s next answer', async () => {
      const image = await pushImage(test.origin.registry);
      await test.get(image.byTag);
      const next = Buffer.from(
        JSON.stringify({ ...JSON.parse(image.manifest.toString()), annotations: { a: 'b' } }),
      );

      const put = await test.call('PUT', image.byTag, {
        body: next,
        headers: { 'content-type': 'application/vnd.oci.image.manifest.v1+json' },
      });

      expect(put.status).toBe(201);
      await waitFor(async () => (await test.get(image.byTag)).body.equals(next), {
        what: 'the pushed manifest',
        timeoutMs: 10_000,
      });
    });

    it('whether a blob is there is the origin’s to say, also when it lies in the cache', async () => {
      const image = await pushImage(test.origin.registry);
      const { repository } = await pushImage(test.origin.registry);
      await test.get(image.blob);
      const from = test.origin.seen.length;

      const there = await test.call('HEAD', image.blob);
      const elsewhere = await test.call('HEAD', `/v2/${repository}/blobs/${image.layerDigest}`);

      expect([there.status, there.headers['content-length']]).toEqual([200, String(image.layer.length)]);
      expect(elsewhere.status).toBe(404);
      expect(
        test.origin.seen.slice(from).map(({ method, headers }) => [method, headers.authorization]),
      ).toEqual([
        ['HEAD', 'Bearer alice'],
        ['HEAD', 'Bearer alice'],
      ]);
    });

    it('lists and deletes pass with the client’s own Authorization', async () => {
      const image = await pushImage(test.origin.registry);
      const from = test.origin.seen.length;

      const tags = await test.get(`/v2/${image.repository}/tags/list?n=5`);
      const deleted = await test.call('DELETE', image.byTag);

      expect(JSON.parse(tags.body.toString())).toEqual({ name: image.repository, tags: ['v1'] });
      expect(deleted.status).toBe(202);
      expect(
        test.origin.seen
          .slice(from)
          .map(({ method, path, headers }) => [method, path, headers.authorization]),
      ).toEqual([
        ['GET', `/v2/${image.repository}/tags/list?n=5`, 'Bearer alice'],
        ['DELETE', image.byTag, 'Bearer alice'],
      ]);
    });

    it('a redirect to object storage is followed here, without any credential, and never cached', async () => {
      const image = await pushImage(test.origin.registry, 3 * slice + 5);
      const bucket = await startBucket(image.layer);
      test.origin.rule = ({ method, path }) =>
        method === 'GET' && path === image.blob
          ? { status: 307, headers: { location: `${bucket.url}/layer?signature=1` } }
          : undefined;
      try {
        const answers = [await test.get(image.blob), await test.get(image.blob)];

        for (const answer of answers) {
          expect([answer.status, answer.headers.location]).toEqual([200, undefined]);
          expect(answer.headers['docker-content-digest']).toBe(image.layerDigest);
          expectBytes(answer.body, image.layer);
        }
        expect(bucket.seen.length).toBeGreaterThan(0);
        expect(bucket.seen.map(({ authorization }) => authorization)).not.toContain(expect.any(String));
        expect(bucket.sent()).toBe(image.layer.length);
      } finally {
        await bucket.close();
      }
    });
  });
}

/** As clients read it: absolute or relative, but always back to the pool. */
function locationIn(headers: IncomingHttpHeaders, pool: string): string {
  const url = new URL(headers.location ?? '', pool);
  expect(url.origin).toBe(new URL(pool).origin);
  return url.pathname + url.search;
}

/** One object, in ranges too. */
async function startBucket(
  content: Buffer,
): Promise<{ url: string; seen: IncomingHttpHeaders[]; sent(): number; close(): Promise<void> }> {
  const seen: IncomingHttpHeaders[] = [];
  let sent = 0;
  const server = createServer(({ headers }, response) => {
    seen.push(headers);
    const match = /^bytes=(\d+)-(\d*)$/.exec(headers.range ?? '');
    const start = Number(match?.[1] ?? 0);
    const end = Math.min(Number(match?.[2] || content.length - 1), content.length - 1);
    const body = content.subarray(start, end + 1);
    sent += body.length;
    response.writeHead(match === null ? 200 : 206, {
      'content-length': body.length,
      ...(match === null ? {} : { 'content-range': `bytes ${start}-${end}/${content.length}` }),
    });
    response.end(body);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    seen,
    sent: () => sent,
    async close() {
      server.close();
      server.closeAllConnections();
      await once(server, 'close');
    },
  };
}
