import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { type Accounts, createAccounts } from '../../../core/auth/accounts.ts';
import { createBcrypt } from '../../../core/auth/bcrypt.ts';
import { createMemoryStore } from '../../../core/object-store/memory.ts';
import { createRegistryClient, type RegistryClient } from '../../../oci/client.ts';
import { digestOf } from '../../../oci/digest.ts';
import { mediaTypes } from '../../../oci/media-types.ts';
import type { Registry } from '../../../oci/registry.ts';
import { authorized } from '../../../registry/decorators/authorized.ts';
import { createStoredRegistry } from '../../../registry/stored-registry.ts';
import { pushContent } from '../../helpers/content.ts';
import { type HttpAnswer, send } from '../../helpers/raw-http.ts';
import { startRegistryServer, type TestRegistryServer } from '../../helpers/registry-server.ts';
import { createTempDirectory, type TempDirectory } from '../../helpers/temp.ts';

const passwords = { owner: 'owner-pass', reader: 'reader-pass', pusher: 'pusher-pass' } as const;
type User = keyof typeof passwords;
const basic = (user: User, password: string = passwords[user]): { authorization: string } => ({
  authorization: `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`,
});
const secret = Buffer.from('a private layer');
const secretDigest = digestOf(secret);
const manifest = { 'content-type': mediaTypes.ociManifest };

let directory: TempDirectory;
let accounts: Accounts;
let stored: Registry;
let server: TestRegistryServer;
let imageBytes: Buffer;
let imageDigest: string;
const call = (method: string, path: string, options?: Parameters<typeof send>[3]): Promise<HttpAnswer> =>
  send(server.url, method, path, options);
const token = async (user: User | undefined, ...scopes: string[]): Promise<{ authorization: string }> => {
  const query = new URLSearchParams([['service', 'brickyard'], ...scopes.map((scope) => ['scope', scope])]);
  const headers = user === undefined ? {} : basic(user);
  const answer = await call('GET', `/token?${query.toString()}`, { headers });
  expect(answer.status).toBe(200);
  return { authorization: `Bearer ${(JSON.parse(answer.body.toString()) as { token: string }).token}` };
};

beforeAll(async () => {
  directory = await createTempDirectory('identity');
  const bcrypt = createBcrypt();
  const lines = await Promise.all(
    Object.entries(passwords).map(async ([user, password]) => `${user}:${await bcrypt.hash(password, 4)}`),
  );
  await bcrypt.close();
  const htpasswd = join(directory.path, 'htpasswd');
  await writeFile(htpasswd, `${lines.join('\n')}\n`);
  const store = createMemoryStore();
  accounts = await createAccounts({
    htpasswd,
    store,
    service: 'brickyard',
    rules: [
      { repositories: '**', users: ['owner'], actions: ['admin'] },
      { repositories: 'shared/**', users: ['reader', 'pusher'], actions: ['pull'] },
      { repositories: 'shared/**', users: ['pusher'], actions: ['push'] },
      { repositories: 'public/**', users: ['anonymous'], actions: ['pull'] },
    ],
  });
  stored = createStoredRegistry({ store });
  server = await startRegistryServer(stored, {
    authenticator: accounts.authenticator,
    registryFor: (identity) => authorized(stored, identity),
    plugins: async (http) => {
      await http.app.register(accounts.tokenRoutes((request) => http.origin.address(request)));
    },
  });
  const content = {
    blobs: { secret },
    manifests: { image: { layers: ['secret'] } },
    tags: { latest: 'image' },
  };
  const pushed = await pushContent(stored, {
    'private/app': content,
    'shared/app': content,
    'public/app': content,
  });
  imageBytes = pushed['private/app'].manifests.image.bytes;
  imageDigest = pushed['private/app'].manifests.image.digest;
});
afterAll(async () => {
  await server.close();
  await accounts.close();
  await directory.remove();
});
afterEach(async () => {
  expect((await call('GET', '/v2/public/app/manifests/latest')).status).toBe(200);
});

describe('signing in', () => {
  it('GET /v2/ without credentials is 401 and names the token service', async () => {
    const answer = await call('GET', '/v2/');

    expect([answer.status, answer.code]).toEqual([401, 'UNAUTHORIZED']);
    expect(answer.headers['www-authenticate']).toBe(`Bearer realm="${server.url}/token",service="brickyard"`);
  });

  it('GET /v2/ with a password, or with a token for nothing, is 200', async () => {
    expect((await call('GET', '/v2/', { headers: basic('reader') })).status).toBe(200);
    expect((await call('GET', '/v2/', { headers: await token('reader') })).status).toBe(200);
  });

  it.each([
    ['a wrong password', basic('reader', 'wrong')],
    ['no such account', { authorization: `Basic ${Buffer.from('nobody:x').toString('base64')}` }],
    ['a forged token', { authorization: 'Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJvd25lciJ9.' }],
    ['nonsense', { authorization: 'Nonsense' }],
    ['an empty header', { authorization: '' }],
  ])('%s is 401 everywhere, where nobody in particular may read too', async (_, headers) => {
    for (const path of ['/v2/', '/v2/public/app/manifests/latest', '/v2/private/app/tags/list']) {
      const answer = await call('GET', path, { headers });
      expect([answer.status, answer.code]).toEqual([401, 'UNAUTHORIZED']);
    }
  });

  it.each([
    ['GET', '/v2/shared/app/manifests/latest', 'repository:shared/app:pull'],
    ['HEAD', `/v2/shared/app/blobs/${secretDigest}`, 'repository:shared/app:pull'],
    ['PUT', '/v2/shared/app/manifests/x', 'repository:shared/app:pull,push'],
    ['POST', '/v2/shared/app/blobs/uploads/', 'repository:shared/app:pull,push'],
    ['DELETE', '/v2/shared/app/manifests/latest', 'repository:shared/app:delete'],
    [
      'POST',
      `/v2/shared/app/blobs/uploads/?mount=${secretDigest}&from=private/app`,
      'repository:shared/app:pull,push repository:private/app:pull',
    ],
  ])('%s %s is challenged for the scope %s', async (method, path, scope) => {
    const answer = await call(method, path);

    expect(answer.status).toBe(401);
    expect(answer.headers['www-authenticate']).toContain(`scope="${scope}"`);
  });

  it('a token that grants too little is 401 insufficient_scope, so that the client fetches another one', async () => {
    const headers = await token('pusher', 'repository:shared/app:pull');
    const answer = await call('POST', '/v2/shared/app/blobs/uploads/', { headers });

    expect([answer.status, answer.code]).toEqual([401, 'DENIED']);
    expect(answer.headers['www-authenticate']).toContain('error="insufficient_scope"');
  });

  it('a mount whose token does not cover the source is challenged for both scopes, if its owner may read there', async () => {
    const push = 'repository:shared/second:pull,push';
    const mount = (from: string, headers: { authorization: string }): Promise<HttpAnswer> =>
      call('POST', `/v2/shared/second/blobs/uploads/?mount=${secretDigest}&from=${from}`, { headers });
    const refused = await mount('shared/app', await token('pusher', push));
    expect([refused.status, refused.code]).toEqual([401, 'DENIED']);
    const scope = `${push} repository:shared/app:pull`;
    expect(refused.headers['www-authenticate']).toContain(`scope="${scope}",error="insufficient_scope"`);
    expect((await mount('shared/app', await token('pusher', scope))).status).toBe(201);

    for (const from of ['private/app', 'private/absent']) {
      expect((await mount(from, await token('pusher', push))).status).toBe(202);
    }
  });

  it('a password whose account may not is 403, as nothing else could be fetched', async () => {
    const answer = await call('POST', '/v2/shared/app/blobs/uploads/', { headers: basic('reader') });

    expect([answer.status, answer.code]).toEqual([403, 'DENIED']);
  });

  it.each(['/v2/%22,realm=%22http:%2f%2fevil/tags/list', '/v2/a%0d%0ab/tags/list'])(
    'the challenge for %s holds nothing of the name',
    async (path) => {
      const answer = await call('GET', path);

      expect(answer.status).toBe(400);
      expect(answer.headers['www-authenticate'] ?? '').not.toMatch(/evil|scope/);
    },
  );

  it('the realm follows neither a spoofed Host that is no host nor X-Forwarded-Host', async () => {
    const headers = { host: 'evil"x', 'x-forwarded-host': 'evil.example', 'x-forwarded-proto': 'https' };
    const answer = await call('GET', '/v2/', { headers });

    expect(answer.headers['www-authenticate']).toContain(`realm="${server.url}/token"`);
  });
});

describe('what may not be read', () => {
  const ends = [
    ['GET', 'manifests/latest'],
    ['HEAD', 'manifests/latest'],
    ['GET', `blobs/${secretDigest}`],
    ['HEAD', `blobs/${secretDigest}`],
    ['GET', 'tags/list'],
    ['GET', `referrers/${secretDigest}`],
  ] as const;

  it.each(ends)('%s …/%s is 401 for nobody in particular and 403 for others', async (method, end) => {
    expect((await call(method, `/v2/private/app/${end}`)).status).toBe(401);
    expect((await call(method, `/v2/private/app/${end}`, { headers: basic('reader') })).status).toBe(403);
    const headers = await token('reader', 'repository:private/app:pull,push,delete', 'registry:catalog:*');
    expect((await call(method, `/v2/private/app/${end}`, { headers })).status).toBe(401);
    expect((await call(method, `/v2/private/app/${end}`, { headers: basic('owner') })).status).toBe(200);
  });

  it.each(ends)(
    '%s …/%s answers alike for a repository that is there and one that is not',
    async (method, end) => {
      const there = await call(method, `/v2/private/app/${end}`, { headers: basic('reader') });
      const absent = await call(method, `/v2/private/other/${end}`, { headers: basic('reader') });

      expect([there.status, there.code]).toEqual([absent.status, absent.code]);
      expect(there.body.toString().replace('private/app', 'X')).toBe(
        absent.body.toString().replace('private/other', 'X'),
      );
    },
  );

  it('is not mounted, with or without from, nor told to exist', async () => {
    const only = Buffer.from('only private/app has this');
    await stored.putBlob('private/app', digestOf(only), only);
    for (const query of [`mount=${digestOf(only)}&from=private/app`, `mount=${digestOf(only)}`]) {
      const there = await call('POST', `/v2/shared/app/blobs/uploads/?${query}`, {
        headers: basic('pusher'),
      });
      const nowhere = query.replace(digestOf(only), digestOf('nobody has this'));
      const absent = await call('POST', `/v2/shared/app/blobs/uploads/?${nowhere}`, {
        headers: basic('pusher'),
      });
      expect([there.status, absent.status]).toEqual([202, 202]);
    }
    const head = await call('HEAD', `/v2/shared/app/blobs/${digestOf(only)}`, { headers: basic('pusher') });
    expect(head.status).toBe(404);
  });

  it('gets into no manifest: a layer of another repository is unknown here', async () => {
    const only = Buffer.from('only private/app has this too');
    await stored.putBlob('private/app', digestOf(only), only);
    const document = JSON.parse(imageBytes.toString()) as object;
    const layers = [{ mediaType: mediaTypes.ociLayer, digest: digestOf(only), size: only.length }];
    const answer = await call('PUT', '/v2/shared/app/manifests/stolen', {
      headers: { ...basic('pusher'), ...manifest },
      body: JSON.stringify({ ...document, layers }),
    });

    expect(answer.code).toBe('MANIFEST_BLOB_UNKNOWN');
  });

  it('is not in the catalog', async () => {
    const listed = async (headers?: { authorization: string }): Promise<unknown> => {
      const answer = await call('GET', '/v2/_catalog', headers === undefined ? {} : { headers });
      return (JSON.parse(answer.body.toString()) as { repositories?: unknown }).repositories;
    };
    expect(await listed()).toEqual(['public/app']);
    expect(await listed(basic('reader'))).toEqual(['public/app', 'shared/app']);
    expect(await listed(basic('owner'))).toEqual(['private/app', 'public/app', 'shared/app']);
  });

  it('is gone for everybody right after its delete', async () => {
    const passing = Buffer.from('soon gone');
    await stored.putBlob('shared/app', digestOf(passing), passing);
    const path = `/v2/shared/app/blobs/${digestOf(passing)}`;
    expect((await call('GET', path, { headers: basic('reader') })).status).toBe(200);
    expect((await call('DELETE', path, { headers: basic('owner') })).status).toBe(202);

    for (const method of ['GET', 'HEAD']) {
      expect((await call(method, path, { headers: basic('reader') })).status).toBe(404);
    }
  });
});

describe('what may not be written', () => {
  it.each([
    ['PUT', 'manifests/latest'],
    ['DELETE', 'manifests/latest'],
    ['DELETE', `blobs/${secretDigest}`],
    ['POST', 'blobs/uploads/'],
    ['POST', `blobs/uploads/?digest=${secretDigest}`],
    ['POST', `blobs/uploads/?mount=${secretDigest}&from=shared/app`],
    ['PATCH', 'blobs/uploads/any'],
    ['PUT', `blobs/uploads/any?digest=${secretDigest}`],
    ['DELETE', 'blobs/uploads/any'],
    ['GET', 'blobs/uploads/any'],
  ])('%s …/%s is refused with the right to pull alone', async (method, end) => {
    const path = `/v2/shared/app/${end}`;
    const headers = { ...basic('reader'), ...manifest };
    const body = method === 'GET' || method === 'DELETE' ? {} : { body: imageBytes };

    const answer = await call(method, path, { headers, ...body });

    expect([answer.status, answer.code]).toEqual([403, 'DENIED']);
    const nobody = await call(method, `/v2/public/app/${end}`, { headers: manifest, ...body });
    expect([nobody.status, nobody.code]).toEqual([401, 'UNAUTHORIZED']);
  });

  it('tags and manifests are deleted with the right to delete, not with that to push', async () => {
    for (const reference of ['latest', imageDigest]) {
      const answer = await call('DELETE', `/v2/shared/app/manifests/${reference}`, {
        headers: basic('pusher'),
      });
      expect([answer.status, answer.code]).toEqual([403, 'DENIED']);
    }
  });

  it('a refused manifest is refused before its body is read', async () => {
    const answer = await call('PUT', '/v2/shared/app/manifests/x', {
      headers: { ...basic('reader'), ...manifest },
      body: Buffer.alloc(6 * 1024 * 1024, ' '),
    });

    expect([answer.status, answer.code]).toEqual([403, 'DENIED']);
  });

  it("an upload session is nobody else's, and of no other repository", async () => {
    const opened = await call('POST', '/v2/shared/app/blobs/uploads/', { headers: basic('pusher') });
    const location = opened.headers.location ?? '';
    const elsewhere = location.replace('shared/app', 'shared/other');

    for (const [path, user] of [
      [location, 'owner'],
      [elsewhere, 'pusher'],
    ] as const) {
      for (const method of ['GET', 'PATCH', 'DELETE']) {
        const body = method === 'PATCH' ? { body: 'x' } : {};
        const answer = await call(method, path, { headers: basic(user), ...body });
        expect([answer.status, answer.code]).toEqual([404, 'BLOB_UPLOAD_UNKNOWN']);
      }
    }
    expect((await call('GET', location, { headers: basic('pusher') })).status).toBe(204);
  });
});

describe('the client', () => {
  const clients: RegistryClient[] = [];
  const client = (credentials?: { username: string; password: string }): RegistryClient => {
    const created = createRegistryClient({
      url: server.url,
      ...(credentials === undefined ? {} : { credentials }),
    });
    clients.push(created);
    return created;
  };
  afterAll(() => {
    for (const one of clients) one.close();
  });

  it('fetches tokens for what it does, and another one for what it does next', async () => {
    const pusher = client({ username: 'pusher', password: passwords.pusher });

    expect((await pusher.getManifest('shared/app', 'latest')).bytes.equals(imageBytes)).toBe(true);
    const blob = Buffer.from('pushed by the client');
    await pusher.putBlob('shared/app', digestOf(blob), blob);
    expect(await pusher.mountBlob('shared/second', digestOf(blob), 'shared/app')).toBe(true);
    await expect(pusher.deleteTag('shared/app', 'latest')).rejects.toMatchObject({ code: 'DENIED' });
  });

  it('reads as nobody in particular what everybody may read, and is told to sign in for the rest', async () => {
    const nobody = client();

    expect((await nobody.getManifest('public/app', 'latest')).bytes.equals(imageBytes)).toBe(true);
    await expect(nobody.getManifest('private/app', 'latest')).rejects.toMatchObject({ code: 'UNAUTHORIZED' });
  });

  it('says UNAUTHORIZED for a wrong password', async () => {
    const wrong = client({ username: 'pusher', password: 'wrong' });

    await expect(wrong.getManifest('shared/app', 'latest')).rejects.toMatchObject({ code: 'UNAUTHORIZED' });
  });
});
