import { describe, expect, it } from 'vitest';
import { setTags } from '../../../../builder/farm/set-tags.ts';
import { createTagRecords } from '../../../../builder/farm/tag-records.ts';
import { createMemoryStore } from '../../../../core/object-store/memory.ts';
import type { Digest } from '../../../../oci/digest.ts';
import { digestOf } from '../../../../oci/digest.ts';
import { OciError } from '../../../../oci/errors.ts';
import type { Registry } from '../../../../oci/registry.ts';

/** Only tags, and a place to stop at: what is under test is the order of steps. */
function createTagBoard(beforePut: (tags: readonly string[]) => Promise<void> = async () => {}) {
  const tags = new Map<string, Digest>();
  const registry = {
    getManifest: async (_repository: string, reference: string) => ({
      bytes: Buffer.from(reference),
      descriptor: { mediaType: 'm', digest: reference as Digest, size: 1 },
    }),
    resolveManifest: async (_repository: string, tag: string) => {
      const digest = tags.get(tag);
      if (digest === undefined) throw new OciError('MANIFEST_UNKNOWN');
      return { mediaType: 'm', digest, size: 1 };
    },
    putManifest: async (
      _repository: string,
      digest: string,
      _bytes: Buffer,
      _type: string,
      options: { tags: readonly string[] },
    ) => {
      await beforePut(options.tags);
      for (const tag of options.tags) tags.set(tag, digest as Digest);
    },
  } as unknown as Registry;
  return { tags, registry };
}

const old = digestOf('old');
const fresh = digestOf('new');

function input(digest: Digest, sequence: number, source = 'team/app refs/heads/main') {
  return {
    repository: 'team/app',
    digest,
    sequence,
    moving: [{ tag: 'main', source }],
    fixed: [digest.slice(7, 19)],
    build: `b${sequence}`,
  };
}

describe('setTags', () => {
  const mayTakeOver = async (): Promise<boolean> => false;
  const confirm = async (): Promise<void> => {};

  it('leaves a tag that a newer push has, and sets the commit tag still', async () => {
    const board = createTagBoard();
    const deps = {
      registry: board.registry,
      records: createTagRecords(createMemoryStore()),
      mayTakeOver,
      confirm,
    };
    await setTags(deps, input(fresh, 2));

    const result = await setTags(deps, input(old, 1));

    expect(result.superseded).toEqual(['main']);
    expect(board.tags.get('main')).toBe(fresh);
    expect(board.tags.get(old.slice(7, 19))).toBe(old);
  });

  it('ends with the newer image when both set the tag at once and the older is slower', async () => {
    let release = (): void => {};
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    let holding = true;
    const board = createTagBoard(async (tags) => {
      if (tags.includes('main') && holding) {
        holding = false;
        await held;
      }
    });
    const deps = {
      registry: board.registry,
      records: createTagRecords(createMemoryStore()),
      mayTakeOver,
      confirm,
    };
    const older = setTags(deps, input(old, 1));
    while (holding) await Promise.resolve();
    await setTags(deps, input(fresh, 2));
    expect(board.tags.get('main')).toBe(fresh);

    release();
    await older;

    expect(board.tags.get('main')).toBe(fresh);
  });

  it('refuses the tag of another source, unless that is gone', async () => {
    const board = createTagBoard();
    const deps = {
      registry: board.registry,
      records: createTagRecords(createMemoryStore()),
      mayTakeOver,
      confirm,
    };
    await setTags(deps, input(old, 5));

    const refused = await setTags(deps, input(fresh, 1, 'team/app refs/tags/main'));
    expect(refused.clashes).toMatchObject([{ tag: 'main', with: { source: 'team/app refs/heads/main' } }]);
    expect(board.tags.get('main')).toBe(old);

    await setTags({ ...deps, mayTakeOver: async () => true }, input(fresh, 1, 'team/app refs/tags/main'));
    expect(board.tags.get('main')).toBe(fresh);
  });

  it('touches nothing when the build was lost to another worker', async () => {
    const board = createTagBoard();
    const deps = {
      registry: board.registry,
      records: createTagRecords(createMemoryStore()),
      mayTakeOver,
      confirm: async () => {
        throw new Error('lost');
      },
    };

    await expect(setTags(deps, input(fresh, 1))).rejects.toThrow('lost');

    expect(board.tags.size).toBe(0);
  });
});
