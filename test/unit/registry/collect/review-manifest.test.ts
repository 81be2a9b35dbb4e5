import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { ObjectStore } from '../../../../core/object-store/object-store.ts';
import { mediaTypes } from '../../../../oci/media-types.ts';
import { reviewManifest } from '../../../../registry/collect/review-manifest.ts';
import { createPromotionRecords } from '../../../../registry/promote/promotion-records.ts';
import { manifestKey, tagKey, tagsOfPrefix } from '../../../../registry/store/paths.ts';
import { createStoredRegistry } from '../../../../registry/stored-registry.ts';
import { manifestBytes, type PushedManifest, pushContent } from '../../../helpers/content.ts';
import { expectCode } from '../../../suites/registry.ts';
import { allKeys, createContext } from '../store/context.ts';
import { type CollectFixture, createFixture, day } from './fixture.ts';

const repository = 'team/app';
const atOnce = { graceMs: 0, olderThanMs: 0 };
const patient = { graceMs: day, olderThanMs: 7 * day };

describe('reviewing an untagged manifest', () => {
  let fixture: CollectFixture;
  let image: PushedManifest;
  beforeEach(async () => {
    fixture = createFixture();
    const known = await pushContent(fixture.registry, { [repository]: { manifests: { image: {} } } });
    image = known[repository]?.manifests['image'] as PushedManifest;
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  const review = (options: Parameters<typeof reviewManifest>[3]) =>
    reviewManifest(fixture.context, repository, image.digest, options);
  const state = () => fixture.manifestState(repository, image.digest);
  const tag = (name = 'v1') =>
    fixture.registry.putManifest(repository, name, image.bytes, mediaTypes.ociManifest);
  const pushIndex = () => {
    const bytes = manifestBytes({ manifests: ['image'] }, { blobs: {}, manifests: { image } });
    return fixture.registry.putManifest(repository, 'multi', bytes, mediaTypes.ociIndex);
  };

  it('it is left alone for the grace period, condemned, and removed with its references after the policy’s time', async () => {
    expect(await review(patient)).toEqual({ outcome: 'young', waitMs: day });
    fixture.advance(day);
    expect(await review(patient)).toEqual({ outcome: 'condemned', fresh: true, waitMs: 7 * day });
    expect((await fixture.registry.getManifest(repository, image.digest)).bytes).toEqual(image.bytes);
    fixture.advance(7 * day - 1);
    expect(await review(patient)).toEqual({ outcome: 'condemned', fresh: false, waitMs: 1 });
    fixture.advance(1);

    expect(await review(patient)).toEqual({ outcome: 'deleted' });

    await expectCode('MANIFEST_UNKNOWN', () => fixture.registry.resolveManifest(repository, image.digest));
    expect(await allKeys(fixture.store, 'refs/')).toEqual([]);
    expect(await allKeys(fixture.store, 'gcq/new/')).toHaveLength(1);
    expect(await review(patient)).toEqual({ outcome: 'absent' });
  });

  it('one with a tag or in an index is needed', async () => {
    await tag();
    expect(await review(atOnce)).toEqual({ outcome: 'needed', revived: false });
    await fixture.registry.deleteTag(repository, 'v1');
    await pushIndex();
    expect(await review(atOnce)).toEqual({ outcome: 'needed', revived: false });
    expect(await state()).toBe('committed');
  });

  it('one that was promoted is needed, also when its tag is gone', async () => {
    const promotion = { repository, tag: 'prod', digest: image.digest, source: 'team/app:rc', by: 'ann' };
    const at = '2030-01-01T00:00:00.000Z';
    await (await createPromotionRecords(fixture.store).open({ ...promotion, at })).done();

    expect(await review(atOnce)).toEqual({ outcome: 'needed', revived: false });
  });

  it('a signature is needed while what it signs is there', async () => {
    const { [repository]: known } = await pushContent(fixture.registry, {
      [repository]: {
        manifests: { subject: { annotations: { a: 'b' } }, signature: { subject: 'subject' } },
      },
    });
    const { subject, signature } = known.manifests;
    const look = () => reviewManifest(fixture.context, repository, signature.digest, atOnce);
    expect(await look()).toEqual({ outcome: 'needed', revived: false });
    await fixture.registry.deleteManifest(repository, subject.digest);
    expect(await look()).toEqual({ outcome: 'deleted' });
    expect(await allKeys(fixture.store, `repos/${repository}/_referrers/`)).toEqual([]);
  });

  it.each([
    ['a tag', () => tag()],
    ['an index', () => pushIndex()],
  ])('%s that comes before it is condemned turns it back', async (_, act) => {
    fixture.before('put', manifestKey(repository, image.digest), act);
    expect(await review(atOnce)).toMatchObject({
      outcome: expect.stringMatching(/needed|changed/) as string,
    });
    expect(await state()).toBe('committed');
  });

  it.each([
    ['a tag', () => tag()],
    ['an index', () => pushIndex()],
  ])('%s that comes after the last listing wins', async (_, act) => {
    fixture.before('put', manifestKey(repository, image.digest), act, 2);
    expect(await review(atOnce)).toEqual({ outcome: 'changed' });
    expect(await state()).toBe('committed');
  });

  it('a tag that is on its way when it is removed is not acknowledged without it', async () => {
    const slow = createStoredRegistry({ store: fixture.store, wait: async () => {} });
    // Its push has found the record committed.
    fixture.before('put', tagKey(repository, 'v1'), async () => {
      const context = createContext(fixture.store);
      // As if the listing had begun before the reverse entry was written.
      await fixture.store.deleteMany(await allKeys(fixture.store, tagsOfPrefix(repository, image.digest)));
      expect(await reviewManifest(context, repository, image.digest, atOnce)).toEqual({ outcome: 'deleted' });
    });
    await slow.putManifest(repository, 'v1', image.bytes, mediaTypes.ociManifest);
    expect((await fixture.registry.getManifest(repository, 'v1')).bytes).toEqual(image.bytes);
  });

  it('a tag that is pushed again is seen although a listing met neither of its two reverse entries', async () => {
    const tags = tagsOfPrefix(repository, image.digest);
    await tag();
    const listing = { objects: [], prefixes: [] };
    const blind: ObjectStore = {
      ...fixture.store,
      list: async (how) => (how.prefix === tags ? listing : fixture.store.list(how)),
    };
    const slow = createStoredRegistry({ store: fixture.store, wait: async () => {} });
    fixture.before('put', tagKey(repository, 'v1'), () =>
      reviewManifest(createContext(blind), repository, image.digest, { graceMs: 0, olderThanMs: day }),
    );
    let whileBoth: string | undefined;
    fixture.before('delete', tags, async () => {
      whileBoth = await state();
    });

    await slow.putManifest(repository, 'v1', image.bytes, mediaTypes.ociManifest);

    expect(whileBoth).toBe('committed');
  });

  it('a HEAD renews its life, as clients that get one do not push', async () => {
    fixture.advance(day);
    await review(patient);
    fixture.advance(7 * day - 1);
    await fixture.registry.resolveManifest(repository, image.digest);
    expect(await state()).toBe('committed');
    fixture.advance(1);
    expect(await review(patient)).toEqual({ outcome: 'young', waitMs: day - 1 });
  });

  it('one that a dead collector condemned is taken up, or turned back', async () => {
    fixture.advance(day);
    await review({ graceMs: 0, olderThanMs: day });
    await tag();
    expect(await state()).toBe('committed');
    await fixture.registry.deleteTag(repository, 'v1');
    await review({ graceMs: 0, olderThanMs: day });
    expect(await review(atOnce)).toEqual({ outcome: 'deleted' });
  });

  it('a dry run writes nothing', async () => {
    fixture.calls();
    expect(await review({ ...atOnce, dryRun: true, storeTime: new Date() })).toEqual({ outcome: 'deleted' });
    expect(fixture.calls().filter((call) => !/^(get|list) /.test(call))).toEqual([]);
  });
});
