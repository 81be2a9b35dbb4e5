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
    horizon: day,
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
    // All of it but a thousandth: nothing that was not pulled yet is certain.
    expect((first?.rate ?? 0) * day).toBeCloseTo((10 * Math.LN2) / 3, 1);
  });

  it('expect little of pushes of a kind that nobody pulls', () => {
    const local = createPopularity({ halfLife });
    for (const name of ['v1', 'v2', 'v3']) local.add(image(name), now, 5);
    const yesterday = { time: now - day };
    const builds = Array.from({ length: 20 }, (_, build) => push(`build ${build}`, `pr-${build}`, yesterday));
    const releases = ['v1', 'v2', 'v3'].map((name) => push(name, name, yesterday));

    const found = gather({
      local,
      pushes: [...builds, ...releases, push('next build', 'pr-99'), push('v4', 'v4')],
    });

    const rate = (name: string): number =>
      found.find(({ digest }) => digest === image(name).digest)?.rate ?? 0;
    expect(1 - Math.exp(-rate('v4') * day)).toBeGreaterThan(0.6);
    expect(1 - Math.exp(-rate('next build') * day)).toBeLessThan(0.1);
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

it('take a release that another one has replaced for mostly over', () => {
  const local = createPopularity({ halfLife });
  local.add(image('v1'), now - day, 20);
  local.add(image('v2'), now, 1);

  const found = gather({ local, pushes: [push('v2', 'v2')] });

  const old = found.find(({ digest }) => digest === image('v1').digest);
  expect((old?.rate ?? 0) * day).toBeCloseTo((0.25 * 20 * 2 ** (-1 / 3) * Math.LN2) / 3);
});

describe('a push of what nobody follows', () => {
  const likely = (pulls: number, before: readonly PushedImage[]): boolean => {
    const local = createPopularity({ halfLife });
    local.add(image('v1'), now, pulls);
    const pushed = push('v2', 'v2');
    return isLikelyPulled(pushed, { now, halfLife, horizon: day, local, pushes: [...before, pushed] });
  };

  it('is fetched at once where its repository is pulled daily', () => {
    expect(likely(10, [])).toBe(true);
  });

  it('is not where the repository is hardly pulled', () => {
    expect(likely(0.5, [])).toBe(false);
  });

  it('is not where pushes of its kind come that nobody pulls', () => {
    const before = ['v7', 'v8', 'v9'].map((name) => push(name, name, { time: now - day }));

    expect(likely(10, before)).toBe(false);
  });

  it('is where others of its kind were pushed just now', () => {
    const before = ['v7', 'v8', 'v9'].map((name) => push(name, name));

    expect(likely(10, before)).toBe(true);
  });
});
