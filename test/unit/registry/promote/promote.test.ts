import { beforeEach, describe, expect, it } from 'vitest';
import { createMemoryStore } from '../../../../core/object-store/memory.ts';
import type { ObjectStore } from '../../../../core/object-store/object-store.ts';
import type { Digest } from '../../../../oci/digest.ts';
import { OciError } from '../../../../oci/errors.ts';
import { mediaTypes } from '../../../../oci/media-types.ts';
import type { Registry } from '../../../../oci/registry.ts';
import { type BuildEvidence, createPromoter, type Promoter } from '../../../../registry/promote/promote.ts';
import { createPromotionPolicy, type PromotionRule } from '../../../../registry/promote/promotion-policy.ts';
import { createStoredRegistry } from '../../../../registry/stored-registry.ts';
import { type PushedManifest, pushContent } from '../../../helpers/content.ts';
import { absent } from '../../../suites/registry/fixtures.ts';

const repository = 'team/app';
const prod = { repository, tag: 'prod' };
const built: BuildEvidence = { build: 'b1', ref: 'refs/heads/main', commit: 'c1', tested: false };
const tested: BuildEvidence = { ...built, tested: true };

let store: ObjectStore;
let registry: Registry;
let evidence: Map<string, readonly BuildEvidence[]>;
let one: PushedManifest;
let two: PushedManifest;

beforeEach(async () => {
  store = createMemoryStore();
  registry = createStoredRegistry({ store });
  evidence = new Map();
  const known = await pushContent(registry, {
    [repository]: {
      blobs: { a: 'a' },
      manifests: {
        one: { layers: ['a'] },
        two: { layers: ['a'], annotations: { n: '2' } },
        signature: { subject: 'one', artifactType: 'application/x.signature' },
      },
      tags: { rc: 'one', main: 'two' },
    },
  });
  one = known[repository]?.manifests['one'] as PushedManifest;
  two = known[repository]?.manifests['two'] as PushedManifest;
});

function promoter(rules: readonly PromotionRule[] = [], over: Registry = registry): Promoter {
  let now = Date.UTC(2030, 0, 1);
  return createPromoter({
    store,
    registry: over,
    policy: createPromotionPolicy(rules),
    evidenceOf: async (name, digest) => evidence.get(`${name}@${digest}`) ?? [],
    carryEvidence: async (from, to, digest) =>
      void evidence.set(`${to}@${digest}`, evidence.get(`${from}@${digest}`) ?? []),
    now: () => (now += 1),
  });
}

const knows = (digest: Digest, ...builds: BuildEvidence[]): unknown =>
  evidence.set(`${repository}@${digest}`, builds);
const at = async (tag: string, name = repository): Promise<Digest> =>
  (await registry.resolveManifest(name, tag)).digest;
const ask = (reference: string, target = prod, by = 'ann') => ({
  source: { repository, reference },
  target,
  by,
});

describe('promoting', () => {
  it('moves a tag to the very bytes that another tag names, and tells what it named before', async () => {
    const { promote } = promoter();

    expect(await promote(ask('rc'), registry)).toMatchObject({ digest: one.digest, changed: true });
    const moved = await promote(ask('main'), registry);

    expect(moved).toMatchObject({ digest: two.digest, previous: one.digest, changed: true });
    expect((await registry.getManifest(repository, 'prod')).bytes).toEqual(two.bytes);
    expect(await promote(ask(two.digest), registry)).toMatchObject({ changed: false });
  });

  it('keeps who promoted what from where, newest first, by tag and by image', async () => {
    const { promote, history } = promoter();
    await promote(ask('rc'), registry);
    await promote(ask('main', prod, 'bob'), registry);

    const all = await history(repository, { tag: 'prod' });

    expect(all.map(({ by, source, digest, previous }) => [by, source, digest, previous])).toEqual([
      ['bob', 'team/app:main', two.digest, one.digest],
      ['ann', 'team/app:rc', one.digest, undefined],
    ]);
    expect(await history(repository, { digest: one.digest })).toHaveLength(1);
  });

  it('is refused when the tag is not where it was said to be, and says where it is', async () => {
    const { promote } = promoter();
    await promote({ ...ask('rc'), replaces: null }, registry);

    const refused = { reason: 'moved', message: expect.stringContaining(one.digest) as string };
    await expect(promote({ ...ask('main'), replaces: null }, registry)).rejects.toMatchObject(refused);
    await expect(promote({ ...ask('main'), replaces: absent }, registry)).rejects.toMatchObject(refused);
    expect(await promote({ ...ask('main'), replaces: one.digest }, registry)).toMatchObject({
      changed: true,
    });
  });

  it('loses against another promotion that came first, and leaves no trace', async () => {
    const racing: Registry = {
      ...registry,
      async putManifest(...args) {
        await registry.putManifest(repository, 'prod', two.bytes, mediaTypes.ociManifest);
        return registry.putManifest(...args);
      },
    };
    const { promote, history } = promoter([], racing);

    await expect(promote(ask('rc'), registry)).rejects.toMatchObject({ reason: 'moved' });

    expect(await at('prod')).toBe(two.digest);
    expect(await history(repository, { tag: 'prod' })).toEqual([]);
    expect((await store.list({ prefix: 'promotions/' })).objects).toEqual([]);
  });

  it('passes on why the tag may not be written at all, as in a mirrored repository', async () => {
    const mirror: Registry = {
      ...registry,
      putManifest: async () => {
        throw new OciError('DENIED', { message: 'team/ mirrors elsewhere' });
      },
    };

    await expect(promoter([], mirror).promote(ask('rc'), registry)).rejects.toThrow(
      'team/ mirrors elsewhere',
    );

    expect((await store.list({ prefix: 'promotions/' })).objects).toEqual([]);
  });

  it('into another repository brings the image with what signs it, and what is known of it', async () => {
    knows(one.digest, tested);
    const { promote, evidenceOf } = promoter();

    await promote(ask('rc', { repository: 'release/app', tag: 'prod' }), registry);

    expect((await registry.getManifest('release/app', 'prod')).bytes).toEqual(one.bytes);
    const { entries } = await registry.listReferrers('release/app', one.digest, { limit: 10 });
    expect(entries).toHaveLength(1);
    expect(await evidenceOf('release/app', one.digest)).toEqual([tested]);
  });

  it('only looks when it is to look only', async () => {
    const { promote } = promoter();

    expect(await promote({ ...ask('rc'), dryRun: true }, registry)).toMatchObject({ changed: true });

    await expect(at('prod')).rejects.toMatchObject({ code: 'MANIFEST_UNKNOWN' });
    expect((await store.list({ prefix: 'promotions/' })).objects).toEqual([]);
  });
});

describe('a rule', () => {
  const rule = (more: Partial<PromotionRule>): PromotionRule => ({
    repositories: 'team/**',
    tags: 'prod*',
    require: 'tests',
    ...more,
  });

  it('takes images whose tests passed here, and says what the others lack', async () => {
    const { promote } = promoter([rule({})]);
    await expect(promote(ask('rc'), registry)).rejects.toThrow(/did not build and test sha256:/);
    knows(one.digest, built);
    await expect(promote(ask('rc'), registry)).rejects.toThrow(/build b1 ran none: write test: in App\.yaml/);
    knows(one.digest, built, tested);

    await promote(ask('rc'), registry);

    expect(await at('prod')).toBe(one.digest);
  });

  it('takes what this farm built, when that is what it asks for', async () => {
    const { promote } = promoter([rule({ require: 'built' })]);
    await expect(promote(ask('rc'), registry)).rejects.toThrow(/no record of having built/);
    knows(one.digest, built);

    expect(await promote(ask('rc'), registry)).toMatchObject({ changed: true });
  });

  it('takes only what has been in pre-release', async () => {
    const { promote } = promoter([rule({ require: 'none', from: ['rc*'] })]);
    await expect(promote(ask('main'), registry)).rejects.toThrow(/takes what is tagged rc\* in team\/app/);

    await promote(ask('rc'), registry);

    expect(await at('prod')).toBe(one.digest);
  });

  it('lets only those promote whom it names', async () => {
    const { promote } = promoter([rule({ require: 'none', by: ['bob'] })]);

    await expect(promote(ask('rc'), registry)).rejects.toThrow(
      'ann may not promote to team/app:prod: bob may',
    );
    await promote(ask('rc', prod, 'bob'), registry);
  });

  it('always lets a tag go back to what it was promoted to before', async () => {
    await promoter().promote(ask('main'), registry);
    knows(one.digest, tested);
    const { promote } = promoter([rule({ from: 'rc' })]);
    await promote(ask('rc'), registry);

    await promote(ask(two.digest), registry);

    expect(await at('prod')).toBe(two.digest);
    await expect(promote(ask('main', { repository, tag: 'prod-eu' }), registry)).rejects.toMatchObject({
      reason: 'policy',
    });
  });
});
