import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { createServer, type RequestListener } from 'node:http';
import { createServer as createSecureServer } from 'node:https';
import type { AddressInfo, Server } from 'node:net';
import { join } from 'node:path';
import { buffer, text } from 'node:stream/consumers';
import { afterEach, describe, expect, it } from 'vitest';
import { fetchBlob } from '../../../cache-proxy/fetch/fetch-blob.ts';
import { createOriginLink, OriginAway, type OriginLink } from '../../../cache-proxy/fetch/origin-link.ts';
import type { Origin } from '../../../cache-proxy/pools/pool.ts';
import { requirePrograms } from '../../helpers/dockerd.ts';
import { freePort } from '../../helpers/free-port.ts';
import { runOk, waitFor } from '../../helpers/process.ts';
import { createTempDirectory } from '../../helpers/temp.ts';

const servers: Server[] = [];
const links: OriginLink[] = [];
afterEach(async () => {
  for (const link of links.splice(0)) link.close();
  for (const server of servers.splice(0)) {
    server.close();
    if ('closeAllConnections' in server) (server.closeAllConnections as () => void)();
    if (server.listening) await once(server, 'close');
  }
});

async function serve(listener: RequestListener, tls?: { key: Buffer; cert: Buffer }): Promise<string> {
  const server = tls === undefined ? createServer(listener) : createSecureServer(tls, listener);
  servers.push(server);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return `${tls === undefined ? 'http' : 'https'}://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

function linkTo(origin: Origin, trusted = true): OriginLink {
  const link = createOriginLink({ origin, trusted, log: { info() {}, warn() {}, error() {} } });
  links.push(link);
  return link;
}

const request = { path: '/v2/team/app/manifests/v1', headers: {}, repository: 'team/app', patience: 5_000 };
const credential = { username: 'pool', password: 'sesame' };
const basic = `Basic ${Buffer.from('pool:sesame').toString('base64')}`;

describe('the line to a registry', () => {
  it('goes to the next replica when one refuses, fails or hangs, and stays with the one that answers', async () => {
    const asked: string[] = [];
    const note =
      (name: string, then: RequestListener): RequestListener =>
      (incoming, response) => {
        if (incoming.url === request.path) asked.push(name);
        then(incoming, response);
      };
    const failing = await serve(note('failing', (_, response) => response.writeHead(503).end()));
    const hanging = await serve(note('hanging', () => {}));
    const good = await serve(note('good', (_, response) => response.end('here')));
    const link = linkTo({ urls: [`http://127.0.0.1:${await freePort()}`, failing, hanging, good] });

    const first = await link.fetch({ ...request, patience: 800 });
    const second = await link.fetch({ ...request, patience: 800 });

    expect([await text(first.body), await text(second.body)]).toEqual(['here', 'here']);
    expect(asked).toEqual(['failing', 'hanging', 'good', 'good']);
  });

  it('that hangs costs the first request its patience, the others nothing, and is tried again by itself', async () => {
    let hangs = true;
    const url = await serve((_, response) => {
      if (!hangs) response.end('here');
    });
    const link = linkTo({ urls: [url] });
    await expect(link.fetch({ ...request, patience: 300 })).rejects.toThrow(OriginAway);

    const started = performance.now();
    await expect(link.fetch(request)).rejects.toThrow(OriginAway);
    const passed = link.pass({ method: 'HEAD', path: '/v2/', headers: {} });
    await expect(passed).rejects.toThrow(OriginAway);
    expect(performance.now() - started).toBeLessThan(request.patience / 2);

    hangs = false;
    await waitFor(() => !link.away, { what: 'another try' });
    expect(await text((await link.fetch(request)).body)).toBe('here');
  });

  it('is not away for one slow answer, but for two without another between them', async () => {
    const url = await serve(({ url: path }, response) => {
      if (path === '/v2/' || path?.includes('/quick/') === true) response.end('here');
    });
    const link = linkTo({ urls: [url] });
    const slow = { ...request, patience: 400 };
    const quick = { ...request, path: '/v2/quick/manifests/v1' };

    for (let round = 0; round < 2; round += 1) {
      await expect(link.fetch(slow)).rejects.toThrow('takes too long');
      expect(link.away).toBe(false);
      expect(await text((await link.fetch(quick)).body)).toBe('here');
    }
    for (let round = 0; round < 2; round += 1) await expect(link.fetch(slow)).rejects.toThrow(OriginAway);

    expect(link.away).toBe(true);
  });

  it('is signed in as its registry wants it: once, with the pool’s account', async () => {
    const seen: [string, string | undefined][] = [];
    const url = await serve((incoming, response) => {
      const { url: path = '', headers } = incoming;
      seen.push([path, headers.authorization]);
      if (path.startsWith('/token')) response.end(JSON.stringify({ token: 'granted', expires_in: 300 }));
      else if (headers.authorization === 'Bearer granted') response.end('here');
      else {
        const challenge = `Bearer realm="http://${headers.host}/token",service="reg"`;
        response.writeHead(401, { 'www-authenticate': challenge }).end();
      }
    });
    const link = linkTo({ urls: [url], credential });

    for (let round = 0; round < 2; round += 1)
      expect(await text((await link.fetch(request)).body)).toBe('here');

    expect(seen).toEqual([
      [request.path, basic],
      ['/token?service=reg&scope=repository%3Ateam%2Fapp%3Apull', basic],
      [request.path, 'Bearer granted'],
      [request.path, 'Bearer granted'],
    ]);
  });

  it('whose account is refused has no answer, and none that says "not there"', async () => {
    const url = await serve((_, response) =>
      response.writeHead(401, { 'www-authenticate': 'Basic realm="x"' }).end(),
    );
    const link = linkTo({ urls: [url], credential });

    await expect(link.fetch(request)).rejects.toThrow('refuses the account of the pool');
    expect(link.away).toBe(false);
  });

  it.each([
    [429, 'asked too often'],
    [500, 'answered 500'],
  ])('does not take %i for an absence', async (status, message) => {
    const url = await serve((_, response) => response.writeHead(status).end());
    const link = linkTo({ urls: [url] });

    await expect(link.fetch(request)).rejects.toThrow(message);
    expect(link.away).toBe(false);
  });

  it('follows a redirect without the account; of a registry elsewhere only to public addresses', async () => {
    const seen: (string | undefined)[] = [];
    const bucket = await serve(({ headers }, response) => {
      seen.push(headers.authorization);
      response.end('bytes');
    });
    const location = bucket.replace('127.0.0.1', 'localhost');
    const url = await serve((_, response) => response.writeHead(307, { location }).end());

    expect(await text((await linkTo({ urls: [url], credential }).fetch(request)).body)).toBe('bytes');
    expect(seen).toEqual([undefined]);
    await expect(linkTo({ urls: [url] }, false).fetch(request)).rejects.toThrow('where none may');
    const round = await serve((_, response) => response.writeHead(302, { location: '/again' }).end());
    await expect(linkTo({ urls: [round] }).fetch(request)).rejects.toThrow('without an end');
  });

  it('checks certificates with those that it was given', async () => {
    await requirePrograms(['openssl']);
    await using folder = await createTempDirectory('tls');
    const [key, cert] = [join(folder.path, 'key.pem'), join(folder.path, 'cert.pem')];
    const names = ['-subj', '/CN=registry', '-addext', 'subjectAltName=IP:127.0.0.1'];
    const kind = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2'];
    await runOk('openssl', ['req', '-x509', ...kind, ...names, '-keyout', key, '-out', cert]);
    const tls = { key: await readFile(key), cert: await readFile(cert) };
    const url = await serve((_, response) => response.end('here'), tls);

    expect(await text((await linkTo({ urls: [url], ca: cert }).fetch(request)).body)).toBe('here');
    await expect(linkTo({ urls: [url] }).fetch(request)).rejects.toThrow(/self-signed/);
  });
});

describe('a blob over a line that breaks', () => {
  const content = Buffer.from(Array.from({ length: 100_000 }, (_, at) => at % 251));
  const piece = { repository: 'team/app', digest: `sha256:${'0'.repeat(64)}`, range: 'bytes=1000-59999' };

  /** Breaks off after so many bytes, so many times. */
  async function breaking(after: number, times: number, ranges: string[]): Promise<OriginLink> {
    let left = times;
    const url = await serve(({ headers: { range = '' } }, response) => {
      ranges.push(range);
      const [, from = '0', to = ''] = /^bytes=(\d+)-(\d*)$/.exec(range) ?? [];
      const body = content.subarray(Number(from), Number(to) + 1);
      response.writeHead(206, {
        'content-length': body.length,
        'content-range': `bytes ${from}-${to}/${content.length}`,
      });
      if (left === 0) return response.end(body);
      left -= 1;
      return response.write(body.subarray(0, after), () => response.destroy());
    });
    return linkTo({ urls: [url] });
  }

  it('is taken up where it broke', async () => {
    const ranges: string[] = [];
    const link = await breaking(20_000, 2, ranges);

    const { status, headers, body } = await fetchBlob(link, undefined, piece);

    expect([status, headers['content-range']]).toEqual([206, 'bytes 1000-59999/100000']);
    expect((await buffer(body)).equals(content.subarray(1000, 60_000))).toBe(true);
    expect(ranges).toEqual(['bytes=1000-59999', 'bytes=21000-59999', 'bytes=41000-59999']);
  });

  it('that never holds breaks off here as well', async () => {
    const ranges: string[] = [];
    const link = await breaking(10, 1000, ranges);

    const { body } = await fetchBlob(link, undefined, piece);

    await expect(buffer(body)).rejects.toThrow();
    expect(ranges).toHaveLength(5);
  });
});
