import { buffer } from 'node:stream/consumers';
import { describe, expect, it } from 'vitest';
import { createMemoryStore } from '../../../../core/object-store/memory.ts';
import type { ObjectStore } from '../../../../core/object-store/object-store.ts';
import { digestOf } from '../../../../oci/digest.ts';
import { isOciError } from '../../../../oci/errors.ts';
import { mediaTypes } from '../../../../oci/media-types.ts';
import type { Registry } from '../../../../oci/registry.ts';
import { isReadable, type ManifestHeader } from '../../../../registry/store/manifest-record.ts';
import {
  blobReferencesPrefix,
  manifestKey,
  pointerKey,
  splitVersion,
} from '../../../../registry/store/paths.ts';
import { type PointerHeader, readPointer } from '../../../../registry/store/pointer.ts';
import { buryRecord, readRecord, replaceRecord } from '../../../../registry/store/record.ts';
import { createStoredRegistry } from '../../../../registry/stored-registry.ts';
import { manifestBytes, pushContent } from '../../../helpers/content.ts';
import { allKeys, createContext } from './context.ts';
import { createStepper, seeded } from './step-store.ts';

const content = Buffer.alloc(9_000, 'too large to lie in the pointer');
const blob = digestOf(content);
const manifest = manifestBytes(
  { config: 'layer' },
  { blobs: { layer: { mediaType: '', digest: blob, size: content.length } }, manifests: {} },
);
const digest = digestOf(manifest);

/** As docker does: HEAD, upload what is missing, PUT; again where it is told that a blob is unknown. */
async function push(registry: Registry): Promise<void> {
  for (;;) {
    try {
      await registry.resolveBlob('team/app', blob);
    } catch (error) {
      if (!isOciError(error, 'BLOB_UNKNOWN')) throw error;
      await registry.putBlob('team/app', blob, content);
    }
    try {
      await registry.putManifest('team/app', 'v1', manifest, mediaTypes.ociManifest);
      return;
    } catch (error) {
      if (!isOciError(error, 'MANIFEST_BLOB_UNKNOWN')) throw error;
    }
  }
}

async function remove(registry: Registry): Promise<void> {
  try {
    await registry.deleteManifest('team/app', digest);
  } catch (error) {
    if (!isOciError(error, 'MANIFEST_UNKNOWN')) throw error;
  }
}

/** The design's collection of one blob, with a grace of zero. */
async function collect(store: ObjectStore): Promise<void> {
  const context = createContext(store);
  const referenced = async () =>
    (await store.list({ prefix: blobReferencesPrefix(blob), limit: 1 })).objects.length > 0;
  const pointer = await readPointer(context, blob);
  if (pointer.header === undefined) return;
  const { header, payload } = pointer;
  const move = (from: typeof pointer, state: PointerHeader['state']) =>
    replaceRecord<PointerHeader>(context, pointerKey(blob), from, { ...header, state }, { payload });
  let current: typeof pointer | undefined = pointer;
  if (header.state !== 'deleting') {
    const used = await referenced();
    if (header.state === 'live') {
      if (used) return;
      current = await move(pointer, 'condemned');
    }
    if (current === undefined) return;
    if (used || (await referenced())) {
      await move(current, 'live');
      return;
    }
    current = await move(current, 'deleting');
  }
  if (current !== undefined && header.dataKey !== undefined) await store.delete(header.dataKey);
}

/** Ends claims at any age and removes references of attempts that are not their record's. */
async function scrub(store: ObjectStore): Promise<void> {
  const context = createContext(store);
  const record = () => readRecord<ManifestHeader>(context, manifestKey('team/app', digest));
  const seen = await record();
  if (seen.header?.state === 'pending') await buryRecord(context, manifestKey('team/app', digest), seen);
  for (const key of await allKeys(store, 'refs/')) {
    const attempt = splitVersion(key.split('/')[3] ?? '')?.version;
    if ((await record()).header?.attempt !== attempt) await store.delete(key);
  }
}

const actors = {
  push: ({ registry }) => push(registry),
  'push 2': ({ registry }) => push(registry),
  delete: ({ registry }) => remove(registry),
  'delete 2': ({ registry }) => remove(registry),
  collect: ({ store }) => collect(store),
  'collect 2': ({ store }) => collect(store),
  scrub: ({ store }) => scrub(store),
} satisfies Record<string, (as: { registry: Registry; store: ObjectStore }) => Promise<void>>;

describe('push, delete, scrub and collect at once', () => {
  const sets: { names: (keyof typeof actors)[]; tagged: boolean }[] = [
    { names: ['push', 'collect'], tagged: false },
    { names: ['push', 'push 2', 'collect'], tagged: false },
    { names: ['push', 'collect', 'collect 2', 'scrub'], tagged: false },
    { names: ['push', 'delete', 'collect'], tagged: true },
    { names: ['push', 'push 2', 'delete', 'collect', 'scrub'], tagged: true },
    { names: ['push', 'delete', 'delete 2', 'scrub', 'collect', 'collect 2'], tagged: true },
  ];

  it.each(sets)(
    '$names lose nothing that was acknowledged (tagged before: $tagged)',
    async ({ names, tagged }) => {
      for (let seed = 1; seed <= 15; seed++) {
        const store = createMemoryStore();
        const plain = createStoredRegistry({ store });
        if (tagged) await push(plain);
        const random = seeded(seed);
        const stepper = createStepper(store, random);
        let acknowledged = false;
        let skipped = 0;
        const tasks = Object.fromEntries(
          names.map((name) => {
            const seen = stepper.storeFor(name);
            const wait = async (milliseconds: number): Promise<void> => {
              skipped += milliseconds;
              await stepper.pause(name);
            };
            const registry = createStoredRegistry({ store: seen, wait, clock: () => Date.now() + skipped });
            const act = async (): Promise<void> => {
              await actors[name]({ registry, store: seen });
              if (name.startsWith('push')) acknowledged = true;
            };
            return [name, act];
          }),
        );
        // Every other run somebody dies on the way.
        const victim = names[Math.floor(random() * names.length)] as string;
        const crash = seed % 2 === 0 ? { actor: victim, steps: Math.floor(random() * 60) } : undefined;
        await stepper.run(tasks, crash);

        const after = createStoredRegistry({ store });
        const complete = crash === undefined;
        await checkNothingDangles(after, store, `seed ${seed}`, {
          tags: complete,
          pushed: complete && acknowledged,
        });
        const removed = names.some((name) => name.startsWith('delete'));
        if (acknowledged && !removed) {
          expect((await after.getManifest('team/app', 'v1')).bytes.equals(manifest), `seed ${seed}`).toBe(
            true,
          );
        }
        // Nobody's death stops the next push.
        await pushContent(after, { 'team/other': { blobs: { content } } });
        let later = 0;
        await push(
          createStoredRegistry({
            store,
            clock: () => Date.now() + later,
            wait: async (ms) => void (later += ms),
          }),
        );
        await checkNothingDangles(after, store, `seed ${seed}, pushed again`, { tags: false, pushed: false });
        expect((await after.getManifest('team/app', 'v1')).bytes.equals(manifest)).toBe(true);
      }
    },
  );
});

/** What readers see can be read, also after two more collections; without a crash no tag leads nowhere. */
async function checkNothingDangles(
  registry: Registry,
  store: ObjectStore,
  when: string,
  told: { tags: boolean; pushed: boolean },
): Promise<void> {
  const context = createContext(store);
  const visible = isReadable(await readRecord<ManifestHeader>(context, manifestKey('team/app', digest)));
  for (let round = 0; visible && round < 3; round++) {
    const { body } = await registry.getBlob('team/app', blob).catch((error: unknown) => {
      throw new Error(`${when}: a committed manifest's blob is gone after ${round} collections`, {
        cause: error,
      });
    });
    expect(await buffer(body), when).toEqual(content);
    await collect(store);
  }
  if (!told.tags) return;
  const tag = await readRecord(context, 'repos/team/app/_tags/v1');
  if (tag.header !== undefined) expect(visible, `${when}: the tag leads nowhere`).toBe(true);
  if (told.pushed && visible) expect(tag.header, `${when}: a push's tag is gone`).toBeDefined();
}
