import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type FastifyInstance, fastify } from 'fastify';
import { createLocalJWKSet, jwtVerify } from 'jose';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { AccessRule } from '../../../../core/auth/access-rules.ts';
import { type Accounts, createAccounts } from '../../../../core/auth/accounts.ts';
import { InvalidCredentials, TooManyAttempts } from '../../../../core/auth/authenticator.ts';
import { createBcrypt } from '../../../../core/auth/bcrypt.ts';
import { bearerChallenge } from '../../../../core/auth/challenge.ts';
import { removeHtpasswdUser, setHtpasswdUser } from '../../../../core/auth/htpasswd.ts';
import { updatePasswordFile } from '../../../../core/auth/password-file-writer.ts';
import { createMemoryStore } from '../../../../core/object-store/memory.ts';

const service = 'registry.test';
const basic = (user: string, password: string): string =>
  `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`;

const rules: AccessRule[] = [
  { repositories: 'team-a/**', users: ['alice'], actions: ['pull', 'push'] },
  { repositories: 'public/**', users: ['anonymous'], actions: ['pull'] },
];

let folder: string;
let htpasswd: string;
let accounts: Accounts;
let app: FastifyInstance;
let base: string;
let warnings: object[];
const store = { current: createMemoryStore() };

/** A server that behaves towards a client like the registry does: challenge, token, then the question to the rules. */
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'by-auth-'));
  htpasswd = join(folder, 'users.htpasswd');
  const bcrypt = createBcrypt();
  const hash = await bcrypt.hash('secret', 6);
  await bcrypt.close();
  await updatePasswordFile(htpasswd, (text) => setHtpasswdUser(text, 'alice', hash));
  await updatePasswordFile(htpasswd, (text) => setHtpasswdUser(text, 'bob', hash));
  warnings = [];
  store.current = createMemoryStore();
  accounts = await createAccounts({
    htpasswd,
    rules,
    store: store.current,
    service,
    warn: (fields) => warnings.push(fields),
  });
  app = fastify();
  await app.register(accounts.tokenRoutes((request) => request.socket.remoteAddress ?? ''));
  app.get<{ Params: { '*': string } }>('/v2/*', async (request, reply) => {
    const repository = request.params['*'];
    const action = request.headers['x-action'] === 'push' ? 'push' : 'pull';
    try {
      const { principal, authorizer } = await accounts.authenticator.identify(
        request.headers.authorization,
        request.ip,
      );
      if (authorizer.may(principal, action, repository)) return { principal: principal.name };
    } catch (error) {
      if (error instanceof TooManyAttempts) return reply.code(429).send();
      if (!(error instanceof InvalidCredentials)) throw error;
    }
    const scope = `repository:${repository}:${action === 'push' ? 'pull,push' : 'pull'}`;
    const challenge = bearerChallenge({ realm: `${base}/token`, service, scope });
    return reply.code(401).header('www-authenticate', challenge).send();
  });
  base = await app.listen({ host: '127.0.0.1', port: 0 });
});

afterEach(async () => {
  await app.close();
  await accounts.close();
  await rm(folder, { recursive: true, force: true });
});

interface TokenAnswer {
  readonly token: string;
  readonly access_token: string;
  readonly expires_in: number;
  readonly issued_at: string;
  readonly scope: string;
  readonly refresh_token?: string;
}

const getToken = (query: string, authorization?: string): Promise<Response> =>
  fetch(`${base}/token?${query}`, authorization === undefined ? {} : { headers: { authorization } });
const postToken = (form: Record<string, string>): Promise<Response> =>
  fetch(`${base}/token`, { method: 'POST', body: new URLSearchParams(form) });
const read = (repository: string, authorization?: string, action = 'pull'): Promise<Response> =>
  fetch(`${base}/v2/${repository}`, {
    headers: { 'x-action': action, ...(authorization === undefined ? {} : { authorization }) },
  });

/** What docker does: ask, read the challenge, fetch a token for exactly that, ask again. */
async function dockerFlow(repository: string, action: string, credential?: string): Promise<number> {
  const first = await read(repository, undefined, action);
  if (first.status !== 401) return first.status;
  const challenge = first.headers.get('www-authenticate') ?? '';
  const parts = Object.fromEntries(
    [...challenge.matchAll(/(\w+)="([^"]*)"/g)].map((match) => [match[1], match[2]]),
  );
  const query = new URLSearchParams({ service: parts['service'] ?? '', scope: parts['scope'] ?? '' });
  const answer = await fetch(`${parts['realm']}?${query.toString()}`, {
    headers: credential === undefined ? {} : { authorization: credential },
  });
  if (answer.status !== 200) return answer.status;
  const { token } = (await answer.json()) as TokenAnswer;
  return (await read(repository, `Bearer ${token}`, action)).status;
}

describe('the token service', () => {
  it('docker’s flow: challenge, token, request', async () => {
    expect(await dockerFlow('team-a/app', 'pull', basic('alice', 'secret'))).toBe(200);
    expect(await dockerFlow('team-a/app', 'push', basic('alice', 'secret'))).toBe(200);
    expect(await dockerFlow('team-a/app', 'pull', basic('bob', 'secret'))).toBe(401);
    expect(await dockerFlow('team-a/app', 'pull', basic('alice', 'wrong'))).toBe(401);
    expect(await dockerFlow('public/app', 'pull')).toBe(200);
    expect(await dockerFlow('public/app', 'push')).toBe(401);
  });

  it('anonymous never sees what is private, by no way of asking (CVE-2026-27771)', async () => {
    expect(await dockerFlow('team-a/app', 'pull')).toBe(401);
    const answer = (await (
      await getToken(`service=${service}&scope=repository:team-a/app:*&account=alice`)
    ).json()) as TokenAnswer;

    expect(answer.scope).toBe('');
    expect((await read('team-a/app', `Bearer ${answer.token}`)).status).toBe(401);
  });

  it('answers as docker’s specification says, and nothing of it may be kept by a proxy', async () => {
    const response = await getToken(
      `service=${service}&scope=repository:team-a/app:pull,push&client_id=docker&account=alice&offline_token=true`,
      basic('alice', 'secret'),
    );
    const answer = (await response.json()) as TokenAnswer;

    expect(response.status).toBe(200);
    expect(response.headers.get('cache-control')).toBe('no-store');
    expect(answer.access_token).toBe(answer.token);
    expect(answer.expires_in).toBe(900);
    expect(Math.abs(Date.now() - Date.parse(answer.issued_at))).toBeLessThan(5000);
    expect(answer.scope).toBe('repository:team-a/app:pull,push');
    expect(answer.refresh_token).toBeTypeOf('string');
  });

  it('several scope parameters and one with blanks give the same', async () => {
    for (const query of [
      'scope=repository:team-a/app:pull,push&scope=repository:team-a/base:pull',
      'scope=repository:team-a/app:pull,push%20repository:team-a/base:pull',
    ]) {
      const answer = (await (await getToken(query, basic('alice', 'secret'))).json()) as TokenAnswer;
      expect(answer.scope).toBe('repository:team-a/app:pull,push repository:team-a/base:pull');
    }
  });

  it('POST with a password, then with the refresh token that docker login keeps', async () => {
    const first = await postToken({
      grant_type: 'password',
      username: 'alice',
      password: 'secret',
      service,
      client_id: 'docker',
      access_type: 'offline',
      scope: 'repository:team-a/app:pull',
    });
    const { refresh_token: refresh = '', access_token: access } = (await first.json()) as TokenAnswer;
    const second = await postToken({
      grant_type: 'refresh_token',
      refresh_token: refresh,
      service,
      client_id: 'docker',
      scope: 'repository:team-a/app:push',
    });
    const renewed = (await second.json()) as TokenAnswer;

    expect(first.status).toBe(200);
    expect((await read('team-a/app', `Bearer ${access}`)).status).toBe(200);
    expect((await read('team-a/app', `Bearer ${renewed.access_token}`, 'push')).status).toBe(200);
    expect((await read('team-a/app', `Bearer ${refresh}`)).status).toBe(401);
    expect((await postToken({ grant_type: 'refresh_token', refresh_token: access, service })).status).toBe(
      401,
    );
  });

  it.each([
    [{ grant_type: 'password', username: 'alice', password: 'wrong' }, 401],
    [{ grant_type: 'password' }, 401],
    [{ grant_type: 'refresh_token' }, 401],
    [{ grant_type: 'client_credentials' }, 400],
    [{}, 400],
    [{ grant_type: 'password', username: 'alice', password: 'secret', service: 'other.test' }, 400],
  ] as [Record<string, string>, number][])('POST %o is %i', async (form, status) => {
    const response = await postToken(form);

    expect(response.status).toBe(status);
    expect(await response.json()).toHaveProperty('errors[0].code');
  });

  it('GET for another service, with a token instead of a password, or with wrong credentials is refused', async () => {
    const { token } = (await (await getToken('', basic('alice', 'secret'))).json()) as TokenAnswer;

    expect((await getToken('service=other.test', basic('alice', 'secret'))).status).toBe(400);
    expect((await getToken('', `Bearer ${token}`)).status).toBe(401);
    const wrong = await getToken('', basic('alice', 'wrong'));
    expect(wrong.status).toBe(401);
    expect(wrong.headers.get('www-authenticate')).toMatch(/^Basic /);
  });

  it('guessing ends in 429 with Retry-After', async () => {
    const statuses: number[] = [];
    for (let attempt = 0; attempt < 11; attempt += 1) {
      statuses.push((await getToken('', basic('bob', `guess${attempt}`))).status);
    }
    const refused = await getToken('', basic('bob', 'secret'));

    expect(statuses.slice(0, 10)).toEqual(Array(10).fill(401));
    expect(refused.status).toBe(429);
    expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0);
    expect((await getToken('', basic('alice', 'secret'))).status).toBe(200);
  });

  it('whoever is removed from the file is out with the next request, by password and by token', async () => {
    const { token } = (await (
      await getToken('scope=repository:team-a/app:pull', basic('alice', 'secret'))
    ).json()) as TokenAnswer;
    expect((await read('team-a/app', `Bearer ${token}`)).status).toBe(200);

    await updatePasswordFile(htpasswd, (text) => removeHtpasswdUser(text, 'alice'));

    expect((await read('team-a/app', `Bearer ${token}`)).status).toBe(401);
    expect((await read('team-a/app', basic('alice', 'secret'))).status).toBe(401);
    expect((await getToken('', basic('bob', 'secret'))).status).toBe(200);
  });

  it('a file that is damaged or gone lets nobody in, and says so once', async () => {
    await writeFile(htpasswd, 'alice:plain\n');
    expect((await getToken('', basic('alice', 'plain'))).status).toBe(401);
    await rm(htpasswd);
    expect((await getToken('', basic('alice', 'secret'))).status).toBe(401);
    expect((await getToken('', basic('bob', 'secret'))).status).toBe(401);

    expect(warnings).toHaveLength(2);
    expect(JSON.stringify(warnings)).not.toContain('$2b$');
  });

  it('the published keys verify tokens and hold nothing private', async () => {
    const { token } = (await (await getToken('', basic('alice', 'secret'))).json()) as TokenAnswer;
    const response = await fetch(`${base}/.well-known/jwks.json`);
    const text = await response.text();

    expect(response.headers.get('content-type')).toMatch(/application\/jwk-set\+json/);
    expect(text).not.toContain('"d"');
    const verified = await jwtVerify(token, createLocalJWKSet(JSON.parse(text) as never), {
      audience: service,
    });
    expect(verified.payload.sub).toBe('alice');
  });

  it('a second process on the same store accepts what the first one issued', async () => {
    const { token } = (await (
      await getToken('scope=repository:team-a/app:pull', basic('alice', 'secret'))
    ).json()) as TokenAnswer;
    const other = await createAccounts({ htpasswd, rules, store: store.current, service });

    const { principal } = await other.authenticator.identify(`Bearer ${token}`);

    expect(principal.name).toBe('alice');
    await other.close();
  });

  it('a form that is too large or no form is refused, and the service goes on', async () => {
    const large = await fetch(`${base}/token`, {
      method: 'POST',
      headers: { 'content-type': 'application/x-www-form-urlencoded' },
      body: 'a'.repeat(200_000),
    });
    const odd = await fetch(`${base}/token`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: '{"grant_type":"password","username":"alice","password":"secret"}',
    });

    expect(large.status).toBe(413);
    expect(odd.status).toBe(400);
    expect((await getToken('', basic('alice', 'secret'))).status).toBe(200);
  });
});

describe('the file of accounts', () => {
  it('is readable by its owner alone, and keeps every account when many write at once', async () => {
    const file = join(folder, 'new', 'users');

    await Promise.all(
      Array.from({ length: 20 }, (_, index) =>
        updatePasswordFile(file, (text) => setHtpasswdUser(text, `user${index}`, 'hash')),
      ),
    );

    expect((await readFile(file, 'utf8')).trim().split('\n')).toHaveLength(20);
    expect((await stat(file)).mode & 0o777).toBe(0o600);
  });
});
