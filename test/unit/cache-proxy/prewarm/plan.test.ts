import { describe, expect, it } from 'vitest';
import {
  type Candidate,
  type Content,
  type PlanInput,
  planPrewarm,
} from '../../../../cache-proxy/prewarm/plan.ts';

const hour = 3_600_000;
const megabyte = 1_000_000;
const digest = (name: string): string => `sha256:${Buffer.from(name).toString('hex').padStart(64, '0')}`;
const blob = (name: string, megabytes: number): Content => ({
  digest: digest(name),
  size: megabytes * megabyte,
});

/** `perDay` pulls; the manifest is named after the repository. */
function candidate(
  repository: string,
  perDay: number,
  blobs: readonly Content[],
  more: Partial<Candidate> = {},
): Candidate {
  const manifest = { digest: digest(repository), size: 1000 };
  return {
    repository,
    digest: manifest.digest,
    reason: 'popular',
    rate: perDay / (24 * hour),
    tags: [],
    manifests: [manifest],
    blobs,
    ...more,
  };
}

function plan(candidates: readonly Candidate[], more: Partial<PlanInput> = {}) {
  return planPrewarm({
    candidates,
    cached: () => 0,
    horizon: 24 * hour,
    topBytes: 1e12,
    maxBytes: 1e12,
    maxLayer: 1e12,
    ...more,
  });
}

const references = (items: readonly { readonly reference: string }[]): string[] =>
  items.map(({ reference }) => reference);

describe('a plan of what to fetch', () => {
  it('takes layers by the probability that anybody pulls them, not by their size', () => {
    const { fetch } = plan([
      candidate('rare', 0.1, [blob('huge', 5000)]),
      candidate('daily', 1, [blob('small', 1)]),
      candidate('hot', 20, [blob('middle', 100)]),
    ]);

    const blobs = fetch.filter(({ kind }) => kind === 'blob');
    expect(references(blobs)).toEqual(['middle', 'small', 'huge'].map(digest));
    expect(blobs.map(({ probability }) => probability)).toEqual([
      expect.closeTo(1, 5),
      expect.closeTo(1 - Math.exp(-1), 5),
      expect.closeTo(1 - Math.exp(-0.1), 5),
    ]);
  });

  it('adds up for a shared layer what its images are pulled', () => {
    const base = blob('base', 80);
    const { fetch } = plan([
      candidate('one', 1, [base, blob('app one', 10)]),
      candidate('two', 1, [base, blob('app two', 10)]),
      candidate('three', 1.5, [blob('app three', 10)]),
    ]);

    const blobs = fetch.filter(({ kind }) => kind === 'blob');
    expect(blobs[0]).toMatchObject({
      reference: base.digest,
      probability: expect.closeTo(1 - Math.exp(-2), 5),
    });
    expect(references(blobs).filter((each) => each === base.digest)).toHaveLength(1);
  });

  it('goes by requests where it has counted them: nodes have base layers already', () => {
    const base = blob('base', 80);
    const { fetch } = plan([candidate('one', 20, [base, blob('app', 10)])], {
      measured: (of) => (of === base.digest ? 0.1 / (24 * hour) : undefined),
    });

    const blobs = fetch.filter(({ kind }) => kind === 'blob');
    expect(references(blobs)).toEqual(['app', 'base'].map(digest));
  });

  it('throws nothing out of a full cache for what is less likely than not to be pulled', () => {
    const images = [candidate('often', 5, [blob('a', 10)]), candidate('rare', 0.3, [blob('b', 10)])];

    const full = plan(images, { free: 0 });
    const half = plan(images, { free: 15 * megabyte });

    for (const { fetch } of [full, half]) {
      expect(references(fetch.filter(({ kind }) => kind === 'blob'))).toEqual([digest('a')]);
    }
    expect(plan(images, { free: 30 * megabyte }).left.improbable).toBe(0);
  });

  it('puts pushes first, then pins, then what is pulled here, then what others pull', () => {
    const { fetch } = plan([
      candidate('elsewhere', 100, [blob('d', 1)], { reason: 'bootstrap' }),
      candidate('here', 50, [blob('c', 1)]),
      candidate('pinned', 0, [blob('b', 1)], { reason: 'pinned' }),
      candidate('pushed', 0, [blob('a', 1)], { reason: 'pushed' }),
    ]);

    const blobs = fetch.filter(({ kind }) => kind === 'blob');
    expect(references(blobs)).toEqual(['a', 'b', 'c', 'd'].map(digest));
  });

  it('fetches of a new release what is not there yet', () => {
    const base = blob('base', 80);
    const { fetch, missing } = plan(
      [candidate('app', 5, [base, blob('new', 10), blob('half', 20)], { reason: 'pushed', tags: ['v2'] })],
      {
        cached: ({ digest: of, size }) => (of === base.digest ? size : of === digest('half') ? size / 2 : 0),
      },
    );

    expect(references(fetch)).toEqual([digest('app'), 'v2', digest('new'), digest('half')]);
    expect(missing).toBe(20 * megabyte + 1000);
  });

  it('keeps a pinned image that is there from being evicted', () => {
    const pinned = candidate('base', 0, [blob('layer', 80)], { reason: 'pinned' });

    const { fetch, keep } = plan([pinned], { cached: ({ size }) => size });

    expect(fetch).toEqual([]);
    expect(references(keep)).toEqual([digest('layer')]);
  });

  it('leaves out what hardly anybody pulls, layers that are too large, and what the budget has no room for', () => {
    const { fetch, left } = plan(
      [
        candidate('a', 9, [blob('first', 60), blob('giant', 900)]),
        candidate('b', 8, [blob('second', 60)]),
        candidate('c', 7, [blob('third', 30)]),
        candidate('d', 0.001, [blob('never', 1)]),
      ],
      { topBytes: 100 * megabyte, maxLayer: 500 * megabyte },
    );

    expect(references(fetch.filter(({ kind }) => kind === 'blob'))).toEqual([
      digest('first'),
      digest('third'),
    ]);
    expect(left).toEqual({ tooLarge: 1, overBudget: 1, improbable: 1 });
  });

  it('counts what is warm already against the budget, or the cache would be emptied to be filled again', () => {
    const warm = blob('warm', 80);
    const { fetch } = plan([candidate('a', 9, [warm]), candidate('b', 8, [blob('cold', 80)])], {
      topBytes: 100 * megabyte,
      cached: ({ digest: of, size }) => (of === warm.digest ? size : 0),
    });

    expect(fetch.filter(({ kind }) => kind === 'blob')).toEqual([]);
  });

  it('fetches small blobs with the manifest, before the layers', () => {
    const config = { digest: digest('config'), size: 2000 };
    const { fetch } = plan([
      candidate('cold', 1, [config, blob('layer', 5)]),
      candidate('hot', 30, [blob('hot layer', 5)]),
    ]);

    expect(references(fetch)).toEqual(['hot', 'hot layer', 'cold', 'config', 'layer'].map(digest));
  });

  it('takes an image that is wanted twice once, for the stronger reason', () => {
    const { fetch } = plan([
      candidate('app', 30, [blob('layer', 5)]),
      candidate('app', 1, [blob('layer', 5)], { reason: 'pushed', tags: ['v2'] }),
    ]);

    expect(fetch).toHaveLength(3);
    expect(fetch.every(({ reason }) => reason === 'pushed')).toBe(true);
    expect(fetch[0]?.probability).toBeCloseTo(1);
  });
});
