import { describe, expect, it } from 'vitest';
import { startEmbeddedEngine } from '../../../cache-proxy/embedded/start-embedded-engine.ts';
import { createEngineClient } from '../../../cache-proxy/prewarm/engine-client.ts';
import { createPace } from '../../../cache-proxy/prewarm/pace.ts';
import type { FetchItem } from '../../../cache-proxy/prewarm/plan.ts';
import { runWarm, touch } from '../../../cache-proxy/prewarm/warm.ts';
import { openTestPool, pushImage, slice } from '../../suites/pool-engine/fixture.ts';

describe('keeping what is pinned', () => {
  it('asks for a byte of each slice, and brings back what is gone', async () => {
    await using test = await openTestPool({
      kind: 'embedded',
      start: startEmbeddedEngine,
      verifies: true,
    });
    const image = await pushImage(test.origin.registry, 3 * slice + 10);
    const engine = createEngineClient({ url: test.engine.url, authorization: () => 'Bearer alice' });
    const pace = createPace({ link: { down: 1e9, prewarm: 1e9, prewarmDay: 1e9 } });
    const item: FetchItem = {
      kind: 'blob',
      repository: image.repository,
      reference: image.layerDigest,
      size: image.layer.length,
      missing: 0,
      reason: 'pinned',
      probability: 1,
    };
    try {
      const report = await runWarm([item], { engine, pace, slice });
      expect(report).toMatchObject({ missed: image.layer.length, hit: 0, failed: 0 });
      const before = test.records.length;

      await touch([item], { engine, pace, slice });

      const touched = test.records.slice(before).filter(({ kind }) => kind === 'blob');
      expect(touched.map(({ side, bytes, cache }) => [side, bytes, cache])).toEqual(
        Array.from({ length: 4 }, () => ['client', 1, 'hit']),
      );
      await test.engine.cache.purge({ digest: image.layerDigest });
      await touch([item], { engine, pace, slice });
      expect((await test.engine.cache.coverage(image.layerDigest)).cached).toBe(image.layer.length);
    } finally {
      engine.close();
    }
  });
});
