import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Digest } from '../../../oci/digest.ts';
import { pushContent } from '../../helpers/content.ts';
import { type ObservedServer, observeServer } from '../../helpers/observed-server.ts';
import { waitFor } from '../../helpers/process.ts';
import { send } from '../../helpers/raw-http.ts';
import {
  type MirrorServer,
  mirrorAccount,
  mirrorsOf,
  pullImage,
  type RealUpstream,
  startMirror,
  upstreams,
} from './mirror-fixture.ts';

/** More than is waited for before the answer begins. */
const large = randomBytes(1_600_000);

describe.each(upstreams)('a mirror of %s', (_, startUpstream) => {
  let upstream: RealUpstream;
  let observed: ObservedServer;
  let mirror: MirrorServer;
  let pushed = 0;

  beforeAll(async () => {
    upstream = await startUpstream();
    observed = await observeServer(upstream.url);
    mirror = await startMirror(
      mirrorsOf(
        observed.url,
        { prefix: 'up.test', deny: ['secret/**'] },
        { prefix: 'now.test', revalidate: 0 },
      ),
    );
  });

  afterAll(async () => {
    await mirror?.[Symbol.asyncDispose]();
    await observed?.close();
    await upstream?.stop();
  });

  /** An image of its own for each test; two layers that nothing else has. */
  async function pushImage(repository: string, tag: string, layers: readonly Buffer[] = [large]) {
    pushed += 1;
    const blobs = Object.fromEntries(
      layers.map((bytes, index) => [`${index}`, Buffer.concat([bytes, Buffer.from(`${pushed}.${index}`)])]),
    );
    const content = { blobs, manifests: { image: { layers: Object.keys(blobs) } }, tags: { [tag]: 'image' } };
    return (await pushContent(upstream.client, { [repository]: content }))[repository] as {
      blobs: Record<string, { digest: Digest }>;
      manifests: { image: { digest: string } };
    };
  }

  it('asks once for what twenty pull at the same time, and never again', async () => {
    const image = await pushImage('team/busy', 'v1', [large, randomBytes(100_000)]);
    observed.seen.length = 0;

    const pulled = await Promise.all(
      Array.from({ length: 20 }, () => pullImage(mirror.client, 'up.test/team/busy', 'v1')),
    );

    expect(new Set(pulled)).toEqual(new Set([image.manifests.image.digest]));
    const base = '/v2/team/busy';
    const blobs = observed.reads().filter((path) => path.startsWith(`GET ${base}/blobs/`));
    expect(blobs).toHaveLength(3);
    expect(new Set(blobs).size).toBe(3);
    expect(observed.reads().filter((path) => path.includes('/manifests/'))).toEqual([
      `HEAD ${base}/manifests/v1`,
      `GET ${base}/manifests/${image.manifests.image.digest}`,
    ]);

    observed.seen.length = 0;
    await pullImage(mirror.client, 'up.test/team/busy', 'v1');
    expect(observed.seen).toEqual([]);
  });

  it('follows a tag that moves, and only asks whether it did where it did not', async () => {
    await pushImage('team/moving', 'latest');
    await pullImage(mirror.client, 'now.test/team/moving', 'latest');
    const second = await pushImage('team/moving', 'latest');

    expect(await pullImage(mirror.client, 'now.test/team/moving', 'latest')).toBe(
      second.manifests.image.digest,
    );
    observed.seen.length = 0;
    await pullImage(mirror.client, 'now.test/team/moving', 'latest');

    expect(observed.reads()).toEqual(['HEAD /v2/team/moving/manifests/latest']);
  });

  it('hands on a body that breaks off as an error, stores nothing of it, and gets it the next time', async () => {
    const image = await pushImage('team/broken', 'v1');
    const digest = image.blobs['0']?.digest ?? '';
    observed.interfere = (request, response) => {
      if (!request.url?.endsWith(`/blobs/${digest}`) || request.headers.authorization === undefined)
        return false;
      response.writeHead(200, { 'content-length': large.length + 3 });
      response.write(large.subarray(0, 1_000_000), () => response.destroy());
      return true;
    };

    await expect(pullImage(mirror.client, 'up.test/team/broken', 'v1')).rejects.toThrow();
    observed.interfere = undefined;

    expect(await pullImage(mirror.client, 'up.test/team/broken', 'v1')).toBe(image.manifests.image.digest);
  });

  it('lists tags page by page', async () => {
    for (const tag of ['c', 'a', 'b']) await pushImage('team/tags', tag, [Buffer.from(tag)]);

    const first = await mirror.client.listTags('up.test/team/tags', { limit: 2 });
    const second = await mirror.client.listTags('up.test/team/tags', { limit: 2, last: 'b' });

    expect(first).toEqual({ entries: ['a', 'b'], next: 'b' });
    expect(second).toEqual({ entries: ['c'] });
  });

  it('refuses what the lists leave out, and pushes and deletes, without asking the upstream', async () => {
    const { url } = mirror.server;
    observed.seen.length = 0;

    const denied = await send(url, 'GET', '/v2/up.test/secret/app/manifests/v1');
    const push = await send(url, 'POST', '/v2/up.test/team/app/blobs/uploads/');
    const remove = await send(url, 'DELETE', '/v2/up.test/team/busy/manifests/v1');

    for (const answer of [denied, push, remove])
      expect(answer).toMatchObject({ status: 403, code: 'DENIED' });
    expect(push.body.toString()).toContain('takes no pushes or deletes');
    expect(observed.seen).toEqual([]);
  });

  it('is 404 for what the upstream does not have, and passes on no 401 of its own', async () => {
    const { url } = mirror.server;
    const manifest = await send(url, 'GET', '/v2/up.test/team/none/manifests/v1');
    const blob = await send(url, 'GET', `/v2/up.test/team/busy/blobs/sha256:${'0'.repeat(64)}`);

    expect(manifest).toMatchObject({ status: 404, code: 'MANIFEST_UNKNOWN' });
    expect(blob).toMatchObject({ status: 404, code: 'BLOB_UNKNOWN' });
  });

  it('serves what it has while the upstream limits it, and says how long to wait for the rest', async () => {
    const image = await pushImage('team/limited', 'v1');
    await pullImage(mirror.client, 'now.test/team/limited', 'v1');
    observed.interfere = (_request, response) => {
      response.writeHead(429, { 'retry-after': '1' }).end('{"errors":[{"code":"TOOMANYREQUESTS"}]}');
      return true;
    };
    const { url } = mirror.server;

    const stale = await send(url, 'GET', '/v2/now.test/team/limited/manifests/v1');
    const fresh = await send(url, 'GET', '/v2/up.test/team/new/manifests/v1');
    observed.interfere = undefined;

    expect(stale.status).toBe(200);
    expect(stale.headers['docker-content-digest']).toBe(image.manifests.image.digest);
    expect(stale.headers['warning']).toBe(
      `299 - "not compared with ${observed.host}, which does not answer"`,
    );
    expect(fresh).toMatchObject({ status: 429, code: 'TOOMANYREQUESTS' });
    expect(fresh.headers['retry-after']).toBe('1');
    expect(fresh.body.toString()).toContain(`${observed.host} limits the mirror's pulls`);
    await waitFor(async () => (await send(url, 'GET', '/v2/up.test/team/new/manifests/v1')).status === 404, {
      what: 'the upstream is asked again',
    });
  });

  // The last one, as nothing answers afterwards.
  it('serves what was pulled when the upstream is gone, and fails clearly for the rest', async () => {
    const image = await pushImage('team/kept', 'v1');
    await pushImage('team/late', 'v1');
    await pullImage(mirror.client, 'now.test/team/kept', 'v1');
    await mirror.client.getManifest('now.test/team/late', 'v1');
    await upstream.stop();
    await observed.close();
    const { url } = mirror.server;

    expect(await pullImage(mirror.client, 'now.test/team/kept', 'v1')).toBe(image.manifests.image.digest);
    expect((await mirror.client.listTags('now.test/team/kept', { limit: 10 })).entries).toEqual(['v1']);
    expect((await mirror.client.listRepositories({ limit: 100 })).entries).toContain('now.test/team/kept');
    // Its blobs never came: half an image is none.
    for (const path of ['/v2/now.test/team/late/manifests/v1', '/v2/up.test/team/never/manifests/v1']) {
      const missing = await send(url, 'GET', path);
      expect(missing).toMatchObject({ status: 503, code: 'UNAVAILABLE' });
      expect(missing.body.toString()).toContain(`the upstream ${observed.host} does not answer`);
      expect(Number(missing.headers['retry-after'])).toBeGreaterThan(0);
    }
    const metrics = (await send(url, 'GET', '/metrics')).body.toString();
    for (const outcome of ['answered', 'unknown', 'limited', 'failed']) {
      expect(metrics).toMatch(
        new RegExp(`brickyard_mirror_requests_total{upstream="${observed.host}",outcome="${outcome}"} [1-9]`),
      );
    }
    expect(metrics).toMatch(/brickyard_mirror_stale_total\{.*\} [1-9]/);
    expect(metrics).toMatch(/brickyard_mirror_blob_bytes_total\{.*\} [1-9]/);
    expect(mirror.server.output()).not.toContain(mirrorAccount.password);
    expect(mirror.server.output()).not.toContain(
      Buffer.from(`${mirrorAccount.username}:${mirrorAccount.password}`).toString('base64'),
    );
  });
});
