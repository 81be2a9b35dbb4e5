import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { createMemoryStore } from '../../../core/object-store/memory.ts';
import { digestOf } from '../../../oci/digest.ts';
import { mediaTypes } from '../../../oci/media-types.ts';
import { createStoredRegistry } from '../../../registry/stored-registry.ts';
import { type HttpAnswer, send } from '../../helpers/raw-http.ts';
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
const openUpload = async (): Promise<string> => {
  const opened = await call('POST', '/v2/team/app/blobs/uploads/', { headers: { 'content-length': 0 } });
  return opened.headers.location ?? '';
};

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

describe('digests', () => {
  it.each([
    'sha256:abc',
    `sha256:${'A'.repeat(64)}`,
    `sha256:${'a'.repeat(65)}`,
    `sha512:${'a'.repeat(64)}`,
    `md5:${'a'.repeat(32)}`,
    `sha256:${'g'.repeat(64)}`,
    `SHA256:${'a'.repeat(64)}`,
    'sha256:',
    ':',
    `sha256%253A${'a'.repeat(64)}`,
    `sha256:${'a'.repeat(63)}%00`,
  ])('%s is DIGEST_INVALID', async (digest) => {
    const expected = [400, 'DIGEST_INVALID'];
    expect(outcome(await call('GET', `/v2/team/app/blobs/${digest}`))).toEqual(expected);
    expect(outcome(await call('DELETE', `/v2/team/app/blobs/${digest}`))).toEqual(expected);
    expect(outcome(await call('GET', `/v2/team/app/referrers/${digest}`))).toEqual(expected);
    const post = `/v2/team/app/blobs/uploads/?digest=${digest}`;
    expect(outcome(await call('POST', post, { body: 'x' }))).toEqual(expected);
    expect(
      outcome(await call('POST', `/v2/team/app/blobs/uploads/?mount=${digest}&from=team/other`)),
    ).toEqual(expected);
  });

  it('sha256:../.. names nothing', async () => {
    expect((await call('GET', '/v2/team/app/blobs/sha256:../..')).status).toBe(404);
    expect(outcome(await call('GET', '/v2/team/app/blobs/sha256:%2e%2e%2f%2e%2e'))[0]).toBeGreaterThanOrEqual(
      400,
    );
  });

  it('given twice are DIGEST_INVALID', async () => {
    const location = await openUpload();
    const answer = await call('PUT', `${location}?digest=${absent}&digest=${configDigest}`, { body: config });

    expect(outcome(answer)).toEqual([400, 'DIGEST_INVALID']);
  });

  it('missing from the last PUT are DIGEST_INVALID', async () => {
    expect(outcome(await call('PUT', await openUpload(), { body: 'x' }))).toEqual([400, 'DIGEST_INVALID']);
  });

  it('of an algorithm that is not ours are refused before an upload is opened', async () => {
    const answer = await call('POST', '/v2/team/app/blobs/uploads/?digest-algorithm=md5');

    expect(outcome(answer)).toEqual([400, 'DIGEST_INVALID']);
  });
});

describe('names', () => {
  it.each([
    'a'.repeat(256),
    `${'a/'.repeat(127)}aa`,
    'Team/App',
    'team//app',
    'team/../app',
    './app',
    'team/.',
    '-app',
    'app-',
    'team/_app',
    'a..b',
    'a___b',
    'te%00am',
    't%C3%A9am',
    'team%2f..%2fapp',
    'team%252fapp',
    'team\\app',
    'team%0d%0aX-Injected:1',
  ])('%s is NAME_INVALID on every end', async (name) => {
    for (const [method, end] of [
      ['GET', 'tags/list'],
      ['GET', 'manifests/latest'],
      ['PUT', 'manifests/latest'],
      ['HEAD', `blobs/${absent}`],
      ['POST', 'blobs/uploads/'],
      ['PATCH', 'blobs/uploads/abc'],
      ['DELETE', `manifests/${absent}`],
      ['GET', `referrers/${absent}`],
    ] as const) {
      const answer = await call(method, `/v2/${name}/${end}`);
      expect(answer.status, `${method} ${end}`).toBe(400);
      if (method !== 'HEAD') expect(answer.code).toBe('NAME_INVALID');
      expect(answer.headers['x-injected']).toBeUndefined();
    }
  });

  it('with a slash behind them are no end of the API', async () => {
    expect((await call('GET', '/v2/team/app/tags/list/')).status).toBe(404);
    expect((await call('GET', '/v2/team/app/')).status).toBe(404);
  });

  it.each(['a/blobs/uploads/b', 'manifests', 'tags/list', 'referrers', 'blobs', 'uploads', 'a/manifests/b'])(
    'may be made of reserved words: %s',
    async (name) => {
      const created = await call('POST', `/v2/${name}/blobs/uploads/?digest=${configDigest}`, {
        body: config,
      });
      expect(created.status).toBe(201);
      const put = await call('PUT', `/v2/${name}/manifests/list`, {
        headers: { 'content-type': mediaTypes.ociManifest },
        body: JSON.stringify(image),
      });
      expect(put.status).toBe(201);

      const tags = await call('GET', `/v2/${name}/tags/list`);
      expect(JSON.parse(tags.body.toString())).toEqual({ name, tags: ['list'] });
      expect((await call('GET', `/v2/${name}/manifests/list`)).status).toBe(200);
      expect((await call('HEAD', `/v2/${name}/blobs/${configDigest}`)).status).toBe(200);
    },
  );

  it('that are prefixes of one another are all listed, in byte order', async () => {
    const names = ['pre', 'pre-fix', 'pre.fix', 'pre/fix', 'prefix', 'pre0'];
    for (const name of names) {
      await call('POST', `/v2/${name}/blobs/uploads/?digest=${configDigest}`, { body: config });
      const put = await call('PUT', `/v2/${name}/manifests/1`, {
        headers: { 'content-type': mediaTypes.ociManifest },
        body: JSON.stringify(image),
      });
      expect(put.status).toBe(201);
    }

    const listed: string[] = [];
    for (let path: string | undefined = '/v2/_catalog?n=2'; path !== undefined; ) {
      const page = await call('GET', path);
      listed.push(...(JSON.parse(page.body.toString()) as { repositories: string[] }).repositories);
      path = /^<([^>]+)>; rel="next"$/.exec(String(page.headers.link ?? ''))?.[1];
    }

    expect(listed).toEqual([...listed].sort());
    expect(listed.filter((name) => name.startsWith('pre'))).toEqual([...names].sort());
  });
});
