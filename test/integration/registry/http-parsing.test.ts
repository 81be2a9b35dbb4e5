import { once } from 'node:events';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { createMemoryStore } from '../../../core/object-store/memory.ts';
import { digestOf } from '../../../oci/digest.ts';
import { mediaTypes } from '../../../oci/media-types.ts';
import { createStoredRegistry } from '../../../registry/stored-registry.ts';
import { type HttpAnswer, openSocket, readToEnd, send } from '../../helpers/raw-http.ts';
import { startRegistryServer, type TestRegistryServer } from '../../helpers/registry-server.ts';

const config = Buffer.from('{"architecture":"amd64","os":"linux"}');
const configDigest = digestOf(config);
const configDescriptor = { mediaType: mediaTypes.ociConfig, digest: configDigest, size: config.length };
const image = { schemaVersion: 2, mediaType: mediaTypes.ociManifest, config: configDescriptor, layers: [] };
const absent = digestOf('nobody pushed this');

let server: TestRegistryServer;
const call = (method: string, path: string, options?: Parameters<typeof send>[3]): Promise<HttpAnswer> =>
  send(server.url, method, path, options);
const outcome = (answer: HttpAnswer): [number, string | undefined] => [answer.status, answer.code];
const putManifest = (
  body: string | Buffer,
  type: string = mediaTypes.ociManifest,
  reference = 'x',
): Promise<HttpAnswer> =>
  call('PUT', `/v2/team/app/manifests/${reference}`, { headers: { 'content-type': type }, body });
beforeAll(async () => {
  server = await startRegistryServer(createStoredRegistry({ store: createMemoryStore() }));
  const created = await call('POST', `/v2/team/app/blobs/uploads/?digest=${configDigest}`, { body: config });
  expect(created.status).toBe(201);
  expect((await putManifest(JSON.stringify(image), mediaTypes.ociManifest, 'latest')).status).toBe(201);
});
afterAll(async () => {
  await server.close();
});
// Whatever was sent: the next client is served.
afterEach(async () => {
  expect((await call('GET', '/v2/team/app/manifests/latest')).status).toBe(200);
});

describe('manifests', () => {
  it.each([
    ['a Content-Type that differs from mediaType', JSON.stringify(image), mediaTypes.ociIndex],
    ['both manifests and layers', JSON.stringify({ ...image, manifests: [] }), mediaTypes.ociManifest],
    [
      'a config in an index',
      JSON.stringify({
        schemaVersion: 2,
        mediaType: mediaTypes.ociIndex,
        manifests: [],
        config: configDescriptor,
      }),
      mediaTypes.ociIndex,
    ],
    ['a type nobody knows', '{"schemaVersion":2}', 'text/html'],
    ['a type with a script in it', '{"schemaVersion":2}', 'application/"><script>'],
    ['text', 'hello', mediaTypes.ociManifest],
    ['nothing', '', mediaTypes.ociManifest],
    ['an array', '[]', mediaTypes.ociManifest],
    ['null', 'null', mediaTypes.ociManifest],
    ['JSON 100,000 deep', `{"layers":${'['.repeat(100_000)}${']'.repeat(100_000)}}`, mediaTypes.ociManifest],
    [
      'the key mediaType twice',
      `{"mediaType":"${mediaTypes.ociManifest}",${JSON.stringify(image).slice(1)}`,
      mediaTypes.ociManifest,
    ],
    ['a byte order mark', `\uFEFF${JSON.stringify(image)}`, mediaTypes.ociManifest],
    [
      'NaN for a size',
      JSON.stringify(image).replace(`"size":${config.length}`, '"size":NaN'),
      mediaTypes.ociManifest,
    ],
    [
      'a negative size',
      JSON.stringify(image).replace(`"size":${config.length}`, '"size":-1'),
      mediaTypes.ociManifest,
    ],
    [
      'a size beyond 2^53',
      JSON.stringify(image).replace(`"size":${config.length}`, '"size":9007199254740993'),
      mediaTypes.ociManifest,
    ],
    [
      'a size that is a fraction',
      JSON.stringify(image).replace(`"size":${config.length}`, '"size":1.5'),
      mediaTypes.ociManifest,
    ],
    [
      'a descriptor whose digest is none',
      JSON.stringify(image).replace(configDigest, 'sha256:../..'),
      mediaTypes.ociManifest,
    ],
    ['schemaVersion 1', JSON.stringify({ ...image, schemaVersion: 1 }), mediaTypes.ociManifest],
  ])('with %s are refused with 400 and MANIFEST_INVALID', async (_, body, type) => {
    const answer = await putManifest(body, type);

    expect(outcome(answer)).toEqual([400, 'MANIFEST_INVALID']);
    expect((await call('HEAD', '/v2/team/app/manifests/x')).status).toBe(404);
  });

  it('with a layer that nobody pushed are MANIFEST_BLOB_UNKNOWN', async () => {
    const layers = [{ mediaType: mediaTypes.ociLayer, digest: absent, size: 5 }];
    const answer = await putManifest(JSON.stringify({ ...image, layers }));

    expect(outcome(answer)).toEqual([404, 'MANIFEST_BLOB_UNKNOWN']);
  });

  it.each([
    ['__proto__', `{"__proto__":{"polluted":true},${JSON.stringify(image).slice(1)}`],
    ['constructor', `{"constructor":{"prototype":{"polluted":true}},${JSON.stringify(image).slice(1)}`],
    [
      'annotations called __proto__',
      `{"annotations":{"__proto__":"polluted"},${JSON.stringify(image).slice(1)}`,
    ],
  ])('with the key %s change nothing but themselves', async (_, body) => {
    const answer = await putManifest(body);

    expect([201, 400]).toContain(answer.status);
    expect('polluted' in {}).toBe(false);
    if (answer.status === 201) {
      expect((await call('GET', '/v2/team/app/manifests/x')).body.toString()).toBe(body);
      expect((await call('DELETE', '/v2/team/app/manifests/x')).status).toBe(202);
    }
  });

  it('with a lone surrogate are kept byte by byte or refused', async () => {
    const body = JSON.stringify({ ...image, annotations: { a: 'x' } }).replace('"x"', '"\\ud800"');
    const answer = await putManifest(body);

    expect([201, 400]).toContain(answer.status);
    if (answer.status === 201) {
      expect((await call('GET', '/v2/team/app/manifests/x')).body.toString()).toBe(body);
      expect((await call('DELETE', '/v2/team/app/manifests/x')).status).toBe(202);
    }
  });

  it('of more than 4 MiB are refused by their Content-Length, before a byte of them is read', async () => {
    const socket = await openSocket(server.url);
    socket.write(
      `PUT /v2/team/app/manifests/big HTTP/1.1\r\nHost: x\r\nContent-Type: ${mediaTypes.ociManifest}\r\nContent-Length: 4194305\r\n\r\n`,
    );
    const [chunk] = (await once(socket, 'data')) as [Buffer];
    socket.destroy();

    expect(chunk.toString()).toMatch(/^HTTP\/1\.1 413 /);
    expect(chunk.toString()).toContain('SIZE_TOO_LARGE');
  });

  it('of more than 4 MiB without a Content-Length are refused while they are read', async () => {
    const answer = await call('PUT', '/v2/team/app/manifests/big', {
      headers: { 'content-type': mediaTypes.ociManifest, 'transfer-encoding': 'chunked' },
      body: Buffer.alloc(5 * 1024 * 1024, ' '),
    });

    expect(outcome(answer)).toEqual([413, 'SIZE_TOO_LARGE']);
  });

  it.each(['bad/../tag', '-x', '.x', 'a'.repeat(129), 'tag%0d%0aX-Injected:1', '%00', 'ü'])(
    'under the tag %j are refused',
    async (tag) => {
      const answer = await putManifest(
        JSON.stringify(image),
        mediaTypes.ociManifest,
        encodeURI(decodeURIComponent(tag)),
      );

      expect(answer.status).toBeGreaterThanOrEqual(400);
      expect(answer.status).toBeLessThan(500);
      expect(answer.headers['x-injected']).toBeUndefined();
    },
  );

  it('take no tag by parameter that is none, and set no header from it', async () => {
    const digest = digestOf(JSON.stringify(image));
    const answer = await putManifest(
      JSON.stringify(image),
      mediaTypes.ociManifest,
      `${digest}?tag=ok&tag=a%0d%0aX-Injected:%201`,
    );

    expect(outcome(answer)).toEqual([400, 'TAG_INVALID']);
    expect(answer.headers['x-injected']).toBeUndefined();
    expect((await call('HEAD', '/v2/team/app/manifests/ok')).status).toBe(404);
  });
});

describe('pagination', () => {
  it.each(['-1', 'ten', '1e3', '0x10', '2147483648', '99999999999999999999', '1.5', '%00', ''])(
    'n=%s is PAGINATION_NUMBER_INVALID, for tags, catalog and referrers',
    async (n) => {
      for (const path of ['/v2/team/app/tags/list', '/v2/_catalog', `/v2/team/app/referrers/${absent}`]) {
        expect(outcome(await call('GET', `${path}?n=${n}`))).toEqual([400, 'PAGINATION_NUMBER_INVALID']);
      }
    },
  );

  it('n=0 gives an empty page and no next one', async () => {
    const answer = await call('GET', '/v2/team/app/tags/list?n=0');

    expect(JSON.parse(answer.body.toString())).toEqual({ name: 'team/app', tags: [] });
    expect(answer.headers.link).toBeUndefined();
  });

  it('a large n is cut to what one page holds', async () => {
    const answer = await call('GET', '/v2/team/app/tags/list?n=2147483647');

    expect(JSON.parse(answer.body.toString())).toEqual({ name: 'team/app', tags: ['latest'] });
  });

  it.each([
    '%00',
    '%ff%fe',
    '..%2f..%2f',
    '%0d%0aX-Injected:1',
    'z'.repeat(5000),
    '%F0%9F%98%80',
    '/',
    '_catalog',
    '',
  ])('last=%s answers with a list', async (last) => {
    for (const path of ['/v2/team/app/tags/list', '/v2/_catalog', `/v2/team/app/referrers/${absent}`]) {
      const answer = await call('GET', `${path}?n=1&last=${last}`);
      expect(answer.status).toBe(200);
      expect(answer.headers['x-injected']).toBeUndefined();
    }
  });
});

describe('the rest of the API', () => {
  it.each([
    '/v2/x',
    '/v2/a/b/c',
    '/v2/a/tags',
    '/v2/%',
    '/v2/%ff/tags/list',
    '/v2/../etc/passwd',
    '/v2//',
    '/v20',
  ])('has no end %s: 404', async (path) => {
    expect((await call('GET', path)).status).toBe(404);
  });

  it.each([
    ['POST', '/v2/team/app/manifests/latest'],
    ['PATCH', '/v2/team/app/tags/list'],
    ['PUT', `/v2/team/app/blobs/${absent}`],
    ['OPTIONS', '/v2/'],
    ['DELETE', '/v2/_catalog'],
    ['TRACE', '/v2/team/app/manifests/latest'],
  ])('%s %s is UNSUPPORTED and tells what is allowed', async (method, path) => {
    const answer = await call(method, path);

    expect(outcome(answer)).toEqual([405, 'UNSUPPORTED']);
    expect(answer.headers.allow).toMatch(/GET|HEAD/);
  });
});

describe('ranges of a blob', () => {
  it.each([
    ['bytes=0-0,5-6', 200],
    ['bytes=0-18446744073709551616', 206],
    ['bytes=18446744073709551616-', 416],
    ['bytes=9-3', 416],
    ['bytes=-0', 416],
    ['bytes=-18446744073709551616', 206],
    ['bytes=a-b', 200],
    ['bytes=', 200],
    ['items=0-1', 200],
    [`bytes=${'0-1,'.repeat(3000)}5-6`, 200],
  ])('%s is answered with %i', async (range, status) => {
    const answer = await call('GET', `/v2/team/app/blobs/${configDigest}`, { headers: { range } });

    expect(answer.status).toBe(status);
    if (status === 200) expect(answer.body.equals(config)).toBe(true);
  });
});

describe('header injection and spoofing', () => {
  it('an artifactType with a line break filters and injects nothing', async () => {
    const answer = await call('GET', `/v2/team/app/referrers/${absent}?artifactType=a%0d%0aX-Injected:1&n=1`);

    expect(answer.status).toBe(200);
    expect(answer.headers['oci-filters-applied']).toBe('artifactType');
    expect(answer.headers['x-injected']).toBeUndefined();
  });

  it('neither Host nor X-Forwarded-Host get into a Location', async () => {
    const answer = await call('POST', '/v2/team/app/blobs/uploads/', {
      headers: { host: 'evil.example', 'x-forwarded-host': 'evil.example', 'x-forwarded-proto': 'https' },
    });

    expect(answer.headers.location).toMatch(/^\/v2\/team\/app\/blobs\/uploads\/[A-Za-z0-9_-]+$/);
  });

  it('two Content-Length headers are refused, so that no request hides behind another', async () => {
    const socket = await openSocket(server.url);
    socket.write(
      'POST /v2/team/app/blobs/uploads/ HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!',
    );

    expect(await readToEnd(socket)).toMatch(/^HTTP\/1\.1 400 /);
  });

  it('Content-Length beside Transfer-Encoding is refused', async () => {
    const socket = await openSocket(server.url);
    socket.write(
      'POST /v2/team/app/blobs/uploads/ HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
    );

    expect(await readToEnd(socket)).toMatch(/^HTTP\/1\.1 400 /);
  });
});
