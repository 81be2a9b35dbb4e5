import { describe, expect, it } from 'vitest';
import { createPopularity } from '../../../../cache-proxy/popularity/popularity.ts';
import { addSnapshot, parseSnapshot, takeSnapshot } from '../../../../cache-proxy/popularity/snapshot.ts';

const day = 86_400_000;
const now = Date.UTC(2026, 0, 5);
const image = { repository: 'team/app', digest: `sha256:${'a'.repeat(64)}` };

describe('a snapshot of popularity', () => {
  it('comes back as it was, through JSON', () => {
    const before = createPopularity({ halfLife: 3 * day });
    before.add(image, now - day, 5);
    before.add({ ns: 'docker.io', ...image }, now, 2);

    const text = JSON.stringify(takeSnapshot(before, now, 3 * day));
    const after = createPopularity({ halfLife: 3 * day });
    addSnapshot(after, parseSnapshot(JSON.parse(text), now), 3 * day);

    expect(after.counts(now)).toEqual(before.counts(now));
  });

  it('stands for as many pulls in a day where another half-life is configured', () => {
    const days = createPopularity({ halfLife: 3 * day });
    days.add(image, now, 30);
    const hours = createPopularity({ halfLife: day });

    addSnapshot(hours, takeSnapshot(days, now, 3 * day), day);

    expect(hours.countOf(image, now)).toBeCloseTo(10);
  });

  it.each<[string, unknown, string]>([
    ['no object', [], 'expected an object'],
    ['another version', { version: 2 }, 'version must be 1'],
    ['a time to come', { time: now + 2 * day }, 'time lies in the future: check that clock'],
    ['no half-life', { halfLife: 0 }, 'halfLife must be milliseconds, a minute at least'],
    ['too many images', { images: Array.from({ length: 5001 }) }, 'images must be a list of at most 5000'],
    [
      'a path for a repository',
      { images: [{ ...image, repository: '../a', count: 1 }] },
      'images[0] must have a repository, a digest and a count',
    ],
    [
      'no digest',
      { images: [{ ...image, digest: 'latest', count: 1 }] },
      'images[0] must have a repository, a digest and a count',
    ],
    [
      'a count without end',
      { images: [{ ...image, count: 1e300 }] },
      'images[0] must have a repository, a digest and a count',
    ],
    [
      'a namespace with a slash',
      { images: [{ ...image, ns: 'a/b', count: 1 }] },
      'images[0] must have a repository, a digest and a count',
    ],
  ])('is refused with %s', (_name, change, message) => {
    const good = { version: 1, time: now, halfLife: day, images: [{ ...image, count: 1 }] };
    const value = Array.isArray(change) ? change : { ...good, ...(change as object) };

    expect(() => parseSnapshot(value, now)).toThrow(message);
  });
});
