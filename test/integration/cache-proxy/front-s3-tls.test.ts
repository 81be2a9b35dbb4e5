import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { type IncomingMessage, request } from 'node:http';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createRegistryClient } from '../../../oci/client.ts';
import { digestOf } from '../../../oci/digest.ts';
import { type CephStore, startCeph } from '../../helpers/ceph.ts';
import { requirePrograms } from '../../helpers/dockerd.ts';
import { startFront } from '../../helpers/front.ts';
import { startNameServer } from '../../helpers/name-server.ts';
import { runOk } from '../../helpers/process.ts';
import { send } from '../../helpers/raw-http.ts';
import { type Replicas, startReplicas, storeEnvironment } from '../../helpers/replicas.ts';
import { createTempDirectory, type TempDirectory } from '../../helpers/temp.ts';
import { randomBlob } from './front-fixture.ts';

const layer = randomBlob(300_000);
const digest = digestOf(layer);
const path = `/v2/team/app/blobs/${digest}`;

let folder: TempDirectory;
let ceph: CephStore;
/** The store as the outside knows it: over TLS, under a name that only our own name server has. */
let outside: Server;
let replicas: Replicas;
let env: Record<string, string>;

beforeAll(async () => {
  await requirePrograms(['openssl']);
  folder = await createTempDirectory('front');
  for (const name of ['store', 'stranger']) await makeCertificate(name);
  ceph = await startCeph();
  const store = { ...ceph, bucket: await ceph.createBucket() };
  outside = await startTls(ceph.endpoint);
  const publicEndpoint = `https://s3.front.test:${(outside.address() as AddressInfo).port}`;
  env = {
    ...storeEnvironment(store),
    BRICKYARD_STORE_S3_PUBLIC_ENDPOINT: publicEndpoint,
    BRICKYARD_TRUSTED_PROXIES: '127.0.0.1',
    BRICKYARD_REGISTRY_ACCEL_MODE: 'on',
  };
  replicas = await startReplicas({ store, count: 1, env });
  const client = createRegistryClient({ url: replicas.urls[0] ?? '' });
  await client.putBlob('team/app', digest, layer);
  client.close();
});

afterAll(async () => {
  await replicas?.close();
  outside?.closeAllConnections();
  outside?.close();
  await ceph?.stop();
  await folder?.remove();
});

/** Signed by itself, for the store's name. */
async function makeCertificate(name: string): Promise<void> {
  const subject = ['-subj', `/CN=${name}`, '-addext', 'subjectAltName=DNS:s3.front.test'];
  const kind = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2'];
  const files = ['-keyout', join(folder.path, `${name}.key`), '-out', join(folder.path, `${name}.crt`)];
  await runOk('openssl', ['req', '-x509', ...kind, ...subject, ...files]);
}

async function startTls(target: string): Promise<Server> {
  const [key, cert] = await Promise.all(
    ['store.key', 'store.crt'].map((name) => readFile(join(folder.path, name))),
  );
  const { hostname, port } = new URL(target);
  const server = createServer({ key: key ?? '', cert: cert ?? '' }, (incoming, outgoing) => {
    const { method, url, headers } = incoming;
    const onward = request({ hostname, port, method, path: url, headers, agent: false });
    onward.end();
    once(onward, 'response')
      .then(async ([answer]: IncomingMessage[]) => {
        if (answer === undefined) return;
        outgoing.writeHead(answer.statusCode ?? 502, answer.rawHeaders);
        await pipeline(answer, outgoing);
      })
      .catch(() => outgoing.destroy());
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return server;
}

describe('nginx in front of a store over TLS', () => {
  it('looks its name up while it runs, checks its certificate, and gives its bytes', async () => {
    await using names = await startNameServer();
    await using front = await startFront(replicas.urls, {
      ...env,
      BRICKYARD_FRONT_STORE_CA: join(folder.path, 'store.crt'),
      BRICKYARD_FRONT_STORE_RESOLVER: names.address,
    });

    const first = await send(front.url, 'GET', path);
    const second = await send(front.url, 'GET', path, { headers: { range: 'bytes=5-9' } });

    expect(first.status, await front.nginx.errors()).toBe(200);
    expect(first.body.equals(layer)).toBe(true);
    expect(second.status).toBe(206);
    expect(second.body).toEqual(layer.subarray(5, 10));
    expect([first, second].map(({ headers }) => headers['x-brickyard-cache'])).toEqual(['MISS', 'HIT']);
    expect(new Set(names.asked)).toEqual(new Set(['s3.front.test']));
  });

  it('takes nothing from a server that only says to be the store', async () => {
    await using names = await startNameServer();
    await using front = await startFront(replicas.urls, {
      ...env,
      BRICKYARD_FRONT_STORE_CA: join(folder.path, 'stranger.crt'),
      BRICKYARD_FRONT_STORE_RESOLVER: names.address,
    });

    const { status, code } = await send(front.url, 'GET', path);

    expect(status).toBe(503);
    expect(code).toBe('UNKNOWN');
    expect(await front.nginx.errors()).toContain('certificate verify error');
  });

  it('asks no other store than the one it was told of, whatever a replica says', async () => {
    await using front = await startFront(replicas.urls, {
      ...env,
      BRICKYARD_FRONT_STORE_URL: 'http://127.0.0.1:9',
    });

    const { status, code, body } = await send(front.url, 'GET', path);

    expect(status).toBe(503);
    expect(code).toBe('UNKNOWN');
    expect(body.toString()).toContain('no such store');
  });
});
