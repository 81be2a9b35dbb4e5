import { once } from 'node:events';
import { createReadStream } from 'node:fs';
import { readdir, rm, stat, writeFile } from 'node:fs/promises';
import { type IncomingMessage, request } from 'node:http';
import { join, relative } from 'node:path';
import { buffer } from 'node:stream/consumers';
import bcrypt from 'bcryptjs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createRegistryClient, type RegistryClient } from '../../../oci/client.ts';
import { digestOf } from '../../../oci/digest.ts';
import { emptyConfig, pushContent } from '../../helpers/content.ts';
import { requirePrograms } from '../../helpers/dockerd.ts';
import { startFront, type TestFront } from '../../helpers/front.ts';
import { runOk, waitFor } from '../../helpers/process.ts';
import { type HttpAnswer, send } from '../../helpers/raw-http.ts';
import { startServer, type TestServer } from '../../helpers/server.ts';
import { createTempDirectory, type TempDirectory } from '../../helpers/temp.ts';
import { handedOver, randomBlob } from './front-fixture.ts';

const layer = randomBlob(5_000_000);
const digest = digestOf(layer);
const blobPath = `/v2/team/app/blobs/${digest}`;
const basic = (user: string): { authorization: string } => ({
  authorization: `Basic ${Buffer.from(`${user}:correct horse`).toString('base64')}`,
});

let folder: TempDirectory;
let replicas: TestServer[];
let urls: string[];
let front: TestFront;
let alice: RegistryClient;
let env: Record<string, string>;

beforeAll(async () => {
  folder = await createTempDirectory('front');
  const htpasswd = join(folder.path, 'users.htpasswd');
  const hash = await bcrypt.hash('correct horse', 4);
  await writeFile(htpasswd, `alice:${hash}\nbob:${hash}\n`, { mode: 0o600 });
  env = {
    BRICKYARD_DATA: join(folder.path, 'data'),
    BRICKYARD_PROCESSES: '1',
    BRICKYARD_AUTH_HTPASSWD: htpasswd,
    BRICKYARD_AUTH_RULES: JSON.stringify([
      { repositories: 'team/**', users: ['alice'], actions: ['pull', 'push', 'delete'] },
      { repositories: 'bob/**', users: ['bob'], actions: ['pull', 'push'] },
    ]),
    BRICKYARD_TRUSTED_PROXIES: '127.0.0.1',
    BRICKYARD_REGISTRY_ACCEL_MODE: 'on',
  };
  const first = await startServer({ args: ['registry'], env });
  replicas = [first, await startServer({ args: ['registry'], env })];
  urls = replicas.map(({ url }) => url);
  front = await startFront(urls, env);
  const credentials = { username: 'alice', password: 'correct horse' };
  alice = createRegistryClient({ url: front.url, credentials });
  await alice.putBlob('team/app', digest, layer);
});

afterAll(async () => {
  alice?.close();
  await front?.stop();
  for (const replica of replicas ?? []) await replica.remove();
  await folder?.remove();
});

const ask = (method: string, path: string, headers = {}): Promise<HttpAnswer> =>
  send(front.url, method, path, { headers: { ...basic('alice'), ...headers } });

/** The last line of nginx' log about this request, once it was written: that is after the client has the last byte. */
async function logged(method: string, path: string, status: number) {
  return waitFor(
    async () =>
      (await front.nginx.log()).findLast(
        (line) => line.method === method && line.path === path && line.status === status,
      ),
    { what: `a line for ${method} ${path} in nginx' log` },
  );
}

describe('nginx in front of two replicas on files', () => {
  it('takes a push by either replica and gives it back, equal to the last byte, without the replicas sending one', async () => {
    const before = await handedOver(urls, 'front');
    const pushed = await pushContent(alice, {
      'team/image': { blobs: { layer }, manifests: { app: { layers: ['layer'] } }, tags: { v1: 'app' } },
    });

    const { bytes } = await alice.getManifest('team/image', 'v1');
    const { body, size } = await alice.getBlob('team/image', digest);

    expect(bytes).toEqual(pushed['team/image'].manifests.app.bytes);
    expect(size).toBe(layer.length);
    expect((await buffer(body)).equals(layer)).toBe(true);
    expect(await handedOver(urls, 'front')).toBe(before + 1);
    const line = await logged('GET', `/v2/team/image/blobs/${digest}`, 200);
    expect(line.sent).toBeGreaterThan(layer.length);
    expect(Number(line.upstreamReceived)).toBeLessThan(2000);
    const config = await alice.getBlob('team/image', digestOf(emptyConfig));
    expect(await buffer(config.body)).toEqual(emptyConfig);
  });

  it('says of a blob what the replica says of it', async () => {
    const { headers, body } = await ask('GET', blobPath);

    expect(body.equals(layer)).toBe(true);
    expect(headers).toMatchObject({
      'content-type': 'application/octet-stream',
      'content-length': String(layer.length),
      'docker-content-digest': digest,
      'docker-distribution-api-version': 'registry/2.0',
      etag: `"${digest}"`,
      'accept-ranges': 'bytes',
      'cache-control': 'private, no-cache',
      'x-content-type-options': 'nosniff',
    });
    expect(headers).not.toHaveProperty('x-accel-redirect');
  });

  it.each([
    ['bytes=1000-1999', 206, 1000, 2000],
    ['bytes=4999990-', 206, 4_999_990, 5_000_000],
    ['bytes=-7', 206, 4_999_993, 5_000_000],
    ['bytes=0-0,5-9', 200, 0, 5_000_000],
  ])('gives the range %s', async (range, status, start, end) => {
    const answer = await ask('GET', blobPath, { range });

    expect(answer.status).toBe(status);
    expect(answer.body.equals(layer.subarray(start, end))).toBe(true);
    if (status === 206) {
      expect(answer.headers['content-range']).toBe(`bytes ${start}-${end - 1}/${layer.length}`);
    }
    expect(answer.headers['docker-content-digest']).toBe(digest);
  });

  it('refuses a range behind the end, and goes on where If-Range names the blob', async () => {
    const beyond = await ask('GET', blobPath, { range: 'bytes=5000000-' });
    expect(beyond.status).toBe(416);
    expect(beyond.headers['content-range']).toBe('bytes */5000000');

    const going = await ask('GET', blobPath, { range: 'bytes=10-', 'if-range': `"${digest}"` });
    expect(going.status).toBe(206);
    expect(going.body.equals(layer.subarray(10))).toBe(true);
    const changed = await ask('GET', blobPath, { range: 'bytes=10-', 'if-range': '"another"' });
    expect(changed.status).toBe(200);
  });

  it('answers HEAD with the size and no bytes', async () => {
    const { status, headers, body } = await ask('HEAD', blobPath);

    expect(status).toBe(200);
    expect(headers).toMatchObject({
      'content-length': String(layer.length),
      'docker-content-digest': digest,
    });
    expect(body.length).toBe(0);
  });

  it('gives a blob to nobody who may not read it where he asks', async () => {
    const other = `/v2/bob/app/blobs/${digest}`;

    const answers = [
      await send(front.url, 'GET', blobPath),
      await send(front.url, 'GET', blobPath, { headers: basic('bob') }),
      await send(front.url, 'GET', other, { headers: basic('bob') }),
      await send(front.url, 'HEAD', other, { headers: basic('bob') }),
      await ask('GET', blobPath.replace(digest, digestOf('nothing'))),
    ];

    expect(answers.map(({ status }) => status)).toEqual([401, 403, 404, 404, 404]);
    expect(answers.map(({ code }) => code)).toEqual([
      'UNAUTHORIZED',
      'DENIED',
      'BLOB_UNKNOWN',
      undefined,
      'BLOB_UNKNOWN',
    ]);
    expect(answers[0]?.headers['www-authenticate']).toContain(`realm="${front.url}/token"`);
    for (const { headers } of answers) expect(headers).not.toHaveProperty('x-accel-redirect');
  });

  it('lets no outsider at the files, however he writes their place', async () => {
    const objects = join(folder.path, 'data/store/objects');
    const names = await readdir(join(objects, 'data'), { recursive: true });
    const file = names.find((name) => name.endsWith('=')) ?? '';
    const places = [
      `/_bytes/data/${file}`,
      `/_bytes/data/${file.replace('=', '%3D')}`,
      `/%5Fbytes/data/${file}`,
      `//_bytes/data/${file}`,
      `/v2/../_bytes/data/${file}`,
      `/v2/team/app/blobs/..%2f..%2f..%2f..%2f_bytes/data/${file}`,
      `/_bytes/data/../auth/signing-keys=`,
      `/_bytes/${relative('/', objects)}/data/${file}`,
    ];

    for (const place of places) {
      const { status, body } = await ask('GET', place);
      expect(status, place).toBe(404);
      expect(body.length, place).toBeLessThan(500);
    }
  });

  it('an outsider who speaks like nginx gets the bytes themselves, from nginx as from a replica', async () => {
    const before = await handedOver(urls, 'front');
    const lies = { 'x-brickyard-front': 'files', 'x-forwarded-for': '127.0.0.1' };
    const { hostname, port } = new URL(urls[0] ?? '');
    const headers = { ...basic('alice'), ...lies };
    // 127.0.0.2 is another machine to the replica: only 127.0.0.1 is trusted.
    const message = request({
      hostname,
      port,
      path: blobPath,
      headers,
      localAddress: '127.0.0.2',
      agent: false,
    });
    message.end();
    const [response] = (await once(message, 'response')) as [IncomingMessage];

    expect(response.headers).not.toHaveProperty('x-accel-redirect');
    expect((await buffer(response)).equals(layer)).toBe(true);
    expect(await handedOver(urls, 'front')).toBe(before);

    const through = await ask('GET', blobPath, { ...lies, 'x-brickyard-front': 's3' });
    expect(through.body.equals(layer)).toBe(true);
    expect(await handedOver(urls, 'front')).toBe(before + 1);
  });

  it('says that bytes are missing as something to try again, not as "there is no such blob"', async () => {
    const lost = randomBlob(20_000);
    await alice.putBlob('team/lost', digestOf(lost), lost);
    const before = await handedOver(urls, 'front');
    const objects = join(folder.path, 'data/store/objects/data');
    for (const name of await readdir(objects, { recursive: true })) {
      const path = join(objects, name);
      if ((await stat(path)).size === lost.length) await rm(path);
    }

    const { status, code, headers } = await ask('GET', `/v2/team/lost/blobs/${digestOf(lost)}`);

    expect(await handedOver(urls, 'front')).toBe(before + 1);
    expect(status).toBe(503);
    expect(code).toBe('UNKNOWN');
    expect(headers['retry-after']).toBe('2');
  });

  it('goes on without a replica that is gone, and says 503 when none is left', async () => {
    const only = await startServer({ args: ['registry'], env });
    // A port that nobody is given by chance.
    await using pair = await startFront(['http://127.0.0.1:1', only.url], env);
    try {
      for (let round = 0; round < 4; round++) {
        const { status } = await send(pair.url, 'HEAD', blobPath, { headers: basic('alice') });
        expect(status).toBe(200);
      }
      const opened = await send(pair.url, 'POST', '/v2/team/app/blobs/uploads/', { headers: basic('alice') });
      expect(opened.status).toBe(202);
    } finally {
      await only.stop('SIGKILL');
    }

    const none = await send(pair.url, 'GET', blobPath, { headers: basic('alice') });

    expect(none.status).toBe(503);
    expect(none.code).toBe('UNKNOWN');
    expect(none.headers['retry-after']).toBe('2');
  });

  it('keeps the replicas’ numbers to itself', async () => {
    expect((await ask('GET', '/metrics')).status).toBe(404);
    expect((await ask('GET', '/readyz')).status).toBe(200);
  });

  it('speaks TLS 1.2 and 1.3 and HTTP/2, in both directions', async () => {
    await requirePrograms(['openssl', 'curl']);
    const [key, certificate] = [join(folder.path, 'tls.key'), join(folder.path, 'tls.crt')];
    const subject = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=IP:127.0.0.1'];
    const kind = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2'];
    await runOk('openssl', ['req', '-x509', ...kind, ...subject, '-keyout', key, '-out', certificate]);
    await using secure = await startFront(urls, {
      ...env,
      BRICKYARD_FRONT_TLS_CERTIFICATE: certificate,
      BRICKYARD_FRONT_TLS_KEY: key,
    });
    const file = join(folder.path, 'pulled');
    const curl = (...args: string[]): Promise<string> =>
      runOk('curl', ['-sS', '--cacert', certificate, '-u', 'alice:correct horse', ...args]);
    const pushed = randomBlob(3_000_000);
    const source = join(folder.path, 'pushed');
    await writeFile(source, pushed);
    const shown = ['-o', file, '-w', '%{http_version} %{http_code} %{size_download}'];

    const head = await curl('--http2', '-X', 'POST', '-D', '-', `${secure.url}/v2/team/tls/blobs/uploads/`);
    const location = /^location: (\S+)/im.exec(head)?.[1] ?? '';
    const upload = `${new URL(location, secure.url).href}?digest=${digestOf(pushed)}`;
    const type = ['-H', 'Content-Type: application/octet-stream'];
    expect(await curl('--http2', '-T', source, ...type, ...shown, upload)).toMatch(/^2 201 /);

    const refused = await runOk('curl', [
      '-sS',
      '--cacert',
      certificate,
      '--http2',
      '-D',
      '-',
      `${secure.url}/v2/`,
    ]);
    expect(refused).toContain(`realm="${secure.url}/token"`);

    const url = `${secure.url}/v2/team/tls/blobs/${digestOf(pushed)}`;
    expect(await curl('--http2', ...shown, url)).toBe('2 200 3000000');
    expect(digestOf(await buffer(createReadStream(file)))).toBe(digestOf(pushed));
    expect(await curl('--http1.1', '--tls-max', '1.2', ...shown, url)).toBe('1.1 200 3000000');
    await expect(curl('--tls-max', '1.1', '--ciphers', 'ALL:@SECLEVEL=0', ...shown, url)).rejects.toThrow();
  });
});
