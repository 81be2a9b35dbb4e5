import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { pushImage } from '../../suites/pool-engine/fixture.ts';
import { startWholePool } from './pool-fixture.ts';

const mebi = 1024 ** 2;
/** What the line carries in a second, and so what a pull adds to the disk. */
const rate = 2 * mebi;
const maxSize = 8 * mebi;

describe.each([
  { engine: 'embedded', paced: false, above: 2 * mebi },
  // nginx looks at its cache every ten seconds, so the pace matters.
  { engine: 'nginx', paced: true, above: 10 * rate },
] as const)('the disk of a pool ($engine)', ({ engine, paced, above }) => {
  it('never holds more than its limit and what the link brings in ten seconds, and pulls go on', async () => {
    await using whole = await startWholePool(engine, {
      link: { down: rate * 8, prewarm: 0, prewarmDay: 0 },
    });
    const { pool } = whole;
    await whole.running.reconfigure({ ...pool, cache: { ...pool.cache, maxSize } });
    let most = 0;
    const started = performance.now();

    // Several times what it may have.
    for (let pulled = 0; pulled < (paced ? 34 : 20) * mebi; pulled += 2 * mebi) {
      const image = await pushImage(whole.origin.registry, 2 * mebi);
      const answer = await whole.get(image.blob, await whole.token(image.repository));
      expect(answer.body.length).toBe(2 * mebi);
      most = Math.max(most, await bytesBelow(pool.cache.folder));
      if (!paced) continue;
      const due = started + ((pulled + 2 * mebi) / rate) * 1000;
      await delay(Math.max(0, due - performance.now()));
    }

    expect(most).toBeGreaterThan(4 * mebi);
    expect(most).toBeLessThanOrEqual(maxSize + above);
  });
});

/** What the files below `folder` hold; those that go meanwhile hold nothing. */
async function bytesBelow(folder: string): Promise<number> {
  const names = await readdir(folder, { recursive: true });
  const sizes = await Promise.all(
    names.map(async (name) => {
      const found = await stat(join(folder, name)).catch(() => undefined);
      return found?.isFile() === true ? found.size : 0;
    }),
  );
  return sizes.reduce((sum, size) => sum + size, 0);
}
