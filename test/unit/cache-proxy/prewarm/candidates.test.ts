import { describe, expect, it } from 'vitest';
import { createPopularity } from '../../../../cache-proxy/popularity/popularity.ts';
import {
  type CandidateInput,
  gatherCandidates,
  isLikelyPulled,
  type PushedImage,
} from '../../../../cache-proxy/prewarm/candidates.ts';

const day = 86_400_000;
const halfLife = 3 * day;
const now = Date.UTC(2026, 0, 5);
const image = (name: string, repository = 'team/app') => ({
  repository,
  digest: `sha256:${Buffer.from(name).toString('hex').padStart(64, '0')}`,
});
const push = (name: string, tag: string, more: Partial<PushedImage> = {}): PushedImage => ({
  ...image(name),
  tag,
  time: now,
  followed: false,
  ...more,
});

function gather(change: Partial<CandidateInput>) {
  return gatherCandidates({
    now,
    halfLife,
    local: createPopularity({ halfLife }),
    pushes: [],
    pins: [],
    contentOf: ({ digest }) => ({ manifests: [{ digest, size: 1 }], blobs: [] }),
    ...change,
  });
}

describe('candidates', () => {
  it('expect of a new release what its repository was pulled so far', () => {
    const local = createPopularity({ halfLife });
    local.add(image('v1'), now, 10);

    const [first] = gather({ local, pushes: [push('v2', 'latest')] });

    expect(first).toMatchObject({ ...image('v2'), reason: 'popular', tags: ['latest'] });
    expect((first?.rate ?? 0) * day).toBeCloseTo((10 * Math.LN2) / 3);
  });

  it('expect less of each push that nobody pulled before the next one came', () => {
    const local = createPopularity({ halfLife });
    local.add(image('v1'), now, 10);
    const pushes = ['b1', 'b2', 'b3', 'v2'].map((name) => push(name, name));

    const found = gather({ local, pushes });

    const rate = (name: string): number =>
      found.find(({ digest }) => digest === image(name).digest)?.rate ?? 0;
    expect(rate('v2') / rate('b1')).toBeCloseTo(4);
  });

  it('take of a tag that moved the last place only', () => {
    const found = gather({
      pushes: [push('v1', 'latest', { followed: true }), push('v2', 'latest', { followed: true })],
    });

    expect(found.map(({ digest, reason }) => [digest, reason])).toEqual([[image('v2').digest, 'pushed']]);
  });

  it('learn from other pools what nobody here has pulled yet, as from an average one', () => {
    const local = createPopularity({ halfLife });
    const popularity = createPopularity({ halfLife });
    local.add(image('here'), now, 1);
    popularity.add(image('here'), now, 50);
    popularity.add(image('elsewhere'), now, 100);

    const found = gather({ local, global: { popularity, pools: 10 } });

    expect(found.map(({ digest, reason }) => [digest, reason])).toEqual([
      [image('here').digest, 'popular'],
      [image('elsewhere').digest, 'bootstrap'],
    ]);
    // Each counts 2: 1 + 0.2 × 5, and 0.2 × 10.
    expect(found[0]?.rate).toBeCloseTo(found[1]?.rate ?? 0, 12);
  });

  it('count an index by its image when nodes pull both', () => {
    const local = createPopularity({ halfLife });
    local.add(image('index'), now, 5);
    local.add(image('amd64'), now, 5);
    const manifests = ['index', 'amd64'].map((name) => ({ digest: image(name).digest, size: 1 }));

    const found = gather({
      local,
      contentOf: ({ digest }) => ({
        manifests: digest === image('index').digest ? manifests : manifests.slice(1),
        blobs: [],
      }),
    });

    expect(found.map(({ digest }) => digest)).toEqual([image('amd64').digest]);
  });

  it('leave out whose manifest is not known', () => {
    const local = createPopularity({ halfLife });
    local.add(image('gone'), now, 5);

    expect(gather({ local, contentOf: () => undefined })).toEqual([]);
  });
});

describe('a push of what nobody follows', () => {
  const likely = (pulls: number, before: readonly PushedImage[]): boolean => {
    const local = createPopularity({ halfLife });
    local.add(image('v1'), now, pulls);
    const pushed = push('v2', 'v2');
    return isLikelyPulled(pushed, { now, halfLife, local, pushes: [...before, pushed] }, day);
  };

  it('is fetched at once where its repository is pulled daily', () => {
    expect(likely(10, [])).toBe(true);
  });

  it('is not where the repository is hardly pulled', () => {
    expect(likely(0.5, [])).toBe(false);
  });

  it('is not where pushes come that nobody pulls', () => {
    expect(
      likely(
        10,
        ['b1', 'b2', 'b3', 'b4'].map((name) => push(name, name)),
      ),
    ).toBe(false);
  });
});
