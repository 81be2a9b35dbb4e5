import type { FastifyInstance, InjectOptions, LightMyRequestResponse } from 'fastify';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createClientOrigin } from '../../../../core/http/client-origin.ts';
import { createHttpServer } from '../../../../core/http/http-server.ts';
import { createSilentLogger } from '../../../../core/log.ts';
import { createMetrics } from '../../../../core/metrics.ts';
import { createMemoryStore } from '../../../../core/object-store/memory.ts';
import { digestOf } from '../../../../oci/digest.ts';
import type { Registry } from '../../../../oci/registry.ts';
import { authorized } from '../../../../registry/decorators/authorized.ts';
import { createHandOver, frontHeader, type HandOverOptions } from '../../../../registry/http/hand-over.ts';
import {
  createRedirectPolicy,
  type RedirectPolicyOptions,
} from '../../../../registry/http/redirect-policy.ts';
import { registryRoutes } from '../../../../registry/http/registry-routes.ts';
import { createStoredRegistry } from '../../../../registry/stored-registry.ts';

const content = Buffer.alloc(20_000, 'layer');
const digest = digestOf(content);
const small = Buffer.from('small');
const proxy = '192.0.2.1';
const inside = '10.0.0.7';
/** An injected request has no connection that could fall silent. */
const idle = { watchBody: () => {}, watchResponse: () => {} };
const path = `/v2/team/app/blobs/${digest}`;

describe('a blob that somebody else may send', () => {
  let registry: Registry;
  let app: FastifyInstance | undefined;
  let handedOver: string[];
  let addresses: number;

  beforeEach(async () => {
    handedOver = [];
    addresses = 0;
    const store = {
      ...createMemoryStore(),
      presign: async (
        key: string,
        { method, expiresInSeconds }: { method: string; expiresInSeconds: number },
      ) => {
        addresses++;
        return `https://store.test/${key}?${method}&${expiresInSeconds}`;
      },
    };
    registry = createStoredRegistry({ store });
    await registry.putBlob('team/app', digest, content);
    await registry.putBlob('team/app', digestOf(small), small);
  });
  afterEach(async () => {
    await app?.close();
    app = undefined;
  });

  /** Who may pull what: everybody `team/app`. */
  async function ask(
    options: Partial<HandOverOptions>,
    request: InjectOptions = {},
    rights = ['team/app'],
  ): Promise<LightMyRequestResponse> {
    const log = createSilentLogger();
    const origin = createClientOrigin({ trustedProxies: [proxy] });
    const http = createHttpServer({ log, metrics: createMetrics(), trustedProxies: [proxy] });
    app = http.app;
    const principal = { name: 'alice', anonymous: false };
    const identity = {
      principal,
      authorizer: {
        may: (_: unknown, action: string, name: string) => action === 'pull' && rights.includes(name),
      },
    };
    await http.app.register(registryRoutes, {
      registryFor: (asking) => authorized(registry, asking),
      authenticator: { required: true, identify: async () => identity },
      http: { ...http, idle },
      log,
      handOver: createHandOver({ origin, onHandOver: (to) => handedOver.push(to), ...options }),
    });
    return http.app.inject({ url: path, remoteAddress: inside, ...request });
  }

  const redirect = (policy: RedirectPolicyOptions = {}): Partial<HandOverOptions> => ({
    redirect: { policy: createRedirectPolicy(policy), ttl: 600 },
  });
  const front: Partial<HandOverOptions> = {
    front: { announces: 'files', internalUri: async ({ dataKey }) => `/_bytes/${dataKey}` },
  };
  const announced = { remoteAddress: proxy, headers: { [frontHeader]: 'files' } };

  it.each(['GET', 'HEAD'] as const)('is redirected on %s, whatever range is asked for', async (method) => {
    const answer = await ask(redirect(), { method, headers: { range: 'bytes=5-9' } });

    expect(answer.statusCode).toBe(307);
    expect(answer.headers.location).toMatch(
      new RegExp(String.raw`^https://store\.test/data/[0-9a-f]{2}/[^/]+\?${method}&600$`),
    );
    expect(answer.headers).toMatchObject({
      'docker-content-digest': digest,
      'cache-control': 'no-store',
      'content-length': '0',
    });
    expect(handedOver).toEqual(['store']);
  });

  it('is never redirected for a request that is exempt, which the web server in front may still answer', async () => {
    const exempt = (_request: unknown, principal: { name: string }): boolean => principal.name === 'alice';
    const policy = createRedirectPolicy();

    expect((await ask({ redirect: { policy, ttl: 600, exempt } })).statusCode).toBe(200);
    const fronted = await ask({ redirect: { policy, ttl: 600, exempt }, ...front }, announced);
    expect(fronted.headers['x-accel-redirect']).toMatch(/^\/_bytes\//);
    expect(handedOver).toEqual(['front']);
  });

  it('is sent from here to clients that the policy leaves out', async () => {
    const answer = await ask(redirect({ exceptNetworks: ['10.0.0.0/8'] }));

    expect(answer.statusCode).toBe(200);
    expect(answer.rawPayload).toEqual(content);
  });

  it('is sent from here, in part where that is asked for, when it is too small', async () => {
    const answer = await ask(redirect({ minSize: content.length + 1 }), { headers: { range: 'bytes=5-9' } });

    expect(answer.statusCode).toBe(206);
    expect(answer.headers['content-range']).toBe(`bytes 5-9/${content.length}`);
    expect(answer.rawPayload).toEqual(content.subarray(5, 10));
    expect(addresses).toBe(0);
  });

  it('is sent from here when it lies in its pointer', async () => {
    const url = `/v2/team/app/blobs/${digestOf(small)}`;

    const answer = await ask({ ...redirect(), ...front }, { ...announced, url });

    expect(answer.statusCode).toBe(200);
    expect(answer.rawPayload).toEqual(small);
    expect(handedOver).toEqual([]);
  });

  it.each([
    ['nobody may read the repository', [], path, 403],
    ['the repository has no such blob', ['team/app', 'other/app'], path.replace('team', 'other'), 404],
    ['nobody has such a blob', ['team/app'], path.replace(digest, digestOf('nothing')), 404],
  ])('is given to nobody when %s, and no address is made', async (_, rights, url, status) => {
    for (const method of ['GET', 'HEAD'] as const) {
      const answer = await ask({ ...redirect(), ...front }, { ...announced, url, method }, rights);

      expect(answer.statusCode).toBe(status);
      expect(answer.headers).not.toHaveProperty('location');
      expect(answer.headers).not.toHaveProperty('x-accel-redirect');
    }
    expect(addresses).toBe(0);
    expect(handedOver).toEqual([]);
  });

  it('is left to the web server in front that says it can send it', async () => {
    const answer = await ask(front, announced);

    expect(answer.statusCode).toBe(200);
    expect(answer.headers['x-accel-redirect']).toMatch(/^\/_bytes\/data\//);
    expect(answer.headers).toMatchObject({
      'content-length': '0',
      'content-type': 'application/octet-stream',
      'docker-content-digest': digest,
      etag: `"${digest}"`,
    });
    expect(handedOver).toEqual(['front']);
  });

  it.each([
    ['a client that says so itself', { ...announced, remoteAddress: inside }],
    [
      'a client that also says to come through the proxy',
      { remoteAddress: inside, headers: { [frontHeader]: 'files', 'x-forwarded-for': proxy } },
    ],
    ['a proxy that says nothing', { remoteAddress: proxy }],
    ['a proxy that can send other bytes', { remoteAddress: proxy, headers: { [frontHeader]: 's3' } }],
  ])('is sent from here to %s', async (_, request) => {
    const answer = await ask(front, request);

    expect(answer.headers).not.toHaveProperty('x-accel-redirect');
    expect(answer.rawPayload).toEqual(content);
  });

  it('is answered here, with its size, when it has no such range', async () => {
    for (const range of [`bytes=${content.length}-`, 'bytes=9-5']) {
      const headers = { ...announced.headers, range };
      const answer = await ask(front, { ...announced, headers });

      expect(answer.statusCode).toBe(416);
      expect(answer.headers['content-range']).toBe(`bytes */${content.length}`);
      expect(answer.headers).not.toHaveProperty('x-accel-redirect');
    }
  });

  it('is answered here on HEAD through the web server in front', async () => {
    const answer = await ask(front, { ...announced, method: 'HEAD' });

    expect(answer.statusCode).toBe(200);
    expect(answer.headers).not.toHaveProperty('x-accel-redirect');
    expect(answer.headers['content-length']).toBe(String(content.length));
  });

  it('goes to the store before it goes to the front, by the address of the client behind it', async () => {
    const both = { ...redirect({ networks: ['10.0.0.0/8'] }), ...front };
    const behind = (client: string): InjectOptions => ({
      ...announced,
      headers: { ...announced.headers, 'x-forwarded-for': client },
    });

    expect((await ask(both, behind(inside))).statusCode).toBe(307);
    expect((await ask(both, behind('203.0.113.5'))).headers).toHaveProperty('x-accel-redirect');
  });

  it('is sent from here where neither the store nor the front can', async () => {
    const none: Partial<HandOverOptions> = {
      front: { announces: 'files', internalUri: async () => undefined },
    };

    expect((await ask(none, announced)).rawPayload).toEqual(content);
  });
});
