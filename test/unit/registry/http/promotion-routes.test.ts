import { beforeEach, describe, expect, it } from 'vitest';
import type { Authenticator } from '../../../../core/auth/authenticator.ts';
import { anonymous } from '../../../../core/auth/authorizer.ts';
import { createHttpServer } from '../../../../core/http/http-server.ts';
import { createSilentLogger } from '../../../../core/log.ts';
import { createMetrics } from '../../../../core/metrics.ts';
import { createMemoryStore } from '../../../../core/object-store/memory.ts';
import type { Registry } from '../../../../oci/registry.ts';
import { createPromotionRoutes } from '../../../../registry/http/promotion-routes.ts';
import { createPromoter } from '../../../../registry/promote/promote.ts';
import { createPromotionPolicy } from '../../../../registry/promote/promotion-policy.ts';
import { createStoredRegistry } from '../../../../registry/stored-registry.ts';
import { type PushedManifest, pushContent } from '../../../helpers/content.ts';

const repository = 'team/app';
const source = { repository, reference: 'rc' };
const target = { repository, tag: 'live' };
let registry: Registry;
let image: PushedManifest;
let signedIn: boolean;
let rights: string[];
let call: (
  method: 'GET' | 'POST',
  url: string,
  payload?: object,
) => Promise<{ status: number; body: unknown }>;

beforeEach(async () => {
  signedIn = true;
  rights = [`${repository}:pull`, `${repository}:push`];
  const store = createMemoryStore();
  registry = createStoredRegistry({ store });
  const known = await pushContent(registry, {
    [repository]: { manifests: { image: {} }, tags: { rc: 'image' } },
    'other/app': { manifests: { image: {} }, tags: { rc: 'image' } },
  });
  image = known[repository]?.manifests['image'] as PushedManifest;
  const authenticator: Authenticator = {
    required: true,
    identify: async () => ({
      principal: signedIn ? { name: 'ann', anonymous: false } : anonymous,
      authorizer: { may: (_principal, action, name) => signedIn && rights.includes(`${name}:${action}`) },
    }),
  };
  const promoter = createPromoter({
    store,
    registry,
    policy: createPromotionPolicy([{ repositories: '**', tags: 'prod', require: 'tests' }]),
    evidenceOf: async () => [{ build: 'b1', ref: 'refs/heads/main', commit: 'c', tested: false }],
    carryEvidence: async () => {},
    now: () => Date.UTC(2030, 0, 1),
  });
  call = async (method, url, payload) => {
    const http = createHttpServer({ log: createSilentLogger(), metrics: createMetrics() });
    await http.app.register(createPromotionRoutes({ promoter, registry, authenticator, http }));
    const answer = await http.app.inject({ method, url, ...(payload === undefined ? {} : { payload }) });
    await http.app.close();
    return { status: answer.statusCode, body: answer.json() };
  };
});

const promote = (payload: object) => call('POST', '/api/v1/promotions', payload);

describe('/api/v1/promotions', () => {
  it('moves a tag and tells of it by tag and by digest', async () => {
    const { digest } = image;

    expect(await promote({ source, target })).toMatchObject({
      status: 200,
      body: { ...target, digest, changed: true },
    });

    expect((await registry.resolveManifest(repository, 'live')).digest).toBe(digest);
    const promotion = { ...target, digest, source: 'team/app:rc', by: 'ann', at: '2030-01-01T00:00:00.000Z' };
    const byTag = await call('GET', `/api/v1/promotions?repository=${repository}&tag=live`);
    expect(byTag.body).toEqual({ promotions: [promotion] });
    const byDigest = await call('GET', `/api/v1/promotions?repository=${repository}&digest=${digest}`);
    expect(byDigest.body).toMatchObject({
      promotions: [promotion],
      builds: [{ build: 'b1', tested: false }],
    });
  });

  it('refuses what a rule does not allow, what was moved and what is not there, each in its own words', async () => {
    const answers = [
      await promote({ source, target: { repository, tag: 'prod' } }),
      await promote({ source, target: { repository, tag: 'rc2' }, replaces: image.digest }),
      await promote({ source: { repository, reference: 'nothing' }, target }),
    ];

    expect(answers).toMatchObject([
      { status: 403, body: { error: { code: 'PROMOTION_REFUSED' } } },
      { status: 409, body: { error: { code: 'MOVED' } } },
      { status: 404, body: { error: { code: 'MANIFEST_UNKNOWN' } } },
    ]);
  });

  it('asks for the rights to read the one and to write the other, and tells strangers nothing', async () => {
    const foreign = { source: { repository: 'other/app', reference: 'rc' }, target };
    const answers = [
      await promote(foreign),
      await promote({ source, target: { repository: 'other/app', tag: 'x' } }),
    ];
    answers.push(await call('GET', '/api/v1/promotions?repository=other/app&tag=rc'));
    signedIn = false;
    answers.push(
      await promote({ source, target }),
      await call('GET', `/api/v1/promotions?repository=${repository}&tag=rc`),
    );

    expect(answers.map(({ status }) => status)).toEqual([403, 403, 403, 401, 401]);
    await expect(registry.resolveManifest(repository, 'live')).rejects.toMatchObject({
      code: 'MANIFEST_UNKNOWN',
    });
  });

  it.each([
    { source: { repository: 'Team', reference: 'rc' }, target },
    { source: { repository, reference: 'a b' }, target },
    { source, target: { repository, tag: 'sha256:0' } },
    { source, target, replaces: 'latest' },
    { source },
  ])('answers 400 to %o', async (payload) => {
    expect((await promote(payload)).status).toBe(400);
  });
});
