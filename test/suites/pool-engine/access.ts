import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { poolHeader } from '../../../cache-proxy/pools/pool-header.ts';
import { byHeader, testChallenge } from '../../helpers/pool-agent.ts';
import {
  type EngineUnderTest,
  expectBytes,
  openTestPool,
  poolAuthorization,
  pushImage,
  settle,
  type TestContent,
  type TestPool,
} from './fixture.ts';

/** Who is asked what before anything is served, on a cache that has everything already. */
export function accessSuite(under: EngineUnderTest): void {
  describe('access on a warm cache', () => {
    let test: TestPool;
    let image: TestContent;
    beforeAll(async () => {
      test = await openTestPool(under);
      image = await pushImage(test.origin.registry);
      for (const path of [image.blob, image.byDigest, image.byTag]) await test.get(path);
    });
    afterEach(async () => {
      test.agent.rule = byHeader;
      await settle(test);
    });
    afterAll(() => test.close());

    const kinds = ['blob', 'byDigest', 'byTag'] as const;

    it.each([
      [403, 'DENIED'],
      [404, 'BLOB_UNKNOWN'],
    ])('what the registry does not give the pool, %i, nobody gets', async (status, code) => {
      const other = await pushImage(test.origin.registry);
      test.origin.rule = () => ({ status });

      const answer = await test.get(other.blob);

      expect([answer.status, answer.body.toString()]).toEqual([status, expect.stringContaining(code)]);
    });

    it.each(kinds)('the gate decides every request, also a hit: %s', async (kind) => {
      expect((await test.get(image[kind])).status).toBe(200);

      test.agent.rule = () => ({ outcome: 'denied' });

      expect((await test.get(image[kind])).status).toBe(403);
    });

    it.each(
      kinds.flatMap((kind) => [
        { kind, who: 'bob', authorization: 'Bearer bob', status: 403, code: 'DENIED' },
        { kind, who: 'nobody', authorization: '', status: 401, code: 'UNAUTHORIZED' },
        { kind, who: 'a stranger', authorization: 'Bearer stranger', status: 404, code: 'UNKNOWN' },
        { kind, who: 'one nobody can tell', authorization: 'Bearer early', status: 503, code: 'UNAVAILABLE' },
      ]),
    )('$kind for $who is $status', async ({ kind, authorization, status, code }) => {
      for (const method of kind === 'blob' ? ['GET'] : ['GET', 'HEAD']) {
        const answer = await test.call(method, image[kind], { headers: { authorization } });

        expect(answer.status).toBe(status);
        if (method === 'GET') expect(answer.code).toContain(code);
        const challenges = answer.rawHeaders.filter((_, at) => at % 2 === 0 && isChallenge(answer, at));
        expect(challenges.length).toBe(status === 401 ? 1 : 0);
        if (status === 401) expect(answer.headers['www-authenticate']).toBe(testChallenge);
        if (status === 503) expect(answer.headers['retry-after']).toBe('7');
      }
    });

    it('every answer says which pool it came through, so that nodes can tell', async () => {
      const answers = [
        await test.get(image.blob),
        await test.get(image.byTag),
        await test.get('/v2/'),
        await test.get('/v2/team/none/manifests/none'),
        await test.get(image.byDigest, { authorization: '' }),
        await test.call('POST', `/v2/${image.repository}/blobs/uploads/`),
      ];

      expect(answers.map(({ headers }) => headers[poolHeader.toLowerCase()])).toEqual(
        answers.map(() => test.pool.name),
      );
    });

    it('the gate is told what the engine read from the path', async () => {
      const from = test.agent.asked.length;

      for (const kind of kinds) await test.get(image[kind], { authorization: 'Bearer bob' });

      const { repository } = image;
      const common = { repository, authorization: 'Bearer bob' };
      expect(test.agent.asked.slice(from)).toMatchObject([
        { ...common, kind: 'blob', reference: { digest: image.layerDigest } },
        { ...common, kind: 'manifest', reference: { digest: image.manifestDigest } },
        { ...common, kind: 'manifest', reference: { tag: 'v1' } },
      ]);
    });

    it('no way of writing a path leads to another repository', async () => {
      const secret = await pushImage(test.origin.registry);
      await test.get(secret.blob);
      await test.get(secret.byTag);
      const [asked, seen] = [test.agent.asked.length, test.origin.seen.length];
      const { repository } = image;
      const within = secret.blob.slice('/v2/'.length);
      const paths = [
        `${image.blob}/..%2f..%2f..%2f..%2f${encodeURIComponent(within)}`,
        `${image.blob}/../../../../${within}`,
        `/v2/${repository}/../../${within}`,
        `/v2/${repository}/%2e%2e/%2e%2e/${within}`,
        `/v2/${repository}/..%2f..%2f${within}`,
        `/v2//${within}`,
        `//v2/${within}`,
        `/v2/./${within}`,
        `/./v2/${within}`,
        `/v2/${within.replace('/', '//')}`,
        `/v2/${within.replace('/', '%2f')}`,
        `/v2/${within.replace('/', '%252f')}`,
        `/v2/${within.replaceAll('/', '\\')}`,
        `/v2/${within}/`,
        `/v2/${within}%00`,
        `/v2/${within};x`,
        `/v2/${within.toUpperCase()}`,
        `/v2/${secret.repository}/manifests/..%2fmanifests%2fv1`,
        `/V2/${within}`,
      ];

      for (const path of paths) {
        const answer = await test.get(path);

        expect({ path, refused: [400, 404].includes(answer.status) }).toEqual({ path, refused: true });
        expect(answer.body.includes(secret.layer.subarray(0, 64))).toBe(false);
      }
      expect(test.agent.asked.slice(asked)).toEqual([]);
      expect(test.origin.seen.slice(seen)).toEqual([]);
    });

    it('nothing but /v2/ and /token is passed on', async () => {
      expect((await test.get('/v2/', { authorization: '' })).headers['www-authenticate']).toBe(testChallenge);
      expect((await test.get('/v2/')).status).toBe(200);
      expect((await test.get('/token?service=pool')).body.toString()).toBe('{"token":"alice"}');
      for (const path of ['/', '/authz', '/metrics', '/_pool/status', '/v2/../authz', '/api/v1/']) {
        const { status } = await test.get(path);
        expect({ path, refused: [400, 404].includes(status) }).toEqual({ path, refused: true });
      }
    });

    it('the origin may be named by ?ns=, as containerd does, and another registry by the path, as Podman does', async () => {
      const foreign = await pushImage(test.other.registry);
      const { host } = new URL(test.origin.url);

      expectBytes((await test.get(`${image.byTag}?ns=${encodeURIComponent(host)}`)).body, image.manifest);
      for (const [path, bytes] of [
        [foreign.byTag, foreign.manifest],
        [foreign.blob, foreign.layer],
      ] as const) {
        const answer = await test.get(path.replace('/v2/', '/v2/other.test/'));

        expect(answer.status).toBe(200);
        expectBytes(answer.body, bytes);
      }
    });

    it('another registry is asked for by ?ns=, and one that is not configured is unknown', async () => {
      const foreign = await pushImage(test.other.registry);
      const from = test.agent.asked.length;

      for (const path of [foreign.blob, foreign.byDigest, foreign.byTag]) {
        const answer = await test.get(`${path}?ns=other.test`);
        expect(answer.status).toBe(200);
      }

      expect(test.agent.asked.slice(from).map(({ ns, repository }) => [ns, repository])).toEqual(
        Array.from({ length: 3 }, () => ['other.test', foreign.repository]),
      );
      // The pool's account is the origin's, and nobody else's business.
      expect(test.other.seen.map(({ headers }) => headers.authorization)).not.toContain(poolAuthorization);
      expect((await test.get(foreign.byTag)).status).toBe(404);
      expect((await test.get(`${image.byTag}?ns=nobody.test`)).status).toBe(404);
      expectBytes((await test.get(`${foreign.blob}?ns=other.test`)).body, foreign.layer);
    });
  });
}

function isChallenge(answer: { readonly rawHeaders: readonly string[] }, at: number): boolean {
  return answer.rawHeaders[at]?.toLowerCase() === 'www-authenticate';
}
