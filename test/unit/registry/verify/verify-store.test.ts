import { beforeEach, describe, expect, it } from 'vitest';
import { createMemoryStore } from '../../../../core/object-store/memory.ts';
import type { ObjectStore } from '../../../../core/object-store/object-store.ts';
import { type Digest, digestOf } from '../../../../oci/digest.ts';
import { mediaTypes } from '../../../../oci/media-types.ts';
import type { Registry } from '../../../../oci/registry.ts';
import { type LinkHeader, readLink } from '../../../../registry/store/link.ts';
import { type ManifestHeader, readManifestRecord } from '../../../../registry/store/manifest-record.ts';
import {
  blobReferenceKey,
  catalogKey,
  linkKey,
  manifestKey,
  manifestReferenceKey,
  pointerKey,
  referrerKey,
  tagKey,
  tagOfKey,
  uploadKey,
} from '../../../../registry/store/paths.ts';
import { type PointerHeader, readPointer } from '../../../../registry/store/pointer.ts';
import { buryRecord, readRecord, replaceRecord } from '../../../../registry/store/record.ts';
import { readTag } from '../../../../registry/store/tags.ts';
import type { SessionHeader } from '../../../../registry/store/upload-session.ts';
import { createStoredRegistry } from '../../../../registry/stored-registry.ts';
import type { Finding } from '../../../../registry/verify/finding.ts';
import { type VerifyOptions, verifyStore } from '../../../../registry/verify/verify-store.ts';
import { pushContent } from '../../../helpers/content.ts';
import { allKeys, createContext } from '../store/context.ts';

const repository = 'team/app';
const layer = Buffer.alloc(20_000, 'layer');
const small = Buffer.from('in the pointer itself');
const absent = digestOf('nobody has this');

let store: ObjectStore;
let registry: Registry;
let image: { digest: Digest; bytes: Buffer };
let index: { digest: Digest };
let signature: { digest: Digest };

beforeEach(async () => {
  store = createMemoryStore();
  registry = createStoredRegistry({ store });
  const pushed = await pushContent(registry, {
    'team/app': {
      blobs: { layer, small },
      manifests: {
        image: { layers: ['layer', 'small'] },
        index: { manifests: ['image'] },
        signature: { layers: ['small'], subject: 'image', artifactType: 'text/x' },
      },
      tags: { v1: 'image', all: 'index' },
    },
    'team/app/nested': {
      blobs: { small },
      manifests: { other: { layers: ['small'] } },
      tags: { v1: 'other' },
    },
  });
  ({ image, index, signature } = pushed['team/app'].manifests);
});

async function verify(
  options: Partial<VerifyOptions> = {},
): Promise<{ kinds: string[]; found: Finding[]; result: Awaited<ReturnType<typeof verifyStore>> }> {
  const found: Finding[] = [];
  const result = await verifyStore({
    store,
    waits: [0, 0],
    youngMs: -1000,
    onFinding: (each) => found.push(each),
    ...options,
  });
  return { kinds: found.map(({ severity, kind }) => `${severity} ${kind}`).toSorted(), found, result };
}

const context = () => createContext(store);
const attemptOf = async (digest: Digest): Promise<string> =>
  (await readManifestRecord(context(), repository, digest)).header?.attempt ?? '';
const dataOf = async (digest: Digest): Promise<string> =>
  (await readPointer(context(), digest)).header?.dataKey ?? '';
const flip = async (key: string): Promise<void> => {
  const body = Buffer.from((await store.get(key))?.body ?? '');
  body[body.length - 1] = (body.at(-1) ?? 0) ^ 1;
  await store.put(key, body);
};
async function setPointer(digest: Digest, changes: Partial<PointerHeader>): Promise<void> {
  const pointer = await readPointer(context(), digest);
  if (pointer.header === undefined) throw new Error('no pointer');
  const { payload } = pointer;
  await replaceRecord(context(), pointerKey(digest), pointer, { ...pointer.header, ...changes }, { payload });
}

describe('verification', () => {
  it('finds nothing in a store that nobody harmed, and counts what is there', async () => {
    const { found, result } = await verify({ bytes: true });

    expect(found).toEqual([]);
    expect(result.counts).toMatchObject({
      repositories: 2,
      manifests: 4,
      tags: 3,
      links: 5,
      // Of image: config, layer, small; of signature and other: config, small; index → image.
      references: 3 + 2 + 2 + 1,
      blobs: 3,
      blobBytes: 2 + layer.length + small.length,
      dataObjects: 1,
      dataBytes: layer.length,
      tombstones: 0,
    });
  });

  it('changes nothing', async () => {
    const before = await snapshot();
    await verify({ bytes: true });
    expect(await snapshot()).toEqual(before);
  });

  it('counts tombstones, and finds nothing wrong with what was deleted', async () => {
    await registry.deleteTag(repository, 'v1');
    await registry.deleteManifest(repository, index.digest);
    await registry.deleteManifest(repository, signature.digest);

    const { kinds, result } = await verify();

    expect(kinds).toEqual([]);
    expect(result.counts.tombstones).toBe(4);
  });

  it.each<[string, () => Promise<unknown>, string[]]>([
    [
      'a tag whose manifest record is gone',
      () => store.delete(manifestKey(repository, image.digest)),
      [
        'damage dangling-tag',
        'garbage dead-reference',
        'garbage dead-reference',
        'garbage dead-reference',
        'note missing-index-child',
      ],
    ],
    [
      'a tag whose manifest is buried',
      async () => {
        const record = await readManifestRecord(context(), repository, index.digest);
        await buryRecord(context(), manifestKey(repository, index.digest), record);
      },
      ['damage dangling-tag', 'garbage dead-reference'],
    ],
    [
      'a tag without its reverse',
      async () => {
        const { header } = await readTag(context(), repository, 'v1');
        await store.delete(tagOfKey(repository, image.digest, 'v1', header?.nonce ?? ''));
      },
      ['damage tag-without-reverse'],
    ],
    [
      'a reverse of no tag',
      () => store.put(tagOfKey(repository, image.digest, 'v1', 'f00d'), Buffer.alloc(0)),
      ['garbage reverse-without-tag'],
    ],
    [
      'a manifest with other bytes',
      () => flip(manifestKey(repository, image.digest)),
      ['damage wrong-manifest'],
    ],
    [
      'a layer that nobody linked',
      () => store.delete(linkKey(repository, digestOf(layer))),
      ['damage missing-child'],
    ],
    [
      'a link of an earlier incarnation of the blob',
      async () => {
        const link = await readLink(context(), repository, digestOf(layer));
        const header = { state: 'linked', gen: 'old' } as const;
        await replaceRecord<LinkHeader>(context(), linkKey(repository, digestOf(layer)), link, header);
      },
      ['damage missing-child', 'note dead-link'],
    ],
    [
      'a layer without a pointer',
      () => store.delete(pointerKey(digestOf(layer))),
      ['damage missing-child', 'garbage unnamed-data', 'note dead-link'],
    ],
    [
      'a layer that is being deleted although it is needed',
      () => setPointer(digestOf(layer), { state: 'deleting' }),
      ['damage missing-child', 'garbage half-deleted-blob'],
    ],
    [
      'a layer that nothing protects',
      async () =>
        store.delete(
          blobReferenceKey(digestOf(layer), image.digest, await attemptOf(image.digest), repository),
        ),
      ['damage missing-reference', 'garbage unneeded-blob'],
    ],
    [
      'a child of an index that nothing protects',
      async () =>
        store.delete(
          manifestReferenceKey(repository, image.digest, index.digest, await attemptOf(index.digest)),
        ),
      ['damage missing-reference'],
    ],
    [
      'a blob without bytes',
      async () => store.delete(await dataOf(digestOf(layer))),
      ['damage missing-data'],
    ],
    [
      'a blob that is cut short',
      async () => store.put(await dataOf(digestOf(layer)), layer.subarray(1)),
      ['damage wrong-size'],
    ],
    ['a small blob with other bytes', () => flip(pointerKey(digestOf(small))), ['damage wrong-bytes']],
    [
      'a record without its header',
      () => store.put(tagKey(repository, 'v1'), Buffer.alloc(0)),
      ['damage unreadable-record'],
    ],
    [
      'a record that is no JSON',
      () => store.put(pointerKey(digestOf(layer)), Buffer.from(`{"state":${' '.repeat(80)}\n`)),
      ['damage unreadable-record', 'garbage unnamed-data'],
    ],
    [
      'a referrer that is listed wrongly',
      async () =>
        store.put(
          referrerKey(repository, image.digest, signature.digest, await attemptOf(signature.digest)),
          Buffer.from('{}'),
        ),
      ['damage wrong-referrer'],
    ],
    [
      'a referrer that is not listed',
      async () =>
        store.delete(
          referrerKey(repository, image.digest, signature.digest, await attemptOf(signature.digest)),
        ),
      ['note missing-referrer'],
    ],
    [
      'references of a push that failed',
      async () => {
        await store.put(blobReferenceKey(digestOf(layer), image.digest, 'dead', repository), Buffer.alloc(0));
        await store.put(
          manifestReferenceKey(repository, image.digest, index.digest, 'dead'),
          Buffer.alloc(0),
        );
        await store.put(referrerKey(repository, image.digest, signature.digest, 'dead'), Buffer.from('{}'));
      },
      ['garbage dead-reference', 'garbage dead-reference', 'garbage dead-referrer'],
    ],
    [
      'a blob that nobody needs',
      () => registry.putBlob(repository, digestOf('unneeded'), Buffer.from('unneeded')),
      ['garbage unneeded-blob'],
    ],
    ['bytes that nothing names', () => store.put('data/ab/ab00', layer), ['garbage unnamed-data']],
    [
      'a layer that a client deleted',
      () => registry.deleteBlob(repository, digestOf(layer)),
      ['note deleted-child'],
    ],
    [
      'a repository that the catalog does not have',
      () => store.delete(catalogKey(repository)),
      ['note unlisted-repository'],
    ],
    [
      'a repository in the catalog without anything',
      () =>
        replaceRecord(context(), catalogKey('ghost'), { etag: undefined }, {
          state: 'repository',
          created: 0,
        } as never),
      ['note empty-repository'],
    ],
    [
      'keys that nobody knows',
      async () => {
        await store.put('strange/thing', layer);
        await store.put(`repos/${repository}/_odd/x`, layer);
        await store.put(`repos/${repository}/_tags/.hidden`, layer);
        await store.put('repos/UPPER/_tags/x', layer);
        await store.put('blobs/md5/x', layer);
        await store.put('refs/md5/x', layer);
        await store.put('catalog/..A', layer);
      },
      Array.from({ length: 7 }, () => 'note unknown-key'),
    ],
    [
      'pieces of an upload that is under way, which are none of it',
      async () => {
        const { id } = await registry.startUpload(repository);
        const { header } = await readRecord<SessionHeader>(context(), uploadKey(id));
        await store.put(`${header?.dataKey}/piece`, layer);
      },
      [],
    ],
    [
      'pieces of an upload that is gone',
      () => store.put('data/ab/ab00/piece', layer),
      ['garbage unnamed-data'],
    ],
  ])('tells of %s', async (_, harm, expected) => {
    await harm();
    expect((await verify()).kinds).toEqual(expected);
  });

  it('compares bytes with digests only when asked to', async () => {
    await store.put(await dataOf(digestOf(layer)), Buffer.alloc(layer.length, 'other'));

    expect((await verify()).kinds).toEqual([]);
    expect((await verify({ bytes: true })).kinds).toEqual(['damage wrong-bytes']);
  });

  it('takes images without all of their layers for what they are where they are allowed', async () => {
    const sparse = createStoredRegistry({ store, allowMissingBlobs: true });
    const manifest = {
      schemaVersion: 2,
      mediaType: mediaTypes.ociManifest,
      config: { mediaType: mediaTypes.ociConfig, digest: absent, size: 5 },
      layers: [],
    };
    const bytes = Buffer.from(JSON.stringify(manifest));
    await sparse.putManifest(repository, 'sparse', bytes, mediaTypes.ociManifest);

    expect((await verify({ allowMissingBlobs: true })).kinds).toEqual(['note missing-blob']);
    expect((await verify()).kinds).toEqual(['damage missing-child']);
    expect((await verify({ mirrored: ['team'] })).kinds).toEqual(['note missing-blob']);
    expect((await verify({ mirrored: ['team/app', 'tea'] })).kinds).toEqual(['damage missing-child']);
  });

  it('tells of uploads and pushes that nobody goes on with, and not of those under way', async () => {
    const { id } = await registry.startUpload(repository);
    const record = await readManifestRecord(context(), repository, absent);
    const claim = { state: 'pending', attempt: 'a', mediaType: mediaTypes.ociManifest, size: 1 } as const;
    await replaceRecord<ManifestHeader>(context(), manifestKey(repository, absent), record, claim);
    expect((await verify()).kinds).toEqual([]);

    const days = 2 * 24 * 60 * 60 * 1000;
    const { found } = await verify({ clock: () => Date.now() + days });

    expect(found.map(({ kind, key }) => [kind, key])).toEqual([
      ['stuck-upload', uploadKey(id)],
      ['abandoned-push', manifestKey(repository, absent)],
    ]);
  });

  it('leaves young bytes alone: they may belong to a push that is under way', async () => {
    await store.put('data/ab/ab00', layer);
    expect((await verify({ youngMs: 60_000 })).kinds).toEqual([]);
  });

  it('knows the keys of others when it is told of them', async () => {
    await store.put('auth/keys/x', layer);
    expect((await verify()).kinds).toEqual(['note unknown-key']);
    expect((await verify({ otherPrefixes: ['auth'] })).kinds).toEqual([]);
  });

  it('never takes a store that cannot answer for an empty one', async () => {
    const failing = { ...store, head: () => Promise.reject(new Error('no answer')) };
    await expect(verify({ store: failing })).rejects.toThrow('no answer');
  });
});

describe('verification while others work', () => {
  it('does not tell of damage that was gone when it looked again', async () => {
    const key = manifestKey(repository, image.digest);
    const record = await store.get(key);
    await store.delete(key);
    let waits = 0;

    const { kinds } = await verify({
      waits: [1, 1, 1],
      async wait() {
        if (++waits === 2) await store.put(key, record?.body ?? Buffer.alloc(0));
      },
    });

    expect(kinds).toEqual(expect.not.arrayContaining([expect.stringMatching(/^damage/)]));
    expect(waits).toBe(2);
  });

  it('does not tell of a tag that was another version each time', async () => {
    const retag = async (): Promise<void> => {
      const tag = await readTag(context(), repository, 'v1');
      const header = { state: 'tag', digest: absent, mediaType: 'x', size: 1 } as const;
      await replaceRecord(context(), tagKey(repository, 'v1'), tag, header as never);
    };
    await retag();
    const { kinds } = await verify({ waits: [1, 1], wait: retag });
    expect(kinds.filter((kind) => kind.startsWith('damage'))).toEqual([]);
  });
});

describe('bounds of a verification', () => {
  it('starts no more requests in a second than it may', async () => {
    const started = performance.now();
    const { result } = await verify({ requestsPerSecond: 500 });
    // Bursts of a tenth of a second are allowed.
    const seconds = (performance.now() - started) / 1000 + 0.1;
    expect(result.requests / seconds).toBeLessThanOrEqual(500);
    expect(result.requests).toBeGreaterThan(50);
  });
});

async function snapshot(): Promise<[string, string][]> {
  const keys = await allKeys(store);
  return Promise.all(keys.map(async (key) => [key, (await store.head(key))?.etag ?? ''] as [string, string]));
}
