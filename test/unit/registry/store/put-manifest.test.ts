import { beforeEach, describe, expect, it, vi } from 'vitest';
import { createMemoryStore } from '../../../../core/object-store/memory.ts';
import { type ObjectStore, ObjectStoreUnavailable } from '../../../../core/object-store/object-store.ts';
import { type Digest, digestOf } from '../../../../oci/digest.ts';
import { mediaTypes } from '../../../../oci/media-types.ts';
import type { Registry } from '../../../../oci/registry.ts';
import type { ManifestHeader } from '../../../../registry/store/manifest-record.ts';
import {
  blobReferenceKey,
  manifestKey,
  referrerKey,
  tagKey,
  tagOfKey,
} from '../../../../registry/store/paths.ts';
import { readRecord, replaceRecord } from '../../../../registry/store/record.ts';
import { createStoredRegistry } from '../../../../registry/stored-registry.ts';
import { manifestBytes, pushContent } from '../../../helpers/content.ts';
import { expectCode } from '../../../suites/registry.ts';
import { allKeys, createContext } from './context.ts';

const blob = Buffer.from('config');

describe('PUT manifest', () => {
  let store: ObjectStore;
  let registry: Registry;
  let now: number;
  let bytes: Buffer;
  let digest: ReturnType<typeof digestOf>;
  const put = (reference = 'v1') =>
    registry.putManifest('team/app', reference, bytes, mediaTypes.ociManifest);
  const recordOf = () => readRecord<ManifestHeader>(createContext(store), manifestKey('team/app', digest));

  beforeEach(async () => {
    store = createMemoryStore();
    now = Date.now();
    registry = createStoredRegistry({
      store,
      clock: () => now,
      wait: async (milliseconds) => {
        now += milliseconds;
      },
    });
    const known = await pushContent(registry, { 'team/app': { blobs: { config: blob } } });
    bytes = manifestBytes({ config: 'config' }, known['team/app']);
    digest = digestOf(bytes);
  });

  it('writes references of its own attempt, and a delete removes just those', async () => {
    await put();
    const { header } = await recordOf();
    const own = blobReferenceKey(digestOf(blob), digest, header?.attempt ?? '', 'team/app');
    const foreign = blobReferenceKey(digestOf(blob), digest, 'f'.repeat(32), 'team/app');
    expect(await allKeys(store, 'refs/')).toEqual([own]);
    await store.put(foreign, Buffer.alloc(0));

    await registry.deleteManifest('team/app', digest);

    expect(await allKeys(store, 'refs/')).toEqual([foreign]);
    await put();
    expect((await recordOf()).header?.attempt).not.toBe(header?.attempt);
  });

  it('writes a new version of the tag every time, with exactly one reverse entry', async () => {
    await put();
    const before = await store.head(tagKey('team/app', 'v1'));
    await put();
    await put();

    expect((await store.head(tagKey('team/app', 'v1')))?.etag).not.toBe(before?.etag);
    expect(await allKeys(store, 'repos/team/app/_tagsof/')).toHaveLength(1);
    await registry.deleteTag('team/app', 'v1');
    expect(await allKeys(store, 'repos/team/app/_tagsof/')).toEqual([]);
  });

  it('does not take a version of a tag that a stale reverse entry does not name', async () => {
    const known = await pushContent(registry, { 'team/app': { manifests: { other: {} } } });
    await put();
    const { other } = known['team/app'].manifests;
    await registry.putManifest('team/app', 'v1', other.bytes, mediaTypes.ociManifest);
    const stale = tagOfKey('team/app', digest, 'v1', '0'.repeat(32));
    await store.put(stale, Buffer.alloc(0));

    await registry.deleteManifest('team/app', digest);

    expect((await registry.resolveManifest('team/app', 'v1')).digest).toBe(other.digest);
    expect(await allKeys(store, 'repos/team/app/_tagsof/')).toContain(stale);
  });

  it('waits for a young claim of another push and takes over an abandoned one', async () => {
    const context = createContext(store);
    const claim = { state: 'pending', attempt: 'dead', mediaType: mediaTypes.ociManifest, size: 1 } as const;
    const claimed = now;
    await replaceRecord<ManifestHeader>(context, manifestKey('team/app', digest), { etag: undefined }, claim);
    await expectCode('NAME_UNKNOWN', () => registry.getManifest('team/app', digest));

    await put();

    expect(now - claimed).toBeGreaterThan(9_000);
    expect((await recordOf()).header).toMatchObject({ state: 'committed' });
    expect((await registry.getManifest('team/app', 'v1')).bytes.equals(bytes)).toBe(true);
  });

  it('makes up for what a push that died after its commit left out', async () => {
    const known = await pushContent(registry, { 'team/app': { manifests: { image: {} } } });
    const subject = known['team/app'].manifests.image.digest;
    bytes = manifestBytes({ subject: 'image' }, known['team/app']);
    digest = digestOf(bytes);
    await put(digest);
    const { header } = await recordOf();
    await store.delete(referrerKey('team/app', subject, digest, header?.attempt ?? ''));
    expect((await registry.listReferrers('team/app', subject, { limit: 9 })).entries).toEqual([]);

    await put(digest);

    expect((await registry.listReferrers('team/app', subject, { limit: 9 })).entries).toHaveLength(1);
    expect((await recordOf()).etag).toBeDefined();
  });

  it('does not list a referrer whose attempt is not its record’s', async () => {
    const known = await pushContent(registry, {
      'team/app': { manifests: { image: {}, sbom: { subject: 'image' } } },
    });
    const { image, sbom } = known['team/app'].manifests;
    await store.put(referrerKey('team/app', image.digest, sbom.digest, '0'.repeat(32)), Buffer.from('{}'));
    await store.put(
      referrerKey('team/app', image.digest, digestOf('gone'), '0'.repeat(32)),
      Buffer.from('{}'),
    );

    const { entries } = await registry.listReferrers('team/app', image.digest, { limit: 9 });

    expect(entries.map((entry) => entry.digest)).toEqual([sbom.digest]);
  });

  it('does it all again when a DELETE came between the tag and the answer', async () => {
    const plain = { ...store };
    let interfered = false;
    vi.spyOn(store, 'put').mockImplementation(async (key, body, options) => {
      const written = await plain.put(key, body, options);
      if (key === tagKey('team/app', 'v1') && !interfered) {
        interfered = true;
        await registry.deleteManifest('team/app', digest);
      }
      return written;
    });

    await put();

    expect(interfered).toBe(true);
    expect((await registry.getManifest('team/app', 'v1')).bytes.equals(bytes)).toBe(true);
    expect(await allKeys(store, 'refs/')).toHaveLength(1);
  });

  it('keeps its tag from a DELETE that began before it', async () => {
    await put();
    const plain = { ...store };
    let lists = 0;
    vi.spyOn(store, 'list').mockImplementation(async (options) => {
      // The first is before the record goes.
      if (options.prefix.includes('/_tagsof/') && ++lists === 2) await put();
      return plain.list(options);
    });

    await registry.deleteManifest('team/app', digest);

    expect(lists).toBe(2);
    expect((await registry.getManifest('team/app', 'v1')).bytes.equals(bytes)).toBe(true);
  });

  it('is deleted without leaving a tag that leads nowhere, wherever the DELETE dies', async () => {
    await put();
    vi.spyOn(store, 'deleteMany').mockRejectedValue(new ObjectStoreUnavailable('died'));

    await expectCode('UNAVAILABLE', () => registry.deleteManifest('team/app', digest));

    const { entries } = await registry.listTags('team/app', { limit: 10 });
    for (const tag of entries) expect((await registry.resolveManifest('team/app', tag)).digest).toBe(digest);
    await expectCode('MANIFEST_UNKNOWN', () => registry.getManifest('team/app', digest));
  });

  it('creates an immutable tag once, confirms it, and refuses to move it', async () => {
    const known = await pushContent(registry, { 'team/app': { blobs: { config: blob } } });
    const other = manifestBytes({ config: 'config', annotations: { a: 'b' } }, known['team/app']);
    const options = { immutableTags: ['v1'] };
    const { ociManifest } = mediaTypes;

    await registry.putManifest('team/app', 'v1', bytes, ociManifest, options);
    await registry.putManifest('team/app', 'v1', bytes, ociManifest, options);
    await expectCode('DENIED', () => registry.putManifest('team/app', 'v1', other, ociManifest, options));
    expect((await registry.resolveManifest('team/app', 'v1')).digest).toBe(digest);
    await expectCode('MANIFEST_UNKNOWN', () => registry.getManifest('team/app', digestOf(other)));

    await registry.deleteTag('team/app', 'v1');
    await registry.putManifest('team/app', 'v1', other, ociManifest, options);
    expect((await registry.resolveManifest('team/app', 'v1')).digest).toBe(digestOf(other));
  });

  it('moves a tag only from where it was said to be, or confirms it', async () => {
    const known = await pushContent(registry, { 'team/app': { blobs: { config: blob } } });
    const other = manifestBytes({ config: 'config', annotations: { a: 'b' } }, known['team/app']);
    const { ociManifest } = mediaTypes;
    const move = (content: Buffer, from: Digest | undefined) =>
      registry.putManifest('team/app', 'prod', content, ociManifest, { replaces: { prod: from } });
    await expectCode('DENIED', () => move(bytes, digestOf(other)));
    await expectCode('NAME_UNKNOWN', () => registry.getManifest('team/app', digest));

    await move(bytes, undefined);
    await move(bytes, undefined);
    await expectCode('DENIED', () => move(other, undefined));
    await move(other, digest);

    expect((await registry.resolveManifest('team/app', 'prod')).digest).toBe(digestOf(other));
    const third = manifestBytes({ config: 'config', annotations: { a: 'c' } }, known['team/app']);
    const rivals = await Promise.allSettled([
      move(bytes, digestOf(other)),
      registry.putManifest('team/app', 'prod', third, ociManifest, { replaces: { prod: digestOf(other) } }),
    ]);
    expect(rivals.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
  });

  it('refuses a descriptor with another size than its blob, and leaves nothing', async () => {
    const config = { mediaType: mediaTypes.ociConfig, digest: digestOf(blob), size: blob.length };
    const layers = [{ ...config, size: blob.length + 1 }];
    const { ociManifest: mediaType } = mediaTypes;
    bytes = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType, config, layers }));

    await expectCode('MANIFEST_INVALID', () => put());

    expect(await allKeys(store, 'refs/')).toEqual([]);
    await expectCode('NAME_UNKNOWN', () => registry.getManifest('team/app', digestOf(bytes)));
  });

  it('where missing blobs are allowed, references them too, so that they are kept once they come', async () => {
    const allowing = createStoredRegistry({ store, allowMissingBlobs: true });
    await allowing.putManifest('team/sparse', 'v1', bytes, mediaTypes.ociManifest);

    expect((await allowing.getManifest('team/sparse', 'v1')).bytes.equals(bytes)).toBe(true);
    const references = await allKeys(store, 'refs/');
    expect(references).toHaveLength(1);
    expect(references[0]).toContain(digestOf(blob).replace(':', '/'));
    // The reference is no right: the bytes are in another repository.
    await expectCode('BLOB_UNKNOWN', () => allowing.getBlob('team/sparse', digestOf(blob)));
    await expectCode('MANIFEST_BLOB_UNKNOWN', () =>
      registry.putManifest('team/other', 'v1', bytes, mediaTypes.ociManifest),
    );

    await allowing.deleteManifest('team/sparse', digest);
    expect(await allKeys(store, 'refs/')).toEqual([]);
  });

  it('says UNAVAILABLE when the store does not answer, and undoes nothing that may have landed', async () => {
    const plain = { ...store };
    vi.spyOn(store, 'put').mockImplementation(async (key, body, options) => {
      if (key === manifestKey('team/app', digest) && Buffer.from(body).includes('committed')) {
        throw new ObjectStoreUnavailable('no answer');
      }
      return plain.put(key, body, options);
    });

    await expectCode('UNAVAILABLE', () => put());

    expect(await allKeys(store, 'refs/')).toHaveLength(1);
  });

  it('reads tag and record anew every time, whatever its cache holds', async () => {
    await put();
    const other = createStoredRegistry({ store });
    await other.getManifest('team/app', 'v1');

    await registry.deleteManifest('team/app', digest);

    await expectCode('MANIFEST_UNKNOWN', () => other.getManifest('team/app', 'v1'));
    await expectCode('MANIFEST_UNKNOWN', () => other.getManifest('team/app', digest));
  });

  it('does not serve bytes that the store changed', async () => {
    await put();
    const key = manifestKey('team/app', digest);
    const stored = await store.get(key);
    await store.put(
      key,
      Buffer.from(stored?.body.toString().replace('schemaVersion":2', 'schemaVersion":3') ?? ''),
    );

    await expect(createStoredRegistry({ store }).getManifest('team/app', 'v1')).rejects.toThrow('damaged');
  });
});
