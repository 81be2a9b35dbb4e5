import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createPoolAccess, type PoolAccess } from '../../cache-proxy/agent/pool-access.ts';
import type { PoolEngine, PoolEngineDeps } from '../../cache-proxy/pool-engine.ts';
import type { Pool } from '../../cache-proxy/pools/pool.ts';
import { createBcrypt } from '../../core/auth/bcrypt.ts';
import { createSilentLogger } from '../../core/log.ts';
import { createRegistryClient } from '../../oci/client.ts';
import { pushContent } from '../helpers/content.ts';
import { freePort } from '../helpers/free-port.ts';
import { makePool } from '../helpers/pool.ts';
import { type HttpAnswer, send } from '../helpers/raw-http.ts';
import { startServer, type TestServer } from '../helpers/server.ts';
import { createTempDirectory } from '../helpers/temp.ts';

export interface AccessUnderTest {
  readonly kind: Pool['engine'];
  start(pool: Pool, deps: PoolEngineDeps): Promise<PoolEngine>;
}

/** Person → password. */
const people = {
  alice: 'a',
  bob: 'b',
  gone: 'g',
  changed: 'c',
  ruled: 'r',
  pool: 'p',
};
type Person = keyof typeof people;
/** Members of the team, whom something is taken from in the last test. */
const revoked = ['gone', 'changed', 'ruled'] as const;
const basic = (person: Person): string =>
  `Basic ${Buffer.from(`${person}:${people[person]}`).toString('base64')}`;

/** A registry with accounts, a pool before it with its real gate, and everything in the cache: who gets what. */
export function poolAccessSuite(name: string, under: AccessUnderTest): void {
  describe(`access to a warm pool (${name})`, () => {
    let folder: Awaited<ReturnType<typeof createTempDirectory>>;
    let origin: TestServer;
    let access: PoolAccess;
    let engine: PoolEngine;
    let own: Image;
    let other: Image;
    const closers: (() => unknown)[] = [];
    const htpasswd = (): string => join(folder.path, 'users.htpasswd');

    beforeAll(async () => {
      folder = await createTempDirectory('pool-access');
      await writePasswords(htpasswd(), people);
      origin = await startServer({ args: ['registry'], env: settings(htpasswd(), ['alice', ...revoked]) });
      own = await push(origin.url, 'alice', 'team/app');
      other = await push(origin.url, 'bob', 'other/app');
      const made = makePool({
        folder: folder.path,
        listen: `127.0.0.1:${await freePort()}`,
        origin: [origin.url],
        engine: under.kind,
      });
      const credential = { username: 'pool', password: people.pool };
      const pool: Pool = { ...made, origin: { ...made.origin, credential } };
      const log = createSilentLogger();
      access = createPoolAccess({ pool, log });
      const agent = createServer((request, response) => {
        const path = request.url?.split('?', 1)[0];
        if (path === '/token') access.handlers.token(request, response);
        else access.handlers.ping(request, response);
      });
      agent.listen(0, '127.0.0.1');
      await once(agent, 'listening');
      closers.push(
        () => agent.close(),
        () => agent.closeAllConnections(),
        () => access.close(),
      );
      const address = `127.0.0.1:${(agent.address() as AddressInfo).port}`;
      engine = await under.start(pool, { gate: access.gate, agent: address, onRecord: () => {}, log });
      closers.push(() => engine.close());
      for (const path of Object.values(own.paths)) await get(path, await tokenFor('alice', 'team/app'));
      for (const path of Object.values(other.paths)) await get(path, await tokenFor('bob', 'other/app'));
    });
    afterAll(async () => {
      for (const close of closers.reverse()) await close();
      await origin.remove();
      await folder.remove();
    });

    const get = (path: string, authorization?: string, method = 'GET'): Promise<HttpAnswer> =>
      send(engine.url, method, path, authorization === undefined ? {} : { headers: { authorization } });
    const tokenFor = async (person: Person, repository: string): Promise<string> => {
      const path = `/token?service=brickyard&scope=repository:${repository}:pull`;
      const answer = await get(path, basic(person));
      return `Bearer ${(JSON.parse(answer.body.toString()) as { token: string }).token}`;
    };

    const kinds = ['blob', 'manifest', 'tag'] as const;
    const ways = {
      token: tokenFor,
      password: async (person: Person) => basic(person),
    };

    describe.each(Object.entries(ways))('by %s', (_, credential) => {
      it.each(kinds)('the owner gets his %s', async (kind) => {
        const answer = await get(own.paths[kind], await credential('alice', 'team/app'));

        expect(answer.status).toBe(200);
        expect(answer.body.equals(own.bytes[kind])).toBe(true);
      });

      it.each(kinds)('another user gets 403 for a %s', async (kind) => {
        const answer = await get(own.paths[kind], await credential('bob', 'team/app'));

        expect([answer.status, answer.code]).toEqual([403, 'DENIED']);
        expect(answer.body.includes(own.bytes[kind].subarray(0, 64))).toBe(false);
      });
    });

    it.each(kinds)(
      'somebody without a name gets 401 and exactly one right challenge for a %s',
      async (kind) => {
        const answer = await get(own.paths[kind]);

        const challenges = answer.rawHeaders.filter(
          (_, at) => at % 2 === 1 && answer.rawHeaders[at - 1]?.toLowerCase() === 'www-authenticate',
        );
        expect([answer.status, answer.code]).toEqual([401, 'UNAUTHORIZED']);
        expect(challenges).toEqual([
          `Bearer realm="${engine.url}/token",service="brickyard",scope="repository:team/app:pull"`,
        ]);
      },
    );

    it('/v2/ and content have the same challenge, up to its scope', async () => {
      const ping = await get('/v2/');
      const content = await get(own.paths.blob);

      const challenge = String(ping.headers['www-authenticate']);
      expect(ping.status).toBe(401);
      expect(content.headers['www-authenticate']).toBe(`${challenge},scope="repository:team/app:pull"`);
      expect((await get('/v2/', basic('alice'))).status).toBe(200);
      expect((await get('/v2/', await tokenFor('alice', 'team/app'))).status).toBe(200);
    });

    it('a digest of another repository is 404 through the own one', async () => {
      const authorization = await tokenFor('bob', 'other/app');

      for (const path of [own.paths.blob, own.paths.manifest]) {
        const answer = await get(path.replace('team/app', 'other/app'), authorization);

        expect(answer.status).toBe(404);
        expect(answer.body.includes(own.bytes.blob.subarray(0, 64))).toBe(false);
      }
    });

    it('HEAD of a blob that is not linked in the repository is 404, so that a push uploads it', async () => {
      const authorization = basic('bob');

      expect((await get(other.paths.blob, authorization, 'HEAD')).status).toBe(200);
      expect((await get(own.paths.blob.replace('team/app', 'other/app'), authorization, 'HEAD')).status).toBe(
        404,
      );
    });

    it('no way of writing a path leads to another repository', async () => {
      const authorization = await tokenFor('bob', 'other/app');
      const within = own.paths.blob.slice('/v2/'.length);
      const paths = [
        `${other.paths.blob}/..%2f..%2f..%2f..%2f${encodeURIComponent(within)}`,
        `/v2/other/app/../../${within}`,
        `/v2/other/app/%2e%2e/%2e%2e/${within}`,
        `/v2/other/app/..%2f..%2f${within}`,
        `/v2//${within}`,
        `/v2/./${within}`,
        `/v2/${within.replace('/', '//')}`,
        `/v2/${within.replace('/', '%2f')}`,
      ];

      for (const path of paths) {
        const answer = await get(path, authorization);

        expect({ path, refused: [400, 401, 403, 404].includes(answer.status) }).toEqual({
          path,
          refused: true,
        });
        expect(answer.body.includes(own.bytes.blob.subarray(0, 64))).toBe(false);
      }
    });

    it('rights that were taken back end within 30 seconds', { timeout: 90_000 }, async () => {
      const credentials = await Promise.all(
        revoked.flatMap((person) => [tokenFor(person, 'team/app'), Promise.resolve(basic(person))]),
      );
      const ask = async (): Promise<number[]> =>
        Promise.all(credentials.map(async (each) => (await get(own.paths.blob, each)).status));
      expect(await ask()).toEqual(credentials.map(() => 200));

      const { gone: _, ...left } = people;
      await writePasswords(htpasswd(), { ...left, changed: 'another' });
      const { port, data } = origin;
      await origin.stop();
      const env = settings(htpasswd(), ['alice', 'gone', 'changed']);
      origin = await startServer({ args: ['registry'], env, port, data });
      const since = performance.now();

      await expect.poll(ask, { timeout: 60_000, interval: 500 }).toEqual([401, 401, 401, 401, 401, 403]);
      expect(performance.now() - since).toBeLessThan(30_000);
      expect((await get(own.paths.blob, await tokenFor('alice', 'team/app'))).status).toBe(200);
    });
  });
}

interface Image {
  readonly paths: Readonly<Record<'blob' | 'manifest' | 'tag', string>>;
  readonly bytes: Readonly<Record<'blob' | 'manifest' | 'tag', Buffer>>;
}

async function push(url: string, person: Person, repository: string): Promise<Image> {
  const client = createRegistryClient({ url, credentials: { username: person, password: people[person] } });
  const layer = Buffer.alloc(300_000, `layer of ${person}`);
  const pushed = await pushContent(client, {
    [repository]: { blobs: { layer }, manifests: { image: { layers: ['layer'] } }, tags: { v1: 'image' } },
  });
  client.close();
  const manifest = pushed[repository]?.manifests['image'];
  const digest = pushed[repository]?.blobs['layer']?.digest;
  if (manifest === undefined || digest === undefined) throw new Error('nothing was pushed');
  return {
    paths: {
      blob: `/v2/${repository}/blobs/${digest}`,
      manifest: `/v2/${repository}/manifests/${manifest.digest}`,
      tag: `/v2/${repository}/manifests/v1`,
    },
    bytes: { blob: layer, manifest: manifest.bytes, tag: manifest.bytes },
  };
}

function settings(htpasswd: string, team: readonly string[]): Record<string, string> {
  const rules = [
    { repositories: 'team/**', users: team, actions: ['pull'] },
    { repositories: 'team/**', users: ['alice'], actions: ['push'] },
    { repositories: 'other/**', users: ['bob'], actions: ['pull', 'push'] },
    { repositories: '**', users: ['pool'], actions: ['pull'] },
  ];
  return {
    BRICKYARD_PROCESSES: '1',
    BRICKYARD_AUTH_HTPASSWD: htpasswd,
    BRICKYARD_AUTH_RULES: JSON.stringify(rules),
    BRICKYARD_REGISTRY_POOLS_ACCOUNTS: 'pool',
  };
}

async function writePasswords(file: string, passwords: Readonly<Record<string, string>>): Promise<void> {
  const bcrypt = createBcrypt();
  const lines = await Promise.all(
    Object.entries(passwords).map(async ([name, password]) => `${name}:${await bcrypt.hash(password, 4)}\n`),
  );
  await bcrypt.close();
  await writeFile(file, lines.join(''));
}
