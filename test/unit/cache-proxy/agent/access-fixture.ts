import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { InjectOptions } from 'fastify';
import type { AccessRequest, Verdict } from '../../../../cache-proxy/agent/gate.ts';
import {
  type OriginAnswer,
  type OriginClient,
  OriginUnavailable,
} from '../../../../cache-proxy/agent/origin-client.ts';
import { createPoolAccess, type PoolAccess } from '../../../../cache-proxy/agent/pool-access.ts';
import { createIsPool } from '../../../../cache-proxy/controller/pool-caller.ts';
import { createVoidTokenRoutes } from '../../../../cache-proxy/controller/void-tokens.ts';
import type { Pool } from '../../../../cache-proxy/pools/pool.ts';
import { type AccessRule, createAuthorizer } from '../../../../core/auth/access-rules.ts';
import { InvalidCredentials } from '../../../../core/auth/authenticator.ts';
import type { Authorizer } from '../../../../core/auth/authorizer.ts';
import { createAuthenticator } from '../../../../core/auth/create-authenticator.ts';
import { createSigningKeys } from '../../../../core/auth/signing-keys.ts';
import { createTokenRoutes } from '../../../../core/auth/token-routes.ts';
import { createTokens } from '../../../../core/auth/tokens.ts';
import { createHttpServer } from '../../../../core/http/http-server.ts';
import { createSilentLogger } from '../../../../core/log.ts';
import { createMetrics } from '../../../../core/metrics.ts';
import { createMemoryStore } from '../../../../core/object-store/memory.ts';
import { authorized } from '../../../../registry/decorators/authorized.ts';
import { registryRoutes } from '../../../../registry/http/registry-routes.ts';
import { createStoredRegistry } from '../../../../registry/stored-registry.ts';
import { pushContent } from '../../../helpers/content.ts';
import { makePool } from '../../../helpers/pool.ts';

const layer = Buffer.alloc(2_000, 'layer of the team');
const foreign = Buffer.alloc(2_000, 'layer of somebody else');
/** An injected request has no connection that could fall silent. */
const idle = { watchBody: () => {}, watchResponse: () => {} };

export interface AccessFixtureOptions {
  readonly pool?: Partial<Omit<Pool, 'origin'>>;
  /** An origin that tells nobody which tokens are void. */
  readonly withoutVoidTokens?: boolean;
  /** One that publishes no keys, as most registries do: its tokens say nothing to the pool. */
  readonly withoutKeys?: boolean;
}

/** A real registry with accounts and the pool's whole gate before it, without a network between them, and with one clock. */
export async function createAccessFixture(options: AccessFixtureOptions = {}) {
  const clock = { now: Date.UTC(2030, 0, 1) };
  const now = (): number => clock.now;
  const store = createMemoryStore();
  const registry = createStoredRegistry({ store });
  const content = await pushContent(registry, {
    'team/app': { blobs: { layer }, manifests: { image: {} }, tags: { v1: 'image' } },
    'other/app': { blobs: { foreign }, manifests: { image: {} }, tags: { v1: 'image' } },
    'public/app': { blobs: { layer }, manifests: { image: {} }, tags: { v1: 'image' } },
  });
  const users = new Map([
    ['alice', 'wonderland'],
    ['bob', 'builder'],
    ['pool-1', 'fetches'],
  ]);
  let authorizer = createAuthorizer([]);
  const rules = (written: readonly AccessRule[]): void => {
    authorizer = createAuthorizer(written);
  };
  rules([
    { repositories: 'team/**', users: ['alice'], actions: ['pull', 'push'] },
    { repositories: 'other/**', users: ['bob'], actions: ['pull', 'push'] },
    { repositories: 'public/**', users: ['anonymous'], actions: ['pull'] },
    { repositories: '**', users: ['pool-1'], actions: ['pull'] },
  ]);
  const live: Authorizer = {
    may: (principal, action, repository) => authorizer.may(principal, action, repository),
  };
  const source = { find: (name: string) => users.get(name), cost: () => 4 };
  const passwords = {
    async check(user: string, password: string) {
      if (users.get(user) !== password) throw new InvalidCredentials('wrong');
    },
  };
  const keys = createSigningKeys({ store, now });
  await keys.current();
  const tokens = createTokens({ keys, passwords: source, service: 'registry.test', ttl: 900, now });
  const authenticator = createAuthenticator({ passwords, tokens, authorizer: live });
  const log = createSilentLogger();
  const http = createHttpServer({ log, metrics: createMetrics(), publicUrl: 'http://registry.test' });
  await http.app.register(
    createTokenRoutes({ passwords, tokens, keys, authorizer: live, address: () => '192.0.2.1' }),
  );
  if (options.withoutVoidTokens !== true) {
    const isPool = createIsPool(['pool-1'], authenticator);
    await http.app.register(createVoidTokenRoutes({ tokens, authorizer: live, authenticator, http, isPool }));
  }
  await http.app.register(registryRoutes, {
    registryFor: (identity) => authorized(registry, identity),
    authenticator,
    http: { ...http, idle },
    log,
    service: 'registry.test',
  });

  /** `away`: nobody has an answer. `busy`: these clients alone have none. */
  const origin: {
    state: 'up' | 'away' | 'busy';
    /** As over a line that crawls: milliseconds that anybody waits who need not. */
    hurry: number | undefined;
    /** Questions wait for it before the origin has them. */
    line: Promise<void>;
    asked: string[];
  } = { state: 'up', hurry: undefined, line: Promise.resolve(), asked: [] };
  const state = {
    get away() {
      return origin.state === 'away';
    },
    get hurry() {
      return origin.hurry;
    },
    answered: () => {},
    asking: () => () => {},
    failed: () => {},
  };
  const connect = (): OriginClient => {
    const ask: OriginClient['ask'] = async ({ method, target, headers = {}, body }) => {
      if (origin.state !== 'up') {
        throw new OriginUnavailable('does not answer', { answersOthers: origin.state === 'busy' });
      }
      if (options.withoutKeys === true && String(target) === '/.well-known/jwks.json') {
        return { status: 404, headers: {}, body: Buffer.alloc(0) };
      }
      origin.asked.push(`${method} ${String(target).split('?')[0]}`);
      const request: InjectOptions = { method, url: String(target), headers };
      await origin.line;
      const answer = await http.app.inject(body === undefined ? request : { ...request, payload: body });
      return {
        status: answer.statusCode,
        headers: answer.headers as OriginAnswer['headers'],
        body: answer.rawPayload,
      };
    };
    const authorization = basic('pool-1', 'fetches');
    return {
      urls: [new URL('http://10.0.0.1:5000')],
      ask,
      askAsPool: (request) => ask({ ...request, headers: { ...request.headers, authorization } }),
      probe: async () => {},
      close: () => {},
    };
  };
  const folder = mkdtempSync(join(tmpdir(), 'brickyard-gate-'));
  const pool = makePool({
    folder,
    listen: '127.0.0.1:1',
    endpoint: 'https://pool.test',
    origin: ['http://10.0.0.1:5000'],
    ...options.pool,
  });
  const start = (): PoolAccess => createPoolAccess({ pool, log, state, connect, now, hashCost: 16 });
  let access = start();
  const agent = createHttpServer({ log, metrics: createMetrics() });
  agent.app.addHook('onRequest', (request, reply, _next) => {
    reply.hijack();
    const path = request.url.split('?')[0];
    if (path === '/token') access.handlers.token(request.raw, reply.raw);
    else access.handlers.ping(request.raw, reply.raw);
  });
  for (const path of ['/token', '/v2/']) agent.app.all(path, () => {});

  return {
    clock,
    /** Where the pool keeps what it remembers. */
    folder: join(folder, 'agent'),
    users,
    rules,
    origin,
    tokens,
    registry,
    layer: content['team/app'].blobs.layer.digest as string,
    foreign: content['other/app'].blobs.foreign.digest as string,
    manifest: content['team/app'].manifests.image.digest as string,
    get access() {
      return access;
    },
    /** As a pool that ends and starts again. */
    restart: () => {
      access.close();
      access = start();
    },
    decide: (request: Partial<AccessRequest>): Promise<Verdict> =>
      access.gate.decide({ repository: 'team/app', reference: { tag: 'v1' }, kind: 'manifest', ...request }),
    agent: (request: InjectOptions) => agent.app.inject(request),
    /** A token of the origin, fetched through the pool. */
    tokenOf: async (user: string, ...repositories: string[]): Promise<string> => {
      const scopes = repositories.map((name) => `&scope=repository:${name}:pull`).join('');
      const headers = user === '' ? {} : { authorization: basic(user, users.get(user) ?? '') };
      const answer = await agent.app.inject({ url: `/token?service=registry.test${scopes}`, headers });
      const { token } = answer.json<{ token?: string }>();
      if (token === undefined) throw new Error(`no token: ${answer.statusCode} ${answer.body}`);
      return `Bearer ${token}`;
    },
    async close() {
      access.close();
      await http.app.close();
      await agent.app.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

export type AccessFixture = Awaited<ReturnType<typeof createAccessFixture>>;

export function basic(user: string, password: string): string {
  return `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`;
}
