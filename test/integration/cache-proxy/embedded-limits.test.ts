import { describe, expect, it } from 'vitest';
import { startEmbeddedEngine } from '../../../cache-proxy/embedded/start-embedded-engine.ts';
import { makePool } from '../../helpers/pool.ts';
import { waitFor } from '../../helpers/process.ts';
import {
  type EngineUnderTest,
  expectBytes,
  held,
  moveTag,
  openTestPool,
  pushImage,
  slice,
  type TestPool,
} from '../../suites/pool-engine/fixture.ts';

const embedded: EngineUnderTest = { kind: 'embedded', start: startEmbeddedEngine, verifies: true };

/** A pool whose cache has other limits than the suite's; the slice stays the suite's. */
function openLimited(limits: { maxSize?: number; minFree?: number }): Promise<TestPool> {
  const start: EngineUnderTest['start'] = (pool, deps) =>
    startEmbeddedEngine({ ...pool, cache: { ...pool.cache, ...limits } }, deps);
  return openTestPool({ ...embedded, start });
}

describe('the embedded engine’s cache, when it is too small', () => {
  it('a layer that does not fit is sent whole, to many at once, and the disk is never over the limit', async () => {
    const maxSize = 3 * slice;
    await using test = await openLimited({ maxSize });
    const image = await pushImage(test.origin.registry, 8 * slice);
    let most = 0;
    let going = true;
    const watching = (async () => {
      while (going) {
        most = Math.max(most, (await test.engine.cache.usage()).bytes);
        await new Promise((resolve) => setImmediate(resolve));
      }
    })();

    const answers = await Promise.all(Array.from({ length: 4 }, () => test.get(image.blob)));
    going = false;
    await watching;

    for (const answer of answers) expectBytes(answer.body, image.layer);
    expect(most).toBeGreaterThan(0);
    expect(most).toBeLessThanOrEqual(maxSize);
  });

  it('a disk without room keeps nothing, and every pull is answered', async () => {
    await using test = await openLimited({ minFree: Number.MAX_SAFE_INTEGER });
    const image = await pushImage(test.origin.registry, 2 * slice + 3);

    for (const [path, content] of [
      [image.byTag, image.manifest],
      [image.byDigest, image.manifest],
      [image.blob, image.layer],
      [image.blob, image.layer],
    ] as const) {
      const answer = await test.get(path);
      expect(answer.status).toBe(200);
      expectBytes(answer.body, content);
    }
    const range = await test.get(image.blob, { range: `bytes=${slice}-` });
    expectBytes(range.body, image.layer.subarray(slice));
    expect(await test.engine.cache.usage()).toEqual({ entries: 0, bytes: 0 });
  });

  it('what was not pulled for longest makes room for what is', async () => {
    await using test = await openLimited({ maxSize: 5 * slice });
    const images = [
      await pushImage(test.origin.registry, 2 * slice),
      await pushImage(test.origin.registry, 2 * slice),
      await pushImage(test.origin.registry, 2 * slice),
    ] as const;

    for (const at of [0, 1, 0, 2] as const) expect((await test.get(images[at].blob)).status).toBe(200);

    const covered = await Promise.all(
      images.map(async ({ layerDigest }) => (await test.engine.cache.coverage(layerDigest)).cached / slice),
    );
    expect(covered).toEqual([2, 1, 2]);
  });
});

describe('an origin that answers too slowly', () => {
  it('makes one client wait a little, and the next ones not at all', async () => {
    await using test = await openTestPool(embedded);
    const image = await pushImage(test.origin.registry);
    const second = await pushImage(test.origin.registry);
    for (const path of [image.byTag, second.byTag]) await test.get(path);
    const [next, rest] = [await moveTag(test.origin.registry, image.repository), held()];
    // As a line of a few bytes in a second: the answer begins, and goes on for long.
    test.origin.rule = () => ({ pauseBefore: 10, until: rest.until });

    expectBytes((await test.get(image.byTag)).body, image.manifest);
    const started = performance.now();
    for (let round = 0; round < 5; round += 1) {
      expectBytes((await test.get(image.byTag)).body, image.manifest);
      expectBytes((await test.get(second.byTag)).body, second.manifest);
    }

    // Ten answers; each would have taken 2.5 s.
    expect(performance.now() - started).toBeLessThan(5000);
    rest.release();
    test.origin.rule = undefined;
    await waitFor(async () => (await test.get(image.byTag)).body.equals(next.bytes), {
      what: 'the origin’s own word again',
      timeoutMs: 60_000,
    });
  });
});

describe('another pool asks the embedded engine', () => {
  it('for what it has, and gets 504 for the rest, without a question to the origin', async () => {
    await using test = await openTestPool(embedded);
    const image = await pushImage(test.origin.registry, 4 * slice);
    const only = { 'cache-control': 'only-if-cached' };
    expect((await test.get(image.blob, only)).status).toBe(504);
    expect(test.origin.bodyBytes(image.layerDigest)).toBe(0);
    await test.get(image.blob, { range: `bytes=0-${2 * slice - 1}` });
    const before = test.origin.seen.length;

    const here = await test.get(image.blob, { ...only, range: `bytes=${slice}-${2 * slice - 1}` });
    const partly = await test.get(image.blob, { ...only, range: `bytes=${slice}-${2 * slice}` });
    const denied = await test.get(image.blob, { ...only, authorization: 'Bearer bob' });

    expect([here.status, partly.status, denied.status]).toEqual([206, 504, 403]);
    expectBytes(here.body, image.layer.subarray(slice, 2 * slice));
    expect(test.origin.seen.length).toBe(before);
  });

  it('and is asked before the origin as a parent', async () => {
    await using parent = await openTestPool(embedded);
    await using child = await openTestPool(embedded, {
      parents: [{ name: 'parent', endpoint: parent.engine.url }],
    });
    // The child signs in with the pool's own account there.
    parent.agent.rule = () => ({ outcome: 'allowed', prewarm: false });
    const image = await pushImage(parent.origin.registry, 4 * slice);
    await child.origin.registry.putBlob(image.repository, image.layerDigest, image.layer);
    await parent.get(image.blob, { range: `bytes=0-${4 * slice - 1}` });

    expectBytes((await child.get(image.blob)).body, image.layer);

    expect(child.origin.bodyBytes(image.layerDigest)).toBe(0);
  });
});

describe('the embedded engine’s listener', () => {
  it('says what is wrong with an address that is taken', async () => {
    await using test = await openTestPool(embedded);
    const pool = makePool({
      folder: `${test.pool.folder}/second`,
      listen: test.pool.listen,
      origin: [test.origin.url],
    });
    const deps = {
      gate: test.agent.gate,
      agent: test.agent.address,
      onRecord() {},
      log: { info() {}, warn() {}, error() {} },
    };

    await expect(startEmbeddedEngine(pool, deps)).rejects.toThrow(`the pool cannot listen on ${pool.listen}`);
  });
});
