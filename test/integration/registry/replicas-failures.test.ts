import { randomBytes } from 'node:crypto';
import { type ClientRequest, type IncomingMessage, request } from 'node:http';
import { afterAll, beforeAll, describe, expect, it, onTestFailed } from 'vitest';
import { createRegistryClient } from '../../../oci/client.ts';
import { digestOf } from '../../../oci/digest.ts';
import { type CephStore, startCeph } from '../../helpers/ceph.ts';
import { pushContent } from '../../helpers/content.ts';
import { waitFor } from '../../helpers/process.ts';
import { type HttpAnswer, send } from '../../helpers/raw-http.ts';
import { type Replicas, startReplicas, storeEnvironment } from '../../helpers/replicas.ts';
import { startRouter } from '../../helpers/router.ts';
import { startServer } from '../../helpers/server.ts';

const octets = { 'content-type': 'application/octet-stream' };
const mebibyte = 1024 * 1024;

let ceph: CephStore;
let replicas: Replicas;
beforeAll(async () => {
  ceph = await startCeph();
  replicas = await startReplicas({ store: { ...ceph, bucket: await ceph.createBucket() } });
});
afterAll(async () => {
  await replicas.close();
  await ceph.stop();
});

const call = (method: string, path: string, body?: Buffer, headers = {}): Promise<HttpAnswer> =>
  send(replicas.url, method, path, {
    headers: { ...(body === undefined ? {} : octets), 'content-length': body?.length ?? 0, ...headers },
    ...(body === undefined ? {} : { body }),
  });
const pathOf = (answer: HttpAnswer): string => {
  const location = new URL(answer.headers.location ?? '', replicas.url);
  return location.pathname + location.search;
};
const openUpload = async (): Promise<string> =>
  pathOf(await call('POST', '/v2/team/app/blobs/uploads/', Buffer.alloc(0)));
const finish = async (path: string, digest: string): Promise<void> => {
  const put = await call('PUT', `${path}${path.includes('?') ? '&' : '?'}digest=${digest}`, Buffer.alloc(0));
  expect([put.status, put.code]).toEqual([201, undefined]);
};
const expectBlob = async (content: Buffer): Promise<void> => {
  const got = await call('GET', `/v2/team/app/blobs/${digestOf(content)}`);
  expect(got.status).toBe(200);
  expect(got.body.equals(content)).toBe(true);
};
const chunk = (path: string, content: Buffer, start: number, end: number): Promise<HttpAnswer> =>
  call('PATCH', path, content.subarray(start, end), { 'content-range': `${start}-${end - 1}` });

describe('an upload among three replicas over Ceph', () => {
  it.each([
    ['1 KiB', 1024, 9],
    ['a few MiB, no multiple of a part', 3 * mebibyte + 11, 7],
    ['more than a part', 9 * mebibyte, 3],
  ])('has every chunk at another replica: %s', async (_, size, count) => {
    const content = randomBytes(size * count - 5);
    replicas.routeBy((number) => number % 3);
    let path = await openUpload();

    for (let start = 0; start < content.length; start += size) {
      const written = await chunk(path, content, start, Math.min(content.length, start + size));
      expect(written.status).toBe(202);
      path = pathOf(written);
      expect((await call('GET', path)).headers.range).toBe(`0-${Math.min(content.length, start + size) - 1}`);
    }
    await finish(path, digestOf(content));
    replicas.routeBy(undefined);

    await expectBlob(content);
  });

  it('goes on at another replica where one was killed in the middle of a body', async () => {
    onTestFailed(() => void process.stderr.write(replicas.output()));
    // So much that a part of it is safe before the kill: the session learns of it every 64 MiB.
    const content = randomBytes(150 * mebibyte);
    let path = await openUpload();
    replicas.routeBy(() => 0);
    const sending = startBody('PATCH', path);
    for (let at = 0; at < 140 * mebibyte; at += mebibyte) {
      await write(sending, content.subarray(at, at + mebibyte));
    }

    await waitFor(
      async () => {
        const { headers } = await send(replicas.urls[1] ?? '', 'GET', path);
        return headers.range !== '0-0';
      },
      { what: 'the first checkpoint' },
    );
    await replicas.kill(0);
    replicas.routeBy((number) => 1 + (number % 2));
    sending.on('error', () => {});
    sending.destroy();
    // Whatever comes of this test, the next ones want three.
    await replicas.restart(0);

    // A write that the dead server had sent may still land; whoever meets it is told to look again.
    const rest = await retried(async () => {
      const status = await call('GET', path);
      expect(status.status).toBe(204);
      const offset = Number(status.headers.range?.toString().slice('0-'.length)) + 1;
      expect(offset).toBeGreaterThanOrEqual(8 * mebibyte);
      expect(offset).toBeLessThanOrEqual(140 * mebibyte);
      return chunk(path, content, offset, content.length);
    });
    expect([rest.status, rest.code]).toEqual([202, undefined]);
    path = pathOf(rest);
    await finish(path, digestOf(content));
    replicas.routeBy(undefined);
    await expectBlob(content);
  });

  it.each([
    ['at the beginning', 0],
    ['behind what is there', 100_000],
    ['behind a part', 9 * mebibyte],
  ])(
    'takes one of two bodies that come to two replicas at once, %s, and says so to the other',
    async (_, begun) => {
      for (let round = 0; round < 3; round++) {
        const before = randomBytes(begun);
        const [one, two] = [randomBytes(2 * mebibyte), randomBytes(2 * mebibyte)].map((body) =>
          Buffer.concat([before, body]),
        ) as [Buffer, Buffer];
        const path = await openUpload();
        replicas.routeBy((number) => number % 2);
        if (begun > 0) expect((await chunk(path, before, 0, begun)).status).toBe(202);

        const answers = await Promise.all([one, two].map((body) => chunk(path, body, begun, body.length)));

        replicas.routeBy(undefined);
        expect(answers.map(({ status }) => status).toSorted((a, b) => a - b)).toEqual([202, 416]);
        const kept = answers[0]?.status === 202 ? one : two;
        const status = await call('GET', path);
        expect(status.headers.range).toBe(`0-${kept.length - 1}`);
        await finish(path, digestOf(kept));
        await expectBlob(kept);
      }
    },
  );
});

describe('a replica over Ceph', () => {
  it('asks for nothing that grows with the bucket when it starts', async () => {
    const bucket = await ceph.createBucket();
    const seen: string[] = [];
    const { hostname: host, port } = new URL(ceph.endpoint);
    await using counted = await startRouter((message) => {
      seen.push(`${message.method} ${message.url}`);
      return { host, port: Number(port) };
    });
    const env = { ...storeEnvironment({ ...ceph, bucket, endpoint: counted.url }), BRICKYARD_PROCESSES: '1' };
    const starts: string[][] = [];
    for (const images of [0, 1, 40]) {
      const server = await startServer({ args: ['registry'], env });
      await waitFor(async () => (await fetch(`${server.url}/readyz`)).status === 200, { what: 'readiness' });
      starts.push(seen.splice(0));
      const client = createRegistryClient({ url: server.url });
      for (let index = 0; index < images; index++) {
        await pushContent(client, {
          [`team/app${index}`]: { manifests: { image: {} }, tags: { v1: 'image' } },
        });
      }
      client.close();
      await server.remove();
      seen.length = 0;
    }

    const [empty, one, many] = starts.map((requests) => requests.map((line) => line.split('?')[0]));
    expect(many).toEqual(empty);
    expect(many).toEqual(one);
    // No LIST: that is a GET of the bucket itself.
    expect(many?.filter((line) => line === `GET /${bucket}` || line === `GET /${bucket}/`)).toEqual([]);
    expect(many?.length).toBeLessThan(10);
  });

  it('says that it is not ready before it leaves, and ends what it has begun', async () => {
    const bucket = await ceph.createBucket();
    const server = await startServer({
      args: ['registry'],
      env: {
        ...storeEnvironment({ ...ceph, bucket }),
        BRICKYARD_PROCESSES: '1',
        BRICKYARD_SHUTDOWN_NOT_READY_SECONDS: '1',
        BRICKYARD_SHUTDOWN_DRAIN_SECONDS: '60',
      },
    });
    const content = randomBytes(24 * mebibyte);
    const client = createRegistryClient({ url: server.url });
    await client.putBlob('team/app', digestOf(content), content);
    client.close();
    const opened = await send(server.url, 'POST', '/v2/team/app/blobs/uploads/');
    const location = new URL(opened.headers.location ?? '', server.url);
    const push = startBody('PATCH', location.pathname + location.search, server.url);
    await write(push, content.subarray(0, mebibyte));
    const pull = await startPull(server.url, `/v2/team/app/blobs/${digestOf(content)}`);

    const stopped = server.stop('SIGTERM');
    await waitFor(async () => (await fetch(`${server.url}/readyz`)).status === 503, { what: 'not ready' });
    // A balancer that has not noticed yet still gets its answer.
    const late = await send(server.url, 'HEAD', `/v2/team/app/blobs/${digestOf(content)}`);
    await waitFor(
      () =>
        fetch(`${server.url}/readyz`).then(
          () => false,
          () => true,
        ),
      { what: 'the end of listening' },
    );
    const answered = new Promise<IncomingMessage>((resolve) => push.once('response', resolve));
    for (let at = mebibyte; at < content.length; at += mebibyte) {
      await write(push, content.subarray(at, at + mebibyte));
    }
    push.end();
    const patched = await answered;
    patched.resume();
    let pulled = 0;
    for await (const piece of pull) pulled += (piece as Buffer).length;
    await stopped;

    expect(late.status).toBe(200);
    expect([patched.statusCode, patched.headers.range]).toEqual([202, `0-${content.length - 1}`]);
    expect(pulled).toBe(content.length);
    await server.remove();
  });

  it('lists what the others were told a moment ago', async () => {
    replicas.routeBy((number) => number % 3);
    const client = createRegistryClient({ url: replicas.url });
    const known = await pushContent(client, { 'team/list': { manifests: { image: {} } } });
    const { bytes, descriptor } = known['team/list'].manifests.image;
    for (let index = 0; index < 10; index++) {
      await client.putManifest('team/list', `t${index}`, bytes, descriptor.mediaType);
      expect((await client.listTags('team/list', { limit: 100 })).entries).toHaveLength(index + 1);
    }
    client.close();
    replicas.routeBy(undefined);
  });
});

/** Asks again, a few times, while another request is said to be writing. */
async function retried(ask: () => Promise<HttpAnswer>): Promise<HttpAnswer> {
  for (let left = 5; ; left--) {
    const answer = await ask();
    if (answer.status !== 416 || left === 0) return answer;
  }
}

function startBody(method: string, path: string, base = replicas.url): ClientRequest {
  const { hostname, port } = new URL(base);
  const message = request({ hostname, port, method, path, agent: false, headers: octets });
  message.flushHeaders();
  return message;
}

function write(message: ClientRequest, bytes: Buffer): Promise<void> {
  return new Promise((resolve, reject) => {
    message.write(bytes, (error) => (error ? reject(error) : resolve()));
  });
}

/** The answer, of which nothing was read yet. */
function startPull(base: string, path: string): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const message = request(new URL(path, base), { agent: false }, resolve);
    message.on('error', reject);
    message.end();
  });
}
