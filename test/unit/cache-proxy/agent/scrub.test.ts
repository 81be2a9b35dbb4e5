import { createHash } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { nextDigests, type Scrubber, startScrubber } from '../../../../cache-proxy/agent/scrub.ts';
import type { CacheEntry, PoolCache } from '../../../../cache-proxy/pool-engine.ts';
import { parseDigest } from '../../../../oci/digest.ts';
import { createTempDirectory, type TempDirectory } from '../../../helpers/temp.ts';

const silent = { info() {}, warn() {}, error() {} };

function named(content: string): string {
  return `sha256:${createHash('sha256').update(content).digest('hex')}`;
}

/** A cache that has `blobs`: what it would send for each digest. */
function cacheOf(blobs: Map<string, string>): {
  cache: PoolCache;
  purged: string[];
  readDigests: string[];
} {
  const purged: string[] = [];
  const readDigests: string[] = [];
  return {
    purged,
    readDigests,
    cache: {
      async *entries(): AsyncGenerator<CacheEntry> {
        yield { kind: 'tag', repository: 'team/app', tag: '1', bytes: 10 };
        for (const [digest, text] of blobs) yield { kind: 'blob', digest, offset: 0, bytes: text.length };
      },
      coverage: () => Promise.resolve({ cached: 0, whole: false }),
      read(digest) {
        readDigests.push(digest);
        const text = blobs.get(digest);
        return Promise.resolve(text === undefined ? undefined : Readable.from([Buffer.from(text)]));
      },
      purge(what) {
        if ('digest' in what) purged.push(what.digest);
        return Promise.resolve({ entries: 3, bytes: 30 });
      },
      usage: () => Promise.resolve({ entries: 0, bytes: 0 }),
    },
  };
}

describe('checking cached blobs', () => {
  let folder: TempDirectory;
  let started: Scrubber | undefined;
  const outcomes: [number, string][] = [];
  const start = (cache: PoolCache): Scrubber => {
    started = startScrubber({
      cache: () => cache,
      placeFile: join(folder.path, 'scrub'),
      onChecked: (bytes, outcome) => outcomes.push([bytes, outcome]),
      onPurged: () => {},
      log: silent,
    });
    return started;
  };

  beforeEach(async () => {
    folder = await createTempDirectory('scrub');
    outcomes.length = 0;
  });
  afterEach(async () => {
    await started?.close();
    await folder.remove();
  });

  it('removes what is not what its digest says, and leaves the rest', async () => {
    const wrong = named('as it was');
    const { cache, purged } = cacheOf(
      new Map([
        [named('good'), 'good'],
        [wrong, 'as it waz'],
      ]),
    );

    const scrubber = start(cache);
    await vi.waitFor(() => expect(scrubber.status().roundEnded).toBeDefined());

    expect(purged).toEqual([wrong]);
    expect(scrubber.status()).toMatchObject({ checkedBlobs: 2, checkedBytes: 13, damaged: 1 });
    expect(outcomes.toSorted(([a], [b]) => a - b)).toEqual([
      [4, 'good'],
      [9, 'damaged'],
    ]);
    expect(await readFile(join(folder.path, 'scrub'), 'utf8')).toBe('');
  });

  it('goes on where it was when it was stopped', async () => {
    const texts = ['a', 'b', 'c', 'd'];
    const digests = texts.map(named).sort();
    const { cache, readDigests } = cacheOf(new Map(texts.map((text) => [named(text), text])));
    await writeFile(join(folder.path, 'scrub'), digests[1] as string);

    const scrubber = start(cache);
    await vi.waitFor(() => expect(scrubber.status().roundEnded).toBeDefined());

    expect(readDigests).toEqual(digests.slice(2));
  });

  it('checks what was reported at once, and not again at once', async () => {
    const { cache, purged } = cacheOf(new Map());
    const scrubber = start(cache);
    await vi.waitFor(() => expect(scrubber.status().roundEnded).toBeDefined());
    const digest = named('right');
    cache.read = () => Promise.resolve(Readable.from([Buffer.from('wrong')]));

    scrubber.report('no digest');
    scrubber.report(digest);
    scrubber.report(digest);
    await vi.waitFor(() => expect(purged).toEqual([digest]));

    expect(scrubber.status().damaged).toBe(1);
  });

  it('holds a file that breaks off for evicted, not for damaged', async () => {
    const { cache, purged } = cacheOf(new Map());
    function* breaks(): Generator<Buffer> {
      yield Buffer.from('go');
      throw new Error('gone');
    }
    cache.read = () => Promise.resolve(Readable.from(breaks()));

    const outcome = await start(cache).check(parseDigest(named('good')));

    expect(outcome).toBe('absent');
    expect(purged).toEqual([]);
  });

  it('finds digests in order, however many there are', async () => {
    const all = Array.from({ length: 3000 }, (_none, index) => named(String(index)));
    const { cache } = cacheOf(new Map(all.map((digest) => [digest, ''])));
    const found: string[] = [];

    for (;;) {
      const next = await nextDigests(cache, found.at(-1) ?? '', 500);
      if (next.length === 0) break;
      expect(next.length).toBeLessThanOrEqual(500);
      found.push(...next);
    }

    expect(found).toEqual(all.sort());
  });
});
