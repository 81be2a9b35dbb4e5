import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { buffer } from 'node:stream/consumers';
import { afterEach, describe, expect, it } from 'vitest';
import { createRegistryClient, type RegistryClient } from '../../../oci/client.ts';
import { digestOf } from '../../../oci/digest.ts';

const content = Buffer.from('the content of a blob');
const digest = digestOf(content);
const credentials = { username: 'user', password: 'pass' };

const servers: Server[] = [];
const clients: RegistryClient[] = [];
const seen: { host: string; url: string; authorization: string | undefined }[] = [];
type Answer = (request: IncomingMessage, response: ServerResponse) => void;

async function listen(answer: Answer): Promise<string> {
  const server = createServer((request, response) => {
    const { host = '', authorization } = request.headers;
    seen.push({ host, url: request.url ?? '', authorization });
    answer(request, response);
  });
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}
function client(url: string): RegistryClient {
  const created = createRegistryClient({ url, credentials, timeoutMs: 500 });
  clients.push(created);
  return created;
}
function service(url: string, realmHosts: readonly string[] = []): RegistryClient {
  const outbound = { realmHosts, redirectHosts: [] };
  const created = createRegistryClient({ url, credentials, timeoutMs: 500, outbound });
  clients.push(created);
  return created;
}
afterEach(() => {
  for (const one of clients.splice(0)) one.close();
  for (const server of servers.splice(0)) server.close().closeAllConnections();
  seen.length = 0;
});

describe('the client and servers that mean it harm', () => {
  it('sends no Authorization to where it is redirected', async () => {
    const bucket = await listen((_, response) => response.end(content));
    const registry = await listen((request, response) => {
      if (request.headers.authorization === undefined) {
        response.writeHead(401, { 'www-authenticate': 'Basic realm="x"' }).end();
      } else response.writeHead(307, { location: `${bucket}/signed?x=1` }).end();
    });

    const blob = await client(registry).getBlob('a', digest);

    expect((await buffer(blob.body)).equals(content)).toBe(true);
    expect(seen.map(({ authorization }) => authorization !== undefined)).toEqual([false, true, false]);
  });

  it('asks a token service on another host, but tells it no password', async () => {
    const elsewhere = await listen((_, response) => response.end('{"token":"anonymous-token"}'));
    const registry = await listen((request, response) => {
      if (request.headers.authorization === 'Bearer anonymous-token') response.end(content);
      else
        response
          .writeHead(401, { 'www-authenticate': `Bearer realm="${elsewhere}/token",service="x"` })
          .end();
    });

    await buffer((await client(registry).getBlob('a', digest)).body);

    expect(seen[1]).toMatchObject({ authorization: undefined });
    expect(seen[1]?.url).toContain('scope=repository%3Aa%3Apull');
  });

  it.each(['ftp://127.0.0.1/x', 'file:///etc/passwd', 'javascript:1'])(
    'follows no redirect to %s',
    async (location) => {
      const registry = await listen((_, response) => response.writeHead(302, { location }).end());

      await expect(client(registry).getBlob('a', digest)).rejects.toMatchObject({ code: 'UNAVAILABLE' });
    },
  );

  it('gives up on redirects that go round', async () => {
    const registry = await listen((_, response) => response.writeHead(302, { location: '/again' }).end());

    await expect(client(registry).getBlob('a', digest)).rejects.toMatchObject({ code: 'UNAVAILABLE' });
    expect(seen).toHaveLength(6);
  });

  it('does not ask for tokens for ever', async () => {
    const registry = await listen((request, response) => {
      if (request.url?.startsWith('/token')) response.end('{"token":"x"}');
      else response.writeHead(401, { 'www-authenticate': 'Bearer realm="/token"' }).end();
    });

    await expect(client(registry).getBlob('a', digest)).rejects.toMatchObject({ code: 'UNAUTHORIZED' });
    expect(seen).toHaveLength(3);
  });

  it.each([
    ['other bytes', Buffer.from('THE content of a blob')],
    ['fewer bytes than announced', content.subarray(1)],
  ])('hands on no blob of %s as whole', async (_, bytes) => {
    const registry = await listen((request, response) => {
      response.writeHead(200, { 'content-length': content.length });
      response.write(bytes);
      if (bytes.length === content.length) response.end();
      else request.socket.end();
    });

    const blob = await client(registry).getBlob('a', digest);

    await expect(buffer(blob.body)).rejects.toThrow();
  });

  it('takes no manifest that does not match its digest, nor one without end', async () => {
    const wrong = await listen((_, response) => response.end('{}'));
    const endless = await listen((_, response) => response.end(Buffer.alloc(5 * 1024 * 1024, ' ')));

    await expect(client(wrong).getManifest('a', digest)).rejects.toMatchObject({ code: 'UNAVAILABLE' });
    await expect(client(endless).getManifest('a', 'latest')).rejects.toMatchObject({
      code: 'SIZE_TOO_LARGE',
    });
  });

  it.each([
    ['nothing that is JSON', '<html>'],
    ['no list', '{"tags":{"a":1}}'],
    ['numbers', '{"tags":[1]}'],
  ])('reads %s as no tags but as a failure', async (_, body) => {
    const registry = await listen((_request, response) => response.end(body));

    await expect(client(registry).listTags('a', { limit: 5 })).rejects.toMatchObject({ code: 'UNAVAILABLE' });
  });

  it('takes silence and absence for UNAVAILABLE, never for "not there"', async () => {
    const silent = await listen(() => {});
    const broken = await listen((_, response) => response.writeHead(502).end());

    for (const url of [silent, broken, 'http://127.0.0.1:1']) {
      await expect(client(url).resolveBlob('a', digest)).rejects.toMatchObject({ code: 'UNAVAILABLE' });
    }
  });
});

describe('a service and a registry that leads it astray', () => {
  const challenge = (realm: string) => ({ 'www-authenticate': `Bearer realm="${realm}",service="x"` });

  it('asks no token service elsewhere, not even without the password', async () => {
    const elsewhere = await listen((_, response) => response.end('{"token":"x"}'));
    const registry = await listen((_, response) =>
      response.writeHead(401, challenge(`${elsewhere}/token`)).end(),
    );

    await expect(service(registry).getBlob('a', digest)).rejects.toMatchObject({
      code: 'UNAVAILABLE',
      message: expect.stringContaining('token service') as string,
    });
    expect(seen).toHaveLength(1);
  });

  it('asks a token service that was named to it, with the password', async () => {
    const elsewhere = await listen((_, response) => response.end('{"token":"x"}'));
    const registry = await listen((request, response) => {
      if (request.headers.authorization === 'Bearer x') response.end(content);
      else response.writeHead(401, challenge(`${elsewhere}/token`)).end();
    });

    await buffer((await service(registry, [new URL(elsewhere).host]).getBlob('a', digest)).body);

    expect(seen[1]?.authorization).toMatch(/^Basic /);
  });

  it.each(['localhost', '127.0.0.2', '[::1]', '169.254.169.254'])('is not redirected to %s', async (host) => {
    const inside = await listen((_, response) => response.end(content));
    const location = `http://${host}:${new URL(inside).port}/x`;
    const registry = await listen((_, response) => response.writeHead(302, { location }).end());

    await expect(service(registry).getBlob('a', digest)).rejects.toMatchObject({ code: 'UNAVAILABLE' });
    expect(seen).toHaveLength(1);
  });

  it('connects to no private address behind a name that looks public', async () => {
    const location = 'https://localhost:9/x';
    const registry = await listen((_, response) => response.writeHead(302, { location }).end());

    await expect(service(registry).getBlob('a', digest)).rejects.toMatchObject({
      message: expect.stringContaining('no address that may be connected to') as string,
    });
  });

  it('learns how long to wait', async () => {
    const registry = await listen((_, response) => response.writeHead(429, { 'retry-after': '17' }).end());

    await expect(service(registry).getManifest('a', 'b')).rejects.toMatchObject({
      code: 'TOOMANYREQUESTS',
      answered: 429,
      retryAfter: 17,
    });
  });
});
