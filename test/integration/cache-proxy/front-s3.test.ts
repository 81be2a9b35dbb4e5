import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { type IncomingMessage, type OutgoingHttpHeaders, request } from 'node:http';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import bcrypt from 'bcryptjs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createRegistryClient, type RegistryClient } from '../../../oci/client.ts';
import { digestOf } from '../../../oci/digest.ts';
import { type CephStore, startCeph } from '../../helpers/ceph.ts';
import { pushContent } from '../../helpers/content.ts';
import { requirePrograms } from '../../helpers/dockerd.ts';
import { startFront, type TestFront } from '../../helpers/front.ts';
import { runOk } from '../../helpers/process.ts';
import { type HttpAnswer, send } from '../../helpers/raw-http.ts';
import { type Replicas, startReplicas, storeEnvironment } from '../../helpers/replicas.ts';
import { type Router, startRouter } from '../../helpers/router.ts';
import { createTempDirectory, type TempDirectory } from '../../helpers/temp.ts';
import { handedOver, randomBlob } from './front-fixture.ts';

/** Two slices of 8 MiB. */
const layer = randomBlob(9_000_000);
const digest = digestOf(layer);
const blobPath = `/v2/team/app/blobs/${digest}`;
const basic = (user: string): { authorization: string } => ({
  authorization: `Basic ${Buffer.from(`${user}:correct horse`).toString('base64')}`,
});

let folder: TempDirectory;
let ceph: CephStore;
/** In front of the store, at the address that presigned addresses name: sees who fetches what. */
let watched: Router;
let fetched: IncomingMessage[];
let replicas: Replicas;
let front: TestFront;
let alice: RegistryClient;

beforeAll(async () => {
  folder = await createTempDirectory('front');
  const htpasswd = join(folder.path, 'users.htpasswd');
  const hash = await bcrypt.hash('correct horse', 4);
  await writeFile(htpasswd, `alice:${hash}\nbob:${hash}\n`, { mode: 0o600 });
  ceph = await startCeph();
  const store = { ...ceph, bucket: await ceph.createBucket() };
  const { hostname, port } = new URL(ceph.endpoint);
  fetched = [];
  watched = await startRouter((incoming) => {
    fetched.push(incoming);
    return { host: hostname, port: Number(port) };
  });
  const env = {
    BRICKYARD_STORE_S3_PUBLIC_ENDPOINT: watched.url,
    BRICKYARD_AUTH_HTPASSWD: htpasswd,
    BRICKYARD_AUTH_RULES: JSON.stringify([
      { repositories: 'team/**', users: ['alice'], actions: ['pull', 'push', 'delete'] },
      { repositories: 'bob/**', users: ['bob'], actions: ['pull', 'push'] },
    ]),
    BRICKYARD_TRUSTED_PROXIES: '127.0.0.1',
    BRICKYARD_REGISTRY_ACCEL_MODE: 'on',
    BRICKYARD_REGISTRY_REDIRECT_MODE: 'on',
    // By its address on the loopback a client is in one network or another.
    BRICKYARD_REGISTRY_REDIRECT_NETWORKS: '127.0.2.0/24',
    BRICKYARD_REGISTRY_REDIRECT_EXCEPT_NETWORKS: '127.0.2.99',
    BRICKYARD_REGISTRY_REDIRECT_MIN_SIZE: '100000',
  };
  replicas = await startReplicas({ store, env });
  front = await startFront(replicas.urls, { ...storeEnvironment(store), ...env });
  const credentials = { username: 'alice', password: 'correct horse' };
  alice = createRegistryClient({ url: front.url, credentials });
  await alice.putBlob('team/app', digest, layer);
});

afterAll(async () => {
  alice?.close();
  await front?.stop();
  await replicas?.close();
  await watched?.close();
  await ceph?.stop();
  await folder?.remove();
});

const ask = (method: string, path: string, headers = {}): Promise<HttpAnswer> =>
  send(front.url, method, path, { headers: { ...basic('alice'), ...headers } });

/** As a client with this address. */
async function askFrom(
  localAddress: string,
  url: string,
  options: { method?: string; headers?: OutgoingHttpHeaders } = {},
): Promise<{ status: number; headers: IncomingMessage['headers']; body: Buffer }> {
  const { method = 'GET', headers = basic('alice') } = options;
  const message = request(url, { method, headers, localAddress, agent: false });
  message.end();
  const [response] = (await once(message, 'response')) as [IncomingMessage];
  return { status: response.statusCode ?? 0, headers: response.headers, body: await buffer(response) };
}

describe('nginx in front of three replicas on S3', () => {
  it('fetches a blob from the store once, a slice at a time, and never again', async () => {
    fetched = [];

    const first = await ask('GET', blobPath, { cookie: 'a=b', 'x-amz-acl': 'public-read' });
    const second = await ask('GET', blobPath);

    for (const { status, headers, body } of [first, second]) {
      expect(status).toBe(200);
      expect(body.equals(layer)).toBe(true);
      expect(headers).toMatchObject({
        'content-type': 'application/octet-stream',
        'content-length': String(layer.length),
        'docker-content-digest': digest,
        etag: `"${digest}"`,
        'accept-ranges': 'bytes',
        'cache-control': 'private, no-cache',
        'x-content-type-options': 'nosniff',
      });
    }
    expect(first.headers['x-brickyard-cache']).toBe('MISS');
    expect(second.headers['x-brickyard-cache']).toBe('HIT');
    expect(fetched.map(({ method, headers }) => [method, headers.range])).toEqual([
      ['GET', 'bytes=0-8388607'],
      ['GET', 'bytes=8388608-16777215'],
    ]);
    // Neither credentials nor anything else that the client said.
    for (const { headers } of fetched) expect(Object.keys(headers)).toEqual(['host', 'range']);
  });

  it('fetches it once for twenty that ask at once', async () => {
    const blob = randomBlob(9_000_000);
    await alice.putBlob('team/herd', digestOf(blob), blob);
    const before = await handedOver(replicas.urls, 'front');
    fetched = [];

    const pulls = Array.from({ length: 20 }, () => ask('GET', `/v2/team/herd/blobs/${digestOf(blob)}`));
    const answers = await Promise.all(pulls);

    expect(answers.every(({ body }) => body.equals(blob))).toBe(true);
    expect(fetched).toHaveLength(2);
    // Each of them was asked for by itself, though.
    expect(await handedOver(replicas.urls, 'front')).toBe(before + 20);
  });

  it('gives what it keeps to nobody whom the replicas do not let have it', async () => {
    expect((await ask('GET', blobPath)).headers['x-brickyard-cache']).toBe('HIT');
    await alice.putBlob('team/going', digest, layer);
    const going = `/v2/team/going/blobs/${digest}`;
    expect((await ask('GET', going)).status).toBe(200);
    fetched = [];

    const other = `/v2/bob/app/blobs/${digest}`;
    const answers = [
      await send(front.url, 'GET', blobPath),
      await send(front.url, 'GET', blobPath, { headers: basic('bob') }),
      await send(front.url, 'GET', other, { headers: basic('bob') }),
    ];
    expect(answers.map(({ status }) => status)).toEqual([401, 403, 404]);

    await alice.deleteBlob('team/going', digest);
    expect((await ask('GET', going)).status).toBe(404);
    expect((await ask('HEAD', going)).status).toBe(404);
    expect(fetched).toEqual([]);
  });

  it.each([
    ['bytes=8388600-8388620', 206, 8_388_600, 8_388_621],
    ['bytes=-7', 206, 8_999_993, 9_000_000],
    ['bytes=0-0,5-9', 200, 0, 9_000_000],
  ])('gives the range %s', async (range, status, start, end) => {
    const answer = await ask('GET', blobPath, { range });

    expect(answer.status).toBe(status);
    expect(answer.body.equals(layer.subarray(start, end))).toBe(true);
    if (status === 206) {
      expect(answer.headers['content-range']).toBe(`bytes ${start}-${end - 1}/${layer.length}`);
    }
  });

  it('refuses a range behind the end, with the size', async () => {
    for (const range of ['bytes=9000000-', 'bytes=90000000-90000001', 'bytes=9-5']) {
      const { status, headers } = await ask('GET', blobPath, { range });

      expect(status).toBe(416);
      expect(headers['content-range']).toBe('bytes */9000000');
    }
  });

  it('answers HEAD without asking the store for the bytes', async () => {
    fetched = [];

    const { status, headers } = await ask('HEAD', blobPath);

    expect(status).toBe(200);
    expect(headers['content-length']).toBe(String(layer.length));
    expect(fetched).toEqual([]);
  });

  it('fetches nothing for an outsider, from no address that he can think of', async () => {
    const [{ host }, { host: inner }] = [new URL(watched.url), new URL(ceph.endpoint)];
    fetched = [];

    const places = [
      `http/${host}/bucket/key`,
      `http/${inner}/bucket/key`,
      'http/127.0.0.1:1/x',
      'data/x',
      '',
    ];

    for (const place of places) {
      expect((await ask('GET', `/_bytes/${place}`)).status, place).toBe(404);
      expect((await ask('GET', `/%5f%62ytes//${place}`)).status, place).toBe(404);
    }
    expect(fetched).toEqual([]);
  });

  it('pushes and pulls an image, each request through any replica', async () => {
    const pushed = await pushContent(alice, {
      'team/image': { blobs: { layer }, manifests: { app: { layers: ['layer'] } }, tags: { v1: 'app' } },
    });

    expect((await alice.getManifest('team/image', 'v1')).bytes).toEqual(
      pushed['team/image'].manifests.app.bytes,
    );
    expect((await buffer((await alice.getBlob('team/image', digest)).body)).equals(layer)).toBe(true);
  });
});

describe('a redirect to S3', () => {
  it('is for clients of the networks that are named, behind nginx too, and for nobody else', async () => {
    const url = front.url + blobPath;

    const inside = await askFrom('127.0.2.1', url);
    const excepted = await askFrom('127.0.2.99', url);
    const outside = await askFrom('127.0.3.1', url);

    expect(inside.status).toBe(307);
    expect(inside.headers.location).toMatch(new RegExp(`^${watched.url}/`));
    expect(inside.headers.location).not.toContain('team');
    for (const answer of [excepted, outside]) {
      expect(answer.status).toBe(200);
      expect(answer.body.equals(layer)).toBe(true);
    }
  });

  it.each(['GET', 'HEAD'])(
    'leads a %s to the bytes, without credentials, with our Content-Type',
    async (method) => {
      const { headers } = await askFrom('127.0.2.1', front.url + blobPath, { method });

      const direct = await askFrom('127.0.2.1', headers.location ?? '', { method, headers: {} });
      const part = await askFrom('127.0.2.1', headers.location ?? '', {
        method,
        headers: { range: 'bytes=5-9' },
      });

      expect(headers['docker-content-digest']).toBe(digest);
      expect(direct.status).toBe(200);
      expect(direct.headers['content-type']).toBe('application/octet-stream');
      expect(direct.headers['content-length']).toBe(String(layer.length));
      if (method === 'GET') {
        expect(direct.body.equals(layer)).toBe(true);
        expect(part.body).toEqual(layer.subarray(5, 10));
      }
    },
  );

  it('is no way around rights, and opens one blob only', async () => {
    const location = (await askFrom('127.0.2.1', front.url + blobPath)).headers.location ?? '';
    const other = location.replace(/\/data\/[^?]+/, `/blobs/sha256/${digest.slice(7)}`);
    fetched = [];

    const bob = await askFrom('127.0.2.1', front.url + blobPath, { headers: basic('bob') });
    const nobody = await askFrom('127.0.2.1', front.url + blobPath, { headers: {} });
    const foreign = await askFrom('127.0.2.1', `${front.url}/v2/bob/app/blobs/${digest}`, {
      headers: basic('bob'),
    });

    expect([bob.status, nobody.status, foreign.status]).toEqual([403, 401, 404]);
    expect(fetched).toEqual([]);
    expect((await askFrom('127.0.2.1', other, { headers: {} })).status).toBe(403);
    const written = await askFrom('127.0.2.1', location, { method: 'DELETE', headers: {} });
    expect(written.status).toBe(403);
  });

  it('is not worth it for small blobs', async () => {
    const small = randomBlob(50_000);
    await alice.putBlob('team/app', digestOf(small), small);

    const { status, body } = await askFrom('127.0.2.1', `${front.url}/v2/team/app/blobs/${digestOf(small)}`);

    expect(status).toBe(200);
    expect(body).toEqual(small);
  });

  it('is followed by a real client, who keeps his password to himself', async () => {
    await requirePrograms(['skopeo']);
    await pushContent(alice, {
      'team/real': { blobs: { layer }, manifests: { app: { layers: ['layer'] } }, tags: { v1: 'app' } },
    });
    // A client on this machine has the address 127.0.0.1, unless the one who handed it on says another.
    const replica = new URL(replicas.urls[0] ?? '');
    await using forwarder = await startRouter((incoming) => {
      incoming.rawHeaders.push('X-Forwarded-For', '127.0.2.1');
      return { host: replica.hostname, port: Number(replica.port) };
    });
    fetched = [];

    const source = `docker://localhost:${forwarder.port}/team/real:v1`;
    const args = ['--src-tls-verify=false', '--src-creds', 'alice:correct horse', source];
    await runOk('skopeo', ['copy', ...args, `dir:${folder.path}/pulled`]);

    expect(fetched.map(({ method }) => method)).toEqual(['GET']);
    expect(fetched[0]?.headers).not.toHaveProperty('authorization');
    const pulled = await runOk('sha256sum', [join(folder.path, 'pulled', digest.slice(7))]);
    expect(pulled).toContain(digest.slice(7));
  });
});
