import { once } from 'node:events';
import { type IncomingMessage, request } from 'node:http';
import { Readable } from 'node:stream';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { createMemoryStore } from '../../../core/object-store/memory.ts';
import { digestOf } from '../../../oci/digest.ts';
import { OciError } from '../../../oci/errors.ts';
import type { Registry } from '../../../oci/registry.ts';
import { createStoredRegistry } from '../../../registry/stored-registry.ts';
import { waitFor } from '../../helpers/process.ts';
import { type HttpAnswer, openSocket, readToEnd, send } from '../../helpers/raw-http.ts';
import { startRegistryServer, type TestRegistryServer } from '../../helpers/registry-server.ts';

const idleTimeoutMs = 300;
const blob = Buffer.alloc(1024 * 1024, 'brick');
const digest = digestOf(blob);

let stored: Registry;
let server: TestRegistryServer;
const call = (method: string, path: string, options?: Parameters<typeof send>[3]): Promise<HttpAnswer> =>
  send(server.url, method, path, options);
const openUpload = async (): Promise<string> => {
  const opened = await call('POST', '/v2/team/app/blobs/uploads/', { headers: { 'content-length': 0 } });
  expect(opened.status).toBe(202);
  return opened.headers.location ?? '';
};
const offsetOf = async (location: string): Promise<string> =>
  String((await call('GET', location)).headers.range ?? '');

beforeAll(async () => {
  stored = createStoredRegistry({ store: createMemoryStore() });
  server = await startRegistryServer(stored, { idleTimeoutMs, headersTimeoutMs: idleTimeoutMs });
  await stored.putBlob('team/app', digest, blob);
});
afterAll(async () => {
  await server.close();
});
afterEach(async () => {
  expect((await call('HEAD', `/v2/team/app/blobs/${digest}`)).status).toBe(200);
});

describe('bodies and their lengths', () => {
  it('a body shorter than its Content-Length is kept as far as it came, and the session goes on from there', async () => {
    const location = await openUpload();
    const socket = await openSocket(server.url);
    socket.end(
      `PATCH ${location} HTTP/1.1\r\nHost: x\r\nContent-Length: ${blob.length}\r\n\r\n${blob.toString('latin1', 0, 1000)}`,
    );
    await readToEnd(socket);

    await waitFor(async () => (await offsetOf(location)) === '0-999', {
      what: 'the kept part',
      timeoutMs: 5000,
    });
    const rest = await call('PATCH', location, { body: blob.subarray(1000) });
    expect([rest.status, rest.headers.range]).toEqual([202, `0-${blob.length - 1}`]);
    expect((await call('PUT', `${location}?digest=${digest}`)).status).toBe(201);
  });

  it('a body longer than its Content-Length ends with it, and what is behind is refused as no request', async () => {
    const location = await openUpload();
    const socket = await openSocket(server.url);
    socket.write(
      `PATCH ${location} HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhelloTHIS IS TOO MUCH\r\n\r\n`,
    );

    expect(await readToEnd(socket)).toMatch(/HTTP\/1\.1 400 /);
    await waitFor(async () => (await offsetOf(location)) === '0-4', {
      what: 'the first five bytes',
      timeoutMs: 5000,
    });
  });

  it('a Content-Range that is not as long as the body is SIZE_INVALID', async () => {
    const location = await openUpload();
    const answer = await call('PATCH', location, { headers: { 'content-range': '0-9' }, body: 'hello' });

    expect([answer.status, answer.code]).toEqual([400, 'SIZE_INVALID']);
  });

  it.each(['5-1', 'a-b', '0-18446744073709551616', '-5'])(
    'Content-Range %s is BLOB_UPLOAD_INVALID',
    async (range) => {
      const answer = await call('PATCH', await openUpload(), {
        headers: { 'content-range': range },
        body: 'hello',
      });

      expect([answer.status, answer.code]).toEqual([400, 'BLOB_UPLOAD_INVALID']);
    },
  );

  it('a chunk that overlaps what is there is 416, and told where to go on', async () => {
    const location = await openUpload();
    await call('PATCH', location, { headers: { 'content-range': '0-9' }, body: 'a'.repeat(10) });

    const answer = await call('PATCH', location, {
      headers: { 'content-range': '5-14' },
      body: 'b'.repeat(10),
    });

    expect([answer.status, answer.code, answer.headers.range]).toEqual([416, 'RANGE_INVALID', '0-9']);
    expect(answer.headers.location).toBe(location);
  });

  it('a last PUT with a body after PATCH counts both parts', async () => {
    const location = await openUpload();
    await call('PATCH', location, { body: blob.subarray(0, 600_000) });

    const put = await call('PUT', `${location}?digest=${digest}`, { body: blob.subarray(600_000) });

    expect(put.status).toBe(201);
  });

  it('a session is unknown after its end: PATCH after commit is BLOB_UPLOAD_UNKNOWN', async () => {
    const location = await openUpload();
    await call('PUT', `${location}?digest=${digest}`, { body: blob });

    const answer = await call('PATCH', location, { body: 'more' });

    expect([answer.status, answer.code]).toEqual([404, 'BLOB_UPLOAD_UNKNOWN']);
  });

  it('two PATCH at once: bytes of one never mix with those of the other', async () => {
    const location = await openUpload();
    const bodies = ['a', 'b'].map((letter) => letter.repeat(400_000));

    const answers = await Promise.all(bodies.map((body) => call('PATCH', location, { body })));

    const accepted = answers.filter(({ status }) => status === 202).length;
    expect(answers.every(({ status }) => status === 202 || status === 416)).toBe(true);
    expect(await offsetOf(location)).toBe(`0-${accepted * 400_000 - 1}`);
    const [a = '', b = ''] = bodies;
    const candidates = accepted === 2 ? [a + b, b + a] : [a, b];
    const finished = await Promise.all(
      candidates.map(async (text) => (await call('PUT', `${location}?digest=${digestOf(text)}`)).status),
    );
    expect(finished).toContain(201);
  });
});

describe('slow and silent clients', () => {
  it('whoever never ends the head of its request is disconnected', async () => {
    const socket = await openSocket(server.url);
    socket.write('GET /v2/ HTTP/1.1\r\nHost: x\r\nX-Slow: ');

    expect(await readToEnd(socket)).toMatch(/^HTTP\/1\.1 408 /);
  });

  it('whoever falls silent in the middle of a body is disconnected, and what came is kept', async () => {
    const location = await openUpload();
    const socket = await openSocket(server.url);
    socket.write(`PATCH ${location} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nhello`);

    expect(await readToEnd(socket)).toBe('');
    await waitFor(async () => (await offsetOf(location)) === '0-4', {
      what: 'the kept part',
      timeoutMs: 5000,
    });
  });

  it('whoever falls silent in the middle of a manifest is disconnected', async () => {
    const socket = await openSocket(server.url);
    socket.write(
      'PUT /v2/team/app/manifests/x HTTP/1.1\r\nHost: x\r\nContent-Type: application/vnd.oci.image.manifest.v1+json\r\nContent-Length: 1000\r\n\r\n{',
    );

    expect(await readToEnd(socket)).toBe('');
  });

  it('whoever is slow but never silent finishes, however long it takes', async () => {
    const location = await openUpload();
    const upload = request(`${server.url}${location}`, { method: 'PATCH', agent: false });
    const answered = once(upload, 'response');
    async function* slowly(): AsyncGenerator<Buffer> {
      for (let part = 0; part < 8; part += 1) {
        yield Buffer.from('brick');
        // The pace is what this test is about: eight pieces, together twice the idle time-out.
        await new Promise((resolve) => setTimeout(resolve, idleTimeoutMs / 4));
      }
    }
    for await (const part of Readable.from(slowly())) upload.write(part);
    upload.end();
    const [response] = (await answered) as [IncomingMessage];
    response.resume();

    expect(response.statusCode).toBe(202);
    expect(await offsetOf(location)).toBe('0-39');
  });

  it('whoever leaves in the middle of a download takes nothing along', async () => {
    for (let count = 0; count < 20; count += 1) {
      const socket = await openSocket(server.url);
      socket.write(`GET /v2/team/app/blobs/${digest} HTTP/1.1\r\nHost: x\r\n\r\n`);
      await once(socket, 'data');
      socket.destroy();
    }
    await waitFor(async () => (await connections()) <= 1, { what: 'connections to end', timeoutMs: 5000 });
  });

  const connections = (): Promise<number> =>
    new Promise((resolve, reject) => {
      server.http.app.server.getConnections((error, count) => (error ? reject(error) : resolve(count)));
    });

  it('a refused upload is answered although its body was not read', async () => {
    const answer = await call('PATCH', '/v2/team/app/blobs/uploads/nobody-made-this', {
      body: Buffer.alloc(8 * 1024 * 1024),
    });

    expect([answer.status, answer.code]).toEqual([404, 'BLOB_UPLOAD_UNKNOWN']);
  });

  it('200 sessions at once are all served', async () => {
    const locations = await Promise.all(Array.from({ length: 200 }, () => openUpload()));
    expect(new Set(locations).size).toBe(200);

    const statuses = await Promise.all(
      locations.map(async (location) => (await call('DELETE', location)).status),
    );

    expect(new Set(statuses)).toEqual(new Set([204]));
  });

  it('a head of more than 32 KiB is refused', async () => {
    const socket = await openSocket(server.url);
    socket.write(`GET /v2/ HTTP/1.1\r\nHost: x\r\nX-Long: ${'x'.repeat(40_000)}\r\n\r\n`);

    expect(await readToEnd(socket)).toMatch(/^HTTP\/1\.1 431 /);
  });

  it.each([
    'GARBAGE\r\n\r\n',
    '\0\0\0\0\r\n\r\n',
    'GET /v2/ HTTP/9.9\r\n\r\n',
    'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n',
  ])('what is no HTTP/1.1 request is refused: %j', async (text) => {
    const socket = await openSocket(server.url);
    socket.write(text);

    expect(await readToEnd(socket)).toMatch(/^(HTTP\/1\.1 4|$)/);
  });
});

describe('failures of our own', () => {
  const failing = (error: unknown): Registry => ({
    ...stored,
    resolveManifest: () => Promise.reject(error),
    getBlob: () =>
      Promise.resolve({
        size: 100,
        body: Readable.from(
          (async function* () {
            yield Buffer.from('half');
            throw error;
          })(),
        ),
      }),
  });

  it('say UNKNOWN and an id, and nothing of the reason', async () => {
    await using broken = await startRegistryServer(failing(new Error('secret path /data')));

    const answer = await send(broken.url, 'HEAD', '/v2/a/manifests/x');
    const got = await send(broken.url, 'GET', '/v2/a/manifests/x', {});

    expect(answer.status).toBe(500);
    expect(got.status).not.toBe(200);
    expect(answer.body.toString() + got.body.toString()).not.toContain('secret');
  });

  it('of the store are 503 with Retry-After', async () => {
    await using broken = await startRegistryServer(
      failing(new OciError('UNAVAILABLE', { message: 'bucket xyz' })),
    );

    const answer = await send(broken.url, 'HEAD', '/v2/a/manifests/x');

    expect([answer.status, answer.headers['retry-after']]).toEqual([503, '2']);
  });

  it('in the middle of a blob end the connection short, so that nobody takes the part for the whole', async () => {
    await using broken = await startRegistryServer(failing(new Error('disk')));

    await expect(send(broken.url, 'GET', `/v2/a/blobs/${digest}`)).rejects.toThrow();
    expect((await send(broken.url, 'GET', '/v2/')).status).toBe(200);
  });

  it('that are no errors at all are 500 too', async () => {
    await using broken = await startRegistryServer(failing(undefined));

    expect((await send(broken.url, 'HEAD', '/v2/a/manifests/x')).status).toBe(500);
  });
});
