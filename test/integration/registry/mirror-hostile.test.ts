import { randomBytes } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { digestOf } from '../../../oci/digest.ts';
import { mediaTypes } from '../../../oci/media-types.ts';
import { emptyConfig, manifestBytes } from '../../helpers/content.ts';
import { type ObservedServer, observeServer } from '../../helpers/observed-server.ts';
import { send } from '../../helpers/raw-http.ts';
import { type MirrorServer, mirrorAccount, mirrorsOf, startMirror } from './mirror-fixture.ts';

/** More than is waited for before the answer begins. */
const layer = randomBytes(1_600_000);
const layerDigest = digestOf(layer);
const manifest = manifestBytes(
  { layers: ['layer'] },
  { blobs: { layer: { mediaType: '', digest: layerDigest, size: layer.length } }, manifests: {} },
);
const manifestDigest = digestOf(manifest);
const basic = `Basic ${Buffer.from(`${mirrorAccount.username}:${mirrorAccount.password}`).toString('base64')}`;

/** One mirror for all tests; each has its own upstream name, so that none finds what another one stored. */
let upstream: ObservedServer;
let elsewhere: ObservedServer;
let mirror: MirrorServer;

beforeAll(async () => {
  upstream = await observeServer();
  elsewhere = await observeServer();
  mirror = await startMirror(
    mirrorsOf(
      upstream.url,
      { prefix: 'plain.test' },
      { prefix: 'realm.test', authRealmHosts: [elsewhere.host] },
    ),
  );
});

afterEach(() => {
  for (const server of [upstream, elsewhere]) {
    server.seen.length = 0;
    server.interfere = undefined;
  }
});

afterAll(async () => {
  await mirror?.[Symbol.asyncDispose]();
  await upstream?.close();
  await elsewhere?.close();
});

/** A registry of one image under any name, that asks for Basic; `special` answers first. */
function serve(special: (path: string, response: ServerResponse, request: IncomingMessage) => boolean): void {
  upstream.interfere = (request, response) => {
    const path = request.url ?? '';
    if (special(path, response, request)) return true;
    if (request.headers.authorization !== basic) {
      response.writeHead(401, { 'www-authenticate': 'Basic realm="x"' }).end();
    } else if (path.includes('/manifests/')) {
      const headers = { 'content-type': mediaTypes.ociManifest, 'content-length': manifest.length };
      response.writeHead(200, { ...headers, 'docker-content-digest': manifestDigest }).end(manifest);
    } else if (path.endsWith(layerDigest)) response.end(layer);
    else if (path.endsWith(digestOf(emptyConfig))) response.end(emptyConfig);
    else return false;
    return true;
  };
}

/** The upstream is left alone for a moment after it failed, which must not be taken for the next failure. */
async function get(path: string) {
  return send(mirror.server.url, 'GET', path);
}

describe('a mirror of a registry that means it harm', () => {
  it('asks no token service that is not named in its configuration', async () => {
    serve((_path, response) => {
      const realm = `Bearer realm="${elsewhere.url}/token",service="x"`;
      response.writeHead(401, { 'www-authenticate': realm }).end();
      return true;
    });

    const answer = await get('/v2/plain.test/realm/manifests/v1');

    expect(answer).toMatchObject({ status: 503, code: 'UNAVAILABLE' });
    expect(elsewhere.seen).toEqual([]);
    expect(mirror.server.output()).toContain('as its token service, which is not allowed');
  });

  it('tells the password to one that is named, and the token to the registry', async () => {
    elsewhere.interfere = (_request, response) => {
      response.end('{"token":"given"}');
      return true;
    };
    serve((path, response, request) => {
      if (request.headers.authorization !== 'Bearer given') {
        const realm = `Bearer realm="${elsewhere.url}/token",service="x"`;
        response.writeHead(401, { 'www-authenticate': realm }).end();
      } else if (path.includes('/manifests/')) {
        response.writeHead(200, {
          'content-type': mediaTypes.ociManifest,
          'content-length': manifest.length,
        });
        response.end(manifest);
      } else response.writeHead(404).end();
      return true;
    });

    expect((await get('/v2/realm.test/app/manifests/v1')).status).toBe(200);

    expect(elsewhere.seen.map(({ authorization }) => authorization)).toEqual([basic]);
    expect(upstream.seen.map(({ authorization }) => authorization)).not.toContain(basic);
  });

  it('carries no password where it is redirected', async () => {
    elsewhere.interfere = (_request, response) => {
      response.end(layer);
      return true;
    };
    serve((path, response, request) => {
      if (!path.includes('/blobs/') || request.headers.authorization !== basic) return false;
      response.writeHead(307, { location: `${elsewhere.url}/signed?key=value` }).end();
      return true;
    });

    const answer = await get(`/v2/plain.test/redirect/blobs/${layerDigest}`);

    expect(answer.status).toBe(200);
    expect(answer.body.equals(layer)).toBe(true);
    expect(elsewhere.seen).toEqual([{ method: 'GET', path: '/signed?key=value', authorization: undefined }]);
  });

  it.each([
    'http://169.254.169.254/latest/meta-data/iam/security-credentials/',
    'http://localhost:PORT/',
    'http://127.0.0.2:PORT/',
    'http://[::ffff:127.0.0.1]:PORT/',
    'https://10.0.0.1/',
    'file:///etc/passwd',
  ])('follows no redirect to %s', async (location) => {
    serve((path, response) => {
      if (!path.includes('/blobs/')) return false;
      response.writeHead(302, { location: location.replace('PORT', new URL(elsewhere.url).port) }).end();
      return true;
    });

    const answer = await get(`/v2/plain.test/inside/blobs/${layerDigest}`);

    expect(answer.status).toBe(503);
    expect(elsewhere.seen).toEqual([]);
  });

  it('stores no manifest under a digest that is not its own', async () => {
    const lie = digestOf('something else');
    serve((path, response, request) => {
      if (!path.includes('/manifests/') || request.headers.authorization !== basic) return false;
      const headers = { 'content-type': mediaTypes.ociManifest, 'content-length': manifest.length };
      response.writeHead(200, { ...headers, 'docker-content-digest': lie }).end(manifest);
      return true;
    });

    expect((await get('/v2/plain.test/lie/manifests/v1')).status).toBe(503);
    expect((await get(`/v2/plain.test/lie/manifests/${lie}`)).status).toBe(503);
    expect((await mirror.client.listRepositories({ limit: 100 })).entries).not.toContain('plain.test/lie');
  });

  it('never gives the last byte of a blob that is another one, and forgets it', async () => {
    const other = Buffer.from(layer);
    other[700_000] = (other[700_000] ?? 0) ^ 1;
    serve((path, response, request) => {
      if (!path.endsWith(layerDigest) || request.headers.authorization !== basic) return false;
      response.end(other);
      return true;
    });
    const path = `/v2/plain.test/other/blobs/${layerDigest}`;

    await expect(get(path)).rejects.toThrow('aborted');

    serve(() => false);
    const again = await get(path);
    expect(again.body.equals(layer)).toBe(true);
  });

  it('tells a small blob that breaks off by its status', async () => {
    serve((path, response, request) => {
      if (!path.includes('/blobs/') || request.headers.authorization !== basic) return false;
      response.writeHead(200, { 'content-length': 2 });
      response.write('{', () => response.destroy());
      return true;
    });
    const path = `/v2/plain.test/short/blobs/${digestOf(emptyConfig)}`;

    expect(await get(path)).toMatchObject({ status: 503, code: 'UNAVAILABLE' });

    serve(() => false);
    expect((await get(path)).body.toString()).toBe('{}');
  });

  it.each([
    ['a manifest of another kind than it says', 'application/vnd.oci.image.index.v1+json', manifest, 400],
    ['a web page', 'text/html', Buffer.from('<html>log in</html>'), 400],
    ['a manifest without end', mediaTypes.ociManifest, Buffer.alloc(6 * 1024 * 1024, ' '), 503],
  ])('stores nothing of %s', async (_, type, body, status) => {
    serve((path, response, request) => {
      if (!path.includes('/manifests/') || request.headers.authorization !== basic) return false;
      const headers = { 'content-type': type, 'content-length': body.length };
      response.writeHead(200, { ...headers, 'docker-content-digest': digestOf(body) }).end(body);
      return true;
    });

    const answer = await get(`/v2/plain.test/kind/manifests/${digestOf(body)}`);

    expect(answer.status).toBe(status);
    expect((await mirror.client.listRepositories({ limit: 100 })).entries).not.toContain('plain.test/kind');
  });

  it('repeats nothing that the upstream says of our password', async () => {
    serve((_path, response, request) => {
      const message = `you said ${request.headers.authorization ?? 'nothing'}`;
      if (request.headers.authorization !== basic) return false;
      response.writeHead(403).end(JSON.stringify({ errors: [{ code: 'DENIED', message, detail: message }] }));
      return true;
    });

    const answer = await get('/v2/plain.test/echo/manifests/v1');

    expect(answer).toMatchObject({ status: 403, code: 'DENIED' });
    expect(answer.body.toString()).not.toContain('you said');
    expect(mirror.server.output()).not.toContain('you said');
  });

  it('writes neither the password nor signed addresses into its log', () => {
    const output = mirror.server.output();

    expect(output).toContain('the upstream of a mirror failed');
    for (const secret of [
      mirrorAccount.password,
      basic.slice(6),
      'given',
      'key=value',
      'security-credentials',
    ]) {
      expect(output).not.toContain(secret);
    }
  });
});
