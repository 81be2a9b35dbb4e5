import { describe, expect, it } from 'vitest';
import { createPopularity, pulledImage, rateOf } from '../../../../cache-proxy/popularity/popularity.ts';
import type { PullRecord } from '../../../../cache-proxy/pull-record.ts';

const day = 86_400_000;
const start = Date.UTC(2026, 0, 5);
const image = (name: string, repository = 'team/app') => ({
  repository,
  digest: `sha256:${name.padStart(64, '0')}`,
});

describe('popularity', () => {
  it('counts a pull as half after a half-life, and as a quarter after two', () => {
    const popularity = createPopularity({ halfLife: 3 * day });

    popularity.add(image('a'), start, 8);

    expect(popularity.countOf(image('a'), start)).toBeCloseTo(8);
    expect(popularity.countOf(image('a'), start + 3 * day)).toBeCloseTo(4);
    expect(popularity.countOf(image('a'), start + 6 * day)).toBeCloseTo(2);
  });

  it('gives the same counts whatever the order in which pulls become known', () => {
    const pulls = [5, 0, 2, 9, 1].map((days) => start + days * day);
    const inOrder = createPopularity({ halfLife: day });
    const late = createPopularity({ halfLife: day });

    for (const time of pulls.toSorted((a, b) => a - b)) inOrder.add(image('a'), time);
    for (const time of pulls) late.add(image('a'), time);

    const now = start + 10 * day;
    expect(late.countOf(image('a'), now)).toBeCloseTo(inOrder.countOf(image('a'), now));
  });

  it('goes on counting exactly over years', () => {
    const popularity = createPopularity({ halfLife: day });
    for (let days = 0; days < 2000; days++) popularity.add(image('a'), start + days * day);

    // 1 + 1/2 + 1/4 + …
    expect(popularity.countOf(image('a'), start + 1999 * day)).toBeCloseTo(2);
    expect(popularity.countOfRepository(image('a'), start + 1999 * day)).toBeCloseTo(2);
  });

  it('tells the most pulled first, and what a repository has together', () => {
    const popularity = createPopularity({ halfLife: day });
    popularity.add(image('old'), start - 5 * day, 10);
    popularity.add(image('new'), start, 2);
    popularity.add(image('other', 'team/other'), start, 1);

    const counts = popularity.counts(start);

    expect(counts.map(({ digest }) => digest)).toEqual(
      ['new', 'other', 'old'].map((name) => image(name).digest),
    );
    expect(popularity.countOfRepository(image('new'), start)).toBeCloseTo(2 + 10 / 32);
  });

  it('keeps images of another registry apart from those of the same name here', () => {
    const popularity = createPopularity({ halfLife: day });

    popularity.add({ ns: 'docker.io', ...image('a') }, start);

    expect(popularity.countOf(image('a'), start)).toBe(0);
    expect(popularity.countOf({ ns: 'docker.io', ...image('a') }, start)).toBe(1);
  });

  it('forgets what is pulled least when too many images are asked for', () => {
    const popularity = createPopularity({ halfLife: day, max: 100 });
    for (let pull = 0; pull < 10; pull++) popularity.add(image('popular'), start);

    for (let other = 0; other < 10_000; other++) popularity.add(image(String(other), `team/${other}`), start);

    expect(popularity.size).toBeLessThanOrEqual(125);
    expect(popularity.countOf(image('popular'), start)).toBe(10);
    expect(popularity.countOfRepository(image('1', 'team/1'), start)).toBe(0);
  });

  it('settles at a count that gives the rate back', () => {
    const popularity = createPopularity({ halfLife: 3 * day });
    for (let hour = 0; hour < 24 * 60; hour++) popularity.add(image('a'), start + hour * 3_600_000);

    const rate = rateOf(popularity.countOf(image('a'), start + 60 * day), 3 * day);

    expect(rate * day).toBeGreaterThan(23.5);
    expect(rate * day).toBeLessThan(24.5);
  });

  it('counts nothing for what is no number of pulls', () => {
    const popularity = createPopularity({ halfLife: day });

    for (const pulls of [0, -1, Number.NaN, Number.POSITIVE_INFINITY])
      popularity.add(image('a'), start, pulls);

    expect(popularity.size).toBe(0);
  });
});

describe('what a record says was pulled', () => {
  const record: PullRecord = {
    time: start,
    id: '1',
    side: 'client',
    kind: 'manifest',
    ...image('a'),
    method: 'GET',
    status: 200,
    cache: 'hit',
    bytes: 500,
    seconds: 0.01,
    prewarm: false,
  };

  it.each<[string, Partial<PullRecord>, boolean]>([
    ['a manifest by digest', {}, true],
    ['a manifest by tag', { kind: 'tag', tag: 'latest' }, true],
    ['a look whether the tag has moved', { kind: 'tag', tag: 'latest', method: 'HEAD' }, false],
    ['our own prewarming', { prewarm: true }, false],
    ['the fetch behind a client’s request', { side: 'origin' }, false],
    ['a refusal', { status: 403 }, false],
    ['a layer, which its manifest stands for', { kind: 'blob' }, false],
  ])('%s', (_name, change, counts) => {
    expect(pulledImage({ ...record, ...change })).toEqual(counts ? image('a') : undefined);
  });
});
