import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { Digest } from '../../../oci/digest.ts';
import { pushContent } from '../../helpers/content.ts';
import { type ObservedServer, observeServer } from '../../helpers/observed-server.ts';
import { waitFor } from '../../helpers/process.ts';
import { send } from '../../helpers/raw-http.ts';
import { startServer } from '../../helpers/server.ts';
import {
  clientOf,
  mirrorAccount,
  mirrorsOf,
  pullImage,
  type RealUpstream,
  startBrickyardUpstream,
  startMirror,
  startWithAccounts,
} from './mirror-fixture.ts';

const layer = randomBytes(1_600_000);
let upstream: RealUpstream;
let observed: ObservedServer;
let image: { readonly digest: Digest; readonly layer: Digest };

beforeAll(async () => {
  upstream = await startBrickyardUpstream();
  observed = await observeServer(upstream.url);
  const pushed = await pushContent(upstream.client, {
    'team/app': { blobs: { layer }, manifests: { image: { layers: ['layer'] } }, tags: { v1: 'image' } },
  });
  const { blobs, manifests } = pushed['team/app'];
  image = { digest: manifests.image.digest, layer: blobs.layer.digest };
});

beforeEach(() => {
  observed.seen.length = 0;
  observed.interfere = undefined;
});

afterAll(async () => {
  await observed?.close();
  await upstream?.stop();
});

describe('a mirror with accounts', () => {
  it('fetches nothing for somebody who may not pull, and what is stored is read by nobody else', async () => {
    const { server, stop } = await startWithAccounts(
      { reader: 'reader pass', other: 'other pass' },
      {
        env: { BRICKYARD_MIRRORS: mirrorsOf(observed.url, { prefix: 'up.test' }) },
        rules: [
          { repositories: 'up.test/team/**', users: ['reader'], actions: ['pull', 'push'] },
          { repositories: 'other/**', users: ['other'], actions: ['pull', 'push'] },
        ],
      },
    );
    const reader = clientOf(server, { username: 'reader', password: 'reader pass' });
    const other = clientOf(server, { username: 'other', password: 'other pass' });
    try {
      const nobody = await send(server.url, 'GET', '/v2/up.test/team/app/manifests/v1');
      expect(nobody.status).toBe(401);
      await expect(other.getManifest('up.test/team/app', 'v1')).rejects.toMatchObject({ code: 'DENIED' });
      await expect(other.getBlob('up.test/team/app', image.layer)).rejects.toMatchObject({ code: 'DENIED' });
      expect(observed.seen).toEqual([]);

      expect(await pullImage(reader, 'up.test/team/app', 'v1')).toBe(image.digest);

      await expect(other.getBlob('up.test/team/app', image.layer)).rejects.toMatchObject({ code: 'DENIED' });
      await expect(other.getBlob('other/app', image.layer)).rejects.toMatchObject({ code: 'BLOB_UNKNOWN' });
      expect(await other.mountBlob('other/app', image.layer, 'up.test/team/app')).toBe(false);
      // Whoever has the right to push is told why it is of no use here, also with a token.
      await expect(reader.startUpload('up.test/team/app')).rejects.toMatchObject({
        code: 'DENIED',
        message: expect.stringContaining('takes no pushes or deletes') as string,
      });
      // The client's own password never goes to the upstream.
      const sent = observed.seen.map(({ authorization = '' }) => authorization);
      const own = Buffer.from(`${mirrorAccount.username}:${mirrorAccount.password}`).toString('base64');
      expect(
        sent.every((value) => value === '' || value === `Basic ${own}` || value.startsWith('Bearer ')),
      ).toBe(true);
    } finally {
      reader.close();
      other.close();
      await stop();
    }
  });
});

describe('a mirror whose own account is not good enough', () => {
  it('is DENIED, with neither a question for the client nor a word of the password', async () => {
    const mirrors = mirrorsOf(observed.url, { prefix: 'up.test', password: 'not the password' });
    await using mirror = await startMirror(mirrors);

    const answer = await send(mirror.server.url, 'GET', '/v2/up.test/team/app/manifests/v1');

    expect(answer).toMatchObject({ status: 403, code: 'DENIED' });
    expect(answer.headers['www-authenticate']).toBeUndefined();
    expect(answer.body.toString()).toContain(`${observed.host} refuses this to the mirror`);
    expect(mirror.server.output()).not.toContain('not the password');
  });
});

describe('a mirror of several processes', () => {
  it('fetches a blob at most once in each, and any of them serves what another one fetched', async () => {
    const mirrors = mirrorsOf(observed.url, { prefix: 'up.test', revalidate: 0 });
    await using mirror = await startMirror(mirrors, { BRICKYARD_PROCESSES: '2' });
    const clients = Array.from({ length: 12 }, () => clientOf(mirror.server));
    try {
      await Promise.all(clients.map((client) => pullImage(client, 'up.test/team/app', 'v1')));
      const fetched = observed.reads().filter((read) => read.endsWith(image.layer)).length;
      expect(fetched).toBeGreaterThan(0);
      expect(fetched).toBeLessThanOrEqual(2);

      observed.interfere = (_request, response) => {
        response.writeHead(500).end();
        return true;
      };
      const pulled = await Promise.all(clients.map((client) => pullImage(client, 'up.test/team/app', 'v1')));
      expect(new Set(pulled)).toEqual(new Set([image.digest]));
    } finally {
      for (const client of clients) client.close();
    }
  });
});

describe('a mirror that is killed while a blob comes in', () => {
  it('has nothing of it afterwards, and gets it when it is asked again', async () => {
    const mirrors = mirrorsOf(observed.url, { prefix: 'up.test' });
    const options = { env: { BRICKYARD_PROCESSES: '1', BRICKYARD_MIRRORS: mirrors }, args: ['registry'] };
    const first = await startServer(options);
    let stalled = false;
    observed.interfere = (request, response) => {
      if (!request.url?.endsWith(image.layer) || request.headers.authorization === undefined) return false;
      response.writeHead(200, { 'content-length': layer.length });
      response.write(layer.subarray(0, 1_500_000), () => {
        stalled = true;
      });
      return true;
    };
    const client = clientOf(first);
    const broken = pullImage(client, 'up.test/team/app', 'v1').catch((error: unknown) => error);
    await waitFor(() => stalled, { what: 'the blob comes in' });
    await first.stop('SIGKILL');
    expect(await broken).toBeInstanceOf(Error);
    client.close();

    const second = await startServer({ ...options, data: first.data });
    const again = clientOf(second);
    try {
      observed.interfere = (_request, response) => {
        response.writeHead(500).end();
        return true;
      };
      const path = `/v2/up.test/team/app/blobs/${image.layer}`;
      expect((await send(second.url, 'GET', path)).status).toBe(503);
      observed.interfere = undefined;
      expect(await pullImage(again, 'up.test/team/app', 'v1')).toBe(image.digest);
    } finally {
      again.close();
      await second.remove();
    }
  });
});
