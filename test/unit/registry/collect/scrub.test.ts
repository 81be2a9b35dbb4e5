import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { digestOf } from '../../../../oci/digest.ts';
import { mediaTypes } from '../../../../oci/media-types.ts';
import {
  expireClaim,
  scrubBlobReferences,
  scrubManifestReferences,
  scrubReferrers,
} from '../../../../registry/collect/scrub.ts';
import { scrubTags } from '../../../../registry/collect/scrub-tags.ts';
import type { ManifestHeader } from '../../../../registry/store/manifest-record.ts';
import {
  blobReferenceKey,
  blobReferencesPrefix,
  manifestKey,
  manifestReferenceKey,
  referrerKey,
  tagKey,
  tagOfKey,
  tagsOfPrefix,
} from '../../../../registry/store/paths.ts';
import { buryRecord, readRecord, replaceRecord } from '../../../../registry/store/record.ts';
import { readTag, writeTag } from '../../../../registry/store/tags.ts';
import { createStoredRegistry } from '../../../../registry/stored-registry.ts';
import { emptyConfig, type PushedManifest, pushContent } from '../../../helpers/content.ts';
import { allKeys, createContext } from '../store/context.ts';
import { type CollectFixture, createFixture, hour } from './fixture.ts';

const repository = 'team/app';
const blob = digestOf(emptyConfig);
const stale = 'a'.repeat(32);

describe('scrubbing', () => {
  let fixture: CollectFixture;
  let image: PushedManifest;
  let key: string;
  beforeEach(async () => {
    fixture = createFixture();
    const known = await pushContent(fixture.registry, {
      [repository]: { manifests: { image: {} }, tags: { v1: 'image' } },
    });
    image = known[repository]?.manifests['image'] as PushedManifest;
    key = manifestKey(repository, image.digest);
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  const put = (at: string) => fixture.store.put(at, Buffer.alloc(0));
  const claim = async (attempt: string): Promise<void> => {
    const record = await readRecord<ManifestHeader>(fixture.context, key);
    const header = { state: 'pending', attempt, mediaType: mediaTypes.ociManifest, size: 1 } as const;
    await replaceRecord<ManifestHeader>(fixture.context, key, record, header);
  };
  const bury = async (): Promise<void> => {
    await buryRecord(fixture.context, key, await readRecord(fixture.context, key));
  };

  it('a reference of an attempt that its record does not have goes at any age, and the record’s own stays', async () => {
    const kept = await allKeys(fixture.store, blobReferencesPrefix(blob));
    await put(blobReferenceKey(blob, image.digest, stale, repository));
    await put(blobReferenceKey(blob, image.digest, stale, 'team/unknown'));

    expect(await scrubBlobReferences(fixture.context, blob)).toEqual({ kept: 1, dropped: 2, expired: 0 });

    expect(await allKeys(fixture.store, blobReferencesPrefix(blob))).toEqual(kept);
  });

  it('a claim’s references stay however old, unless claims of that age are to be ended', async () => {
    await bury();
    await claim(stale);
    await put(blobReferenceKey(blob, image.digest, stale, repository));
    fixture.advance(hour);
    expect(await scrubBlobReferences(fixture.context, blob)).toEqual({ kept: 1, dropped: 1, expired: 0 });
    const ending = { claimsOlderThanMs: hour + 1 };
    expect(await scrubBlobReferences(fixture.context, blob, ending)).toMatchObject({ kept: 1 });
    fixture.advance(1);
    expect(await scrubBlobReferences(fixture.context, blob, ending)).toEqual({
      kept: 0,
      dropped: 1,
      expired: 1,
    });
    expect(await fixture.manifestState(repository, image.digest)).toBeUndefined();
  });

  it('what was remembered of a record keeps references and never drops them', async () => {
    const known = new Map([[key, stale]]);
    await put(blobReferenceKey(blob, image.digest, stale, repository));
    // Its own attempt differs from the remembered one: only a fresh look may say that it is garbage.
    expect(await scrubBlobReferences(fixture.context, blob, { known })).toEqual({
      kept: 2,
      dropped: 0,
      expired: 0,
    });
    expect(known.get(key)).not.toBe(stale);
  });

  it('a claim made after the listing began is looked at, not what was there before', async () => {
    await bury();
    fixture.before('list', 'refs/', async () => {
      await claim(stale);
      await put(blobReferenceKey(blob, image.digest, stale, repository));
    });
    expect(await scrubBlobReferences(fixture.context, blob)).toMatchObject({ kept: 1 });
  });

  it('a committed record is no claim, and a pusher whose claim was ended starts over', async () => {
    expect(await expireClaim(fixture.context, repository, image.digest, { olderThanMs: 0 })).toBe(false);
    await fixture.registry.deleteManifest(repository, image.digest);
    const ends = async (): Promise<void> => {
      expect(
        await expireClaim(createContext(fixture.store), repository, image.digest, { olderThanMs: 0 }),
      ).toBe(true);
    };
    fixture.before('put', `refs/`, ends);
    const registry = createStoredRegistry({ store: fixture.store, wait: async () => {} });
    await registry.putManifest(repository, 'v2', image.bytes, mediaTypes.ociManifest);
    expect((await registry.getManifest(repository, 'v2')).bytes).toEqual(image.bytes);
    expect(await scrubBlobReferences(fixture.context, blob)).toEqual({ kept: 1, dropped: 0, expired: 0 });
  });

  it('references between manifests and lists of referrers are scrubbed alike', async () => {
    const { [repository]: known } = await pushContent(fixture.registry, {
      [repository]: {
        manifests: {
          child: { annotations: { a: 'b' } },
          index: { manifests: ['child'] },
          signature: { subject: 'child', annotations: { c: 'd' } },
        },
      },
    });
    const { child, index, signature } = known.manifests;
    await put(manifestReferenceKey(repository, child.digest, index.digest, stale));
    await put(referrerKey(repository, child.digest, signature.digest, stale));
    expect(await scrubManifestReferences(fixture.context, repository)).toMatchObject({ kept: 1, dropped: 1 });
    expect(await scrubReferrers(fixture.context, repository)).toMatchObject({ kept: 1, dropped: 1 });
  });

  it('finishes the tags of a manifest whose deleter died', async () => {
    await bury();
    expect((await readTag(fixture.context, repository, 'v1')).header).toBeDefined();
    expect(await scrubTags(fixture.context, repository)).toEqual({ ended: 1, dropped: 0 });
    expect((await readTag(fixture.context, repository, 'v1')).header).toBeUndefined();
    expect(await allKeys(fixture.store, tagsOfPrefix(repository, image.digest))).toEqual([]);
  });

  it('leaves tags alone whose manifest is there', async () => {
    const before = await readTag(fixture.context, repository, 'v1');
    expect(await scrubTags(fixture.context, repository)).toEqual({ ended: 0, dropped: 0 });
    expect((await readTag(fixture.context, repository, 'v1')).etag).toBe(before.etag);
  });

  it.each([
    ['that exists', 'v1'],
    ['that does not', 'v2'],
  ])('a dead reverse entry of a tag %s goes, and the tag stays what it was', async (_, tag) => {
    const before = (await readTag(fixture.context, repository, tag)).header?.digest;
    await put(tagOfKey(repository, image.digest, tag, stale));
    expect(await scrubTags(fixture.context, repository)).toEqual({ ended: 0, dropped: 1 });
    const { header } = await readTag(fixture.context, repository, tag);
    expect(header?.digest).toBe(before);
    const reverse = await allKeys(fixture.store, tagsOfPrefix(repository, image.digest));
    const { header: v1 } = await readTag(fixture.context, repository, 'v1');
    expect(reverse).toEqual([tagOfKey(repository, image.digest, 'v1', v1?.nonce ?? '')]);
  });

  it('a tag whose reverse entry was taken for dead while it was on its way has one in the end', async () => {
    const { descriptor } = image;
    // Between the reverse entry and the tag.
    fixture.before('put', tagKey(repository, 'v1'), async () => {
      expect(await scrubTags(createContext(fixture.store), repository)).toMatchObject({ dropped: 1 });
    });
    await writeTag(fixture.context, repository, 'v1', descriptor);
    const { header } = await readTag(fixture.context, repository, 'v1');
    expect(await allKeys(fixture.store, tagsOfPrefix(repository, image.digest))).toContain(
      tagOfKey(repository, image.digest, 'v1', header?.nonce ?? ''),
    );
  });
});
