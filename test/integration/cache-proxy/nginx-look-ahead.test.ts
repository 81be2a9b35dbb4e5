import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startNginxEngine } from '../../../cache-proxy/nginx/pool-engine.ts';
import type { PullRecord } from '../../../cache-proxy/pull-record.ts';
import { waitFor } from '../../helpers/process.ts';
import {
  expectBytes,
  openTestPool,
  pushImage,
  slice,
  type TestContent,
  type TestPool,
} from '../../suites/pool-engine/fixture.ts';

describe('a pool’s nginx, while its client has not taken a piece yet', () => {
  const pieces = 12;
  let test: TestPool;
  beforeAll(async () => {
    test = await openTestPool({ kind: 'nginx', start: startNginxEngine, verifies: false });
  });
  afterAll(() => test.close());

  const askedFor = ({ blob }: TestContent): string[] =>
    test.origin.seen
      .filter(({ path, headers }) => path === blob && headers.authorization !== undefined)
      .map(({ headers }) => headers.range ?? '');
  const rangeOf = (index: number): string => `bytes=${index * slice}-${(index + 1) * slice - 1}`;

  /** Whether the third piece is asked for while the end of the second one does not come. */
  const isAskedEarly = async (image: TestContent): Promise<boolean> => {
    const rest = Promise.withResolvers<void>();
    test.origin.rule = ({ path, headers }) =>
      path === image.blob && headers.range === rangeOf(1)
        ? { pauseBefore: 2 * slice - 1000, until: rest.promise }
        : undefined;
    const pull = test.get(image.blob);
    const early = await waitFor(() => askedFor(image).includes(rangeOf(2)), {
      what: 'the third piece',
      timeoutMs: 10_000,
    }).then(
      () => true,
      () => false,
    );
    rest.resolve();
    expectBytes((await pull).body, image.layer);
    return early;
  };

  it('asks for the next one already, and for each once', async () => {
    let image = await pushImage(test.origin.registry, (pieces - 1) * slice + 7);
    // A machine that is so busy that the client looks slow is no reason to fail.
    for (let attempt = 0; !(await isAskedEarly(image)); attempt += 1) {
      expect(attempt).toBeLessThan(5);
      image = await pushImage(test.origin.registry, (pieces - 1) * slice + 7);
    }

    expect(askedFor(image).toSorted()).toEqual(
      Array.from({ length: pieces }, (_, index) => rangeOf(index)).toSorted(),
    );
    const fetched = (): PullRecord[] =>
      test.records.filter(({ side, digest }) => side === 'origin' && digest === image.layerDigest);
    await waitFor(() => fetched().length >= pieces, { what: 'the records of all pieces', timeoutMs: 20_000 });
    expect(fetched()).toHaveLength(pieces);
    expect(fetched().reduce((sum, { bytes }) => sum + bytes, 0)).toBe(image.layer.length);
  });

  it('asks for nothing that lies in the cache or that the client does not want', async () => {
    const image = await pushImage(test.origin.registry, pieces * slice);
    await test.get(image.blob, { range: `bytes=${3 * slice}-${6 * slice - 1}` });
    expect(askedFor(image)).not.toContain(rangeOf(6));

    expectBytes((await test.get(image.blob)).body, image.layer);

    expect(askedFor(image).toSorted()).toEqual(
      Array.from({ length: pieces }, (_, index) => rangeOf(index)).toSorted(),
    );
    expect(test.origin.bodyBytes(image.layerDigest)).toBe(image.layer.length);
  });
});
