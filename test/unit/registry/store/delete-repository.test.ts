import { buffer } from 'node:stream/consumers';
import { describe, expect, it } from 'vitest';
import { createMemoryStore } from '../../../../core/object-store/memory.ts';
import type { ObjectStore } from '../../../../core/object-store/object-store.ts';
import { digestOf } from '../../../../oci/digest.ts';
import { isOciError } from '../../../../oci/errors.ts';
import { mediaTypes } from '../../../../oci/media-types.ts';
import { deleteRepository } from '../../../../registry/store/delete-repository.ts';
import { type ManifestHeader, readManifestRecord } from '../../../../registry/store/manifest-record.ts';
import { manifestKey, tagOfKey } from '../../../../registry/store/paths.ts';
import { replaceRecord } from '../../../../registry/store/record.ts';
import { writeTag } from '../../../../registry/store/tags.ts';
import { createStoredRegistry } from '../../../../registry/stored-registry.ts';
import { verifyStore } from '../../../../registry/verify/verify-store.ts';
import { manifestBytes, pushContent } from '../../../helpers/content.ts';
import { expectCode } from '../../../suites/registry.ts';
import { allKeys, createContext } from './context.ts';
import { createStepper, seeded } from './step-store.ts';

/** More find more; `test/explorer` goes through all orders of two. */
const seeds = Number(process.env['BRICKYARD_TEST_SEEDS'] ?? 10);

const repository = 'team/app';
const content = Buffer.alloc(9_000, 'too large to lie in the pointer');
const blob = digestOf(content);
const manifest = manifestBytes(
  { config: 'layer' },
  { blobs: { layer: { mediaType: '', digest: blob, size: content.length } }, manifests: {} },
);
const digest = digestOf(manifest);
const page = { limit: 100 };

const everything = {
  [repository]: {
    blobs: { one: 'one', two: content, loose: 'in no image' },
    manifests: {
      image: { layers: ['one', 'two'] },
      index: { manifests: ['image'] },
      signature: { layers: ['one'], subject: 'image' },
    },
    tags: { v1: 'image', v2: 'image', all: 'index' },
  },
  'team/app/nested': {
    blobs: { two: content },
    manifests: { image: { layers: ['two'] } },
    tags: { v1: 'image' },
  },
};

async function setup() {
  const store = createMemoryStore();
  const registry = createStoredRegistry({ store });
  return { store, registry, context: createContext(store), pushed: await pushContent(registry, everything) };
}

/** Kinds of damage and of garbage. */
async function faults(store: ObjectStore): Promise<string[]> {
  const found: string[] = [];
  const onFinding = ({ severity, kind }: { severity: string; kind: string }) =>
    void (severity === 'note' ? undefined : found.push(kind));
  await verifyStore({ store, waits: [0], onFinding });
  return found.toSorted();
}

describe('a repository that is deleted', () => {
  it('is gone with all it had, and its neighbours stay', async () => {
    const { store, registry, context, pushed } = await setup();

    expect(await deleteRepository(context, repository)).toEqual({ done: true, manifests: 3 });

    expect((await registry.listRepositories(page)).entries).toEqual(['team/app/nested']);
    await expectCode('NAME_UNKNOWN', () => registry.listTags(repository, page));
    await expectCode('NAME_UNKNOWN', () => registry.getManifest(repository, 'v1'));
    await expectCode('NAME_UNKNOWN', () =>
      registry.getManifest(repository, pushed[repository]?.manifests['image']?.digest ?? ''),
    );
    await expectCode('BLOB_UNKNOWN', () => registry.resolveBlob(repository, blob));
    expect(await registry.mountBlob('other', blob, repository)).toBe(false);
    expect((await registry.getManifest('team/app/nested', 'v1')).bytes.length).toBeGreaterThan(0);
    expect(await faults(store)).toEqual(['unneeded-blob', 'unneeded-blob']);
    for (const kind of ['_tagsof', '_mrefs', '_referrers'])
      expect(await allKeys(store, `repos/${repository}/${kind}`)).toEqual([]);
  });

  it('is no ghost in the catalog, and can begin anew', async () => {
    const { registry, context } = await setup();
    await deleteRepository(context, repository);
    await expectCode('NAME_UNKNOWN', () => deleteRepository(context, repository));

    await registry.putBlob(repository, blob, content);
    expect((await registry.listRepositories(page)).entries).toEqual(['team/app/nested']);
    await registry.putManifest(repository, 'v9', manifest, mediaTypes.ociManifest);

    expect((await registry.listRepositories(page)).entries).toEqual([repository, 'team/app/nested']);
    expect((await registry.listTags(repository, page)).entries).toEqual(['v9']);
  });

  it('is not there when nobody ever pushed to it', async () => {
    const { context } = await setup();
    await expectCode('NAME_UNKNOWN', () => deleteRepository(context, 'team'));
    await expectCode('NAME_UNKNOWN', () => deleteRepository(context, 'team/ap'));
  });

  it('may hold what was left by the dead: a claim, a tag without a manifest, a reverse without a tag', async () => {
    const { store, context, registry } = await setup();
    const record = await readManifestRecord(context, repository, digest);
    const claim = { state: 'pending', attempt: 'dead', mediaType: mediaTypes.ociManifest, size: 1 } as const;
    await replaceRecord<ManifestHeader>(context, manifestKey(repository, digest), record, claim);
    await writeTag(context, repository, 'nowhere', { mediaType: 'x', digest, size: 1 });
    await store.put(tagOfKey(repository, digest, 'never', 'f00d'), Buffer.alloc(0));

    expect((await deleteRepository(context, repository)).done).toBe(true);

    expect((await registry.listRepositories(page)).entries).toEqual(['team/app/nested']);
    expect(await faults(store)).not.toContain('dangling-tag');
  });

  it('can be deleted bit by bit', async () => {
    const { context, registry } = await setup();
    let now = 0;
    const slow = { ...context, clock: () => now++ };
    const results: { done: boolean; manifests: number }[] = [];
    do results.push(await deleteRepository(slow, repository, { until: now + 1 }));
    while (results.at(-1)?.done === false && results.length < 20);

    expect(results.length).toBeGreaterThan(1);
    expect(results.at(-1)?.done).toBe(true);
    expect(results.reduce((sum, { manifests }) => sum + manifests, 0)).toBe(3);
    expect((await registry.listRepositories(page)).entries).toEqual(['team/app/nested']);
  });
});

/** As docker does: HEAD, upload what is missing, PUT; again where it is told that a blob is unknown, unless it gives up `once`. */
async function push(
  store: ObjectStore,
  random: () => string,
  began: () => void,
  { once = false }: { once?: boolean } = {},
): Promise<void> {
  const registry = createStoredRegistry({ store, random, wait: async () => {} });
  for (;;) {
    began();
    try {
      await registry.resolveBlob(repository, blob);
    } catch (error) {
      if (!isOciError(error, 'BLOB_UNKNOWN')) throw error;
      await registry.putBlob(repository, blob, content);
    }
    try {
      await registry.putManifest(repository, 'v1', manifest, mediaTypes.ociManifest);
      return;
    } catch (error) {
      if (!isOciError(error, 'MANIFEST_BLOB_UNKNOWN')) throw error;
      if (once) return;
    }
  }
}

async function remove(store: ObjectStore): Promise<boolean> {
  try {
    return (await deleteRepository(createContext(store), repository)).done;
  } catch (error) {
    if (isOciError(error, 'NAME_UNKNOWN')) return true;
    throw error;
  }
}

describe('a repository that is deleted while others push to it', () => {
  const sets = [
    ['push', 'remove'],
    ['push once', 'remove'],
    ['push', 'push 2', 'remove'],
    ['push', 'remove', 'remove 2'],
    ['push', 'push 2', 'remove', 'remove 2'],
  ];
  it.each(sets.flatMap((names) => [true, false].map((existing) => ({ names, existing }))))(
    'is whole or gone, never half and never a ghost: $names, there before: $existing',
    async ({ names, existing }) => {
      for (let seed = 1; seed <= seeds; seed++) {
        const order = seeded(seed);
        const store = createMemoryStore();
        if (existing) await push(store, randomFrom(seeded(seed + 1e6)), () => {});
        const stepper = createStepper(store, order);
        let removing = names.filter((name) => name.startsWith('remove')).length;
        let pushedAfter = false;
        const actors = Object.fromEntries(
          names.map((name, index) => [
            name,
            async () => {
              const own = stepper.storeFor(name);
              if (name.startsWith('remove')) {
                expect(await remove(own)).toBe(true);
                removing--;
                return;
              }
              let beganAfter = false;
              const once = name.endsWith('once');
              const began = () => void (beganAfter = removing === 0);
              await push(own, randomFrom(seeded(seed * 10 + index)), began, { once });
              pushedAfter ||= beganAfter;
            },
          ]),
        );
        await stepper.run(actors);

        const registry = createStoredRegistry({ store });
        const listed = (await registry.listRepositories(page)).entries.includes(repository);
        const tags = listed ? (await registry.listTags(repository, page)).entries : [];
        const about = `seed ${seed}`;
        expect(
          (await faults(store)).filter((kind) => kind !== 'unneeded-blob'),
          about,
        ).toEqual([]);
        expect(tags, about).toEqual(listed ? ['v1'] : []);
        if (pushedAfter) expect(listed, about).toBe(true);
        if (!listed) continue;
        expect((await registry.getManifest(repository, 'v1')).bytes, about).toEqual(manifest);
        expect(await buffer((await registry.getBlob(repository, blob)).body), about).toEqual(content);
      }
    },
  );

  it('is gone after another call when the first one died at any step', async () => {
    for (let steps = 0; ; steps += 5) {
      const { store, registry, context } = await setup();
      const stepper = createStepper(store, seeded(steps));
      let ended = false;
      await stepper.run(
        {
          remove: async () => {
            await remove(stepper.storeFor('remove'));
            ended = true;
          },
        },
        { actor: 'remove', steps },
      );
      if (ended) {
        expect(steps).toBeGreaterThan(30);
        return;
      }
      expect(await faults(store), `step ${steps}`).not.toContain('dangling-tag');
      if ((await registry.listRepositories(page)).entries.includes(repository))
        expect((await deleteRepository(context, repository)).done).toBe(true);
      expect((await registry.listRepositories(page)).entries, `step ${steps}`).toEqual(['team/app/nested']);
      expect(await faults(store), `step ${steps}`).toEqual(
        expect.not.arrayContaining(['missing-child', 'dangling-tag']),
      );
    }
  });
});

function randomFrom(order: () => number): () => string {
  return () =>
    Array.from({ length: 4 }, () =>
      Math.floor(order() * 2 ** 32)
        .toString(16)
        .padStart(8, '0'),
    ).join('');
}
