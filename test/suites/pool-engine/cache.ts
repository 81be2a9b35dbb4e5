import { once } from 'node:events';
import { connect } from 'node:net';
import { buffer } from 'node:stream/consumers';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { CacheEntry } from '../../../cache-proxy/pool-engine.ts';
import { waitFor } from '../../helpers/process.ts';
import {
  type EngineUnderTest,
  expectBytes,
  held,
  openTestPool,
  pushImage,
  settle,
  slice,
  type TestContent,
  type TestPool,
} from './fixture.ts';

/** What lies on the disk, what is told about requests, and what happens to both while the engine goes on. */
export function cacheSuite(under: EngineUnderTest): void {
  describe('its cache', () => {
    let test: TestPool;
    beforeAll(async () => {
      test = await openTestPool(under);
    });
    afterEach(() => settle(test));
    afterAll(() => test.close());

    const warm = async (layerBytes?: number): Promise<TestContent> => {
      const image = await pushImage(test.origin.registry, layerBytes);
      for (const path of [image.byTag, image.byDigest, image.blob]) await test.get(path);
      await waitFor(async () => (await test.engine.cache.coverage(image.layerDigest)).whole, {
        what: 'the layer in the cache',
        timeoutMs: 20_000,
      });
      return image;
    };
    const entriesOf = async (image: TestContent): Promise<CacheEntry[]> => {
      const entries: CacheEntry[] = [];
      for await (const entry of test.engine.cache.entries()) {
        const { digest, repository } = entry;
        if (digest === image.layerDigest || repository === image.repository) entries.push(entry);
      }
      return entries;
    };

    it('tells what it holds, and reads it', async () => {
      const image = await warm(3 * slice + 7);

      const entries = await entriesOf(image);

      const offsets = entries.filter(({ kind }) => kind === 'blob').map(({ offset }) => offset ?? -1);
      expect(offsets.toSorted((a, b) => a - b)).toEqual([0, slice, 2 * slice, 3 * slice]);
      expect(
        entries
          .filter(({ kind }) => kind !== 'blob')
          .map(({ kind, tag }) => `${kind} ${tag ?? ''}`)
          .toSorted((a, b) => (a < b ? -1 : 1)),
      ).toEqual(['manifest ', 'tag v1']);
      const coverage = await test.engine.cache.coverage(image.layerDigest);
      expect(coverage).toEqual({ cached: image.layer.length, size: image.layer.length, whole: true });
      const body = await test.engine.cache.read(image.layerDigest);
      expectBytes(body === undefined ? Buffer.of() : await buffer(body), image.layer);
      const usage = await test.engine.cache.usage();
      expect(usage.entries).toBeGreaterThanOrEqual(entries.length);
      expect(usage.bytes).toBeGreaterThanOrEqual(image.layer.length);
    });

    it('tells what it holds of a layer that is partly there', async () => {
      const image = await pushImage(test.origin.registry, 4 * slice);
      await test.get(image.blob, { range: `bytes=${slice}-${2 * slice - 1}` });

      await waitFor(async () => (await test.engine.cache.coverage(image.layerDigest)).cached === slice, {
        what: 'one piece',
        timeoutMs: 20_000,
      });

      expect(await test.engine.cache.coverage(image.layerDigest)).toMatchObject({
        cached: slice,
        whole: false,
      });
      expect(await test.engine.cache.read(image.layerDigest)).toBeUndefined();
      expect(await test.engine.cache.read(image.manifestDigest)).toBeUndefined();
    });

    it('forgets a blob by its digest', async () => {
      const image = await warm();
      const before = test.origin.bodyBytes(image.layerDigest);

      const freed = await test.engine.cache.purge({ digest: image.layerDigest });

      expect(freed.entries).toBe(image.layer.length / slice);
      expect(freed.bytes).toBeGreaterThanOrEqual(image.layer.length);
      expect(await test.engine.cache.coverage(image.layerDigest)).toMatchObject({ cached: 0, whole: false });
      expectBytes((await test.get(image.blob)).body, image.layer);
      expect(test.origin.bodyBytes(image.layerDigest)).toBe(before + image.layer.length);
    });

    it('forgets a tag, and leaves the rest', async () => {
      const image = await warm();

      expect((await test.engine.cache.purge({ repository: image.repository, tag: 'v1' })).entries).toBe(1);

      test.origin.rule = () => ({ status: 503 });
      expect((await test.get(image.byTag)).status).toBe(503);
      expect((await test.get(image.byDigest)).status).toBe(200);
      expect((await test.get(image.blob)).status).toBe(200);
    });

    it('forgets a repository, but not the blobs that others may have, too', async () => {
      const image = await warm();

      await test.engine.cache.purge({ repository: image.repository });

      expect((await entriesOf(image)).filter(({ kind }) => kind !== 'blob')).toEqual([]);
      test.origin.rule = () => ({ status: 503 });
      expect((await test.get(image.byTag)).status).toBe(503);
      expect((await test.get(image.byDigest)).status).toBe(503);
      expect((await test.get(image.blob)).status).toBe(200);
    });

    it('is there again after a restart', async () => {
      const image = await warm(3 * slice + 1);

      await test.restart();

      test.origin.rule = () => ({ status: 503 });
      expectBytes((await test.get(image.byTag)).body, image.manifest);
      expectBytes((await test.get(image.byDigest)).body, image.manifest);
      expectBytes((await test.get(image.blob)).body, image.layer);
      await waitFor(async () => (await test.engine.cache.coverage(image.layerDigest)).whole, {
        what: 'the layer in the index',
        timeoutMs: 20_000,
      });
    });
  });

  describe('its records', () => {
    it('tell of every request, and of every fetch that was made for it', async () => {
      await using test = await openTestPool(under);
      const image = await pushImage(test.origin.registry, 2 * slice + 10);
      await test.get(image.blob);
      await test.get(image.blob);
      await test.get(image.byTag, { authorization: 'Bearer prewarm' });
      await test.get(image.byDigest, { authorization: 'Bearer bob' });

      const clients = (): typeof test.records => test.records.filter(({ side }) => side === 'client');
      await waitFor(() => clients().length >= 4, { what: 'the records', timeoutMs: 20_000 });

      const common = { method: 'GET', repository: image.repository };
      const [cold, hit, prewarmed, denied] = clients();
      const blob = { ...common, kind: 'blob', digest: image.layerDigest, prewarm: false };
      expect(cold).toMatchObject({ ...blob, status: 200, cache: 'miss', bytes: image.layer.length });
      expect(cold?.client).toMatch(/127\.0\.0\.1$/);
      expect(hit).toMatchObject({ ...blob, status: 200, cache: 'hit', bytes: image.layer.length });
      expect(prewarmed).toMatchObject({ ...common, kind: 'tag', tag: 'v1', status: 200, prewarm: true });
      expect(prewarmed?.client).toBeUndefined();
      expect(denied).toMatchObject({ ...common, kind: 'manifest', status: 403, prewarm: false });
      const fetches = test.records.filter(({ side, id }) => side === 'origin' && id === cold?.id);
      expect(fetches.reduce((sum, { bytes }) => sum + bytes, 0)).toBeGreaterThanOrEqual(image.layer.length);
      // Prewarming gives way by these: a record that waited for the whole layer would come too late.
      expect(fetches.map(({ bytes }) => bytes)).toHaveLength(3);
      expect(test.records.filter(({ side, id }) => side === 'origin' && id === hit?.id)).toEqual([]);
      expect(Math.abs(Date.now() - (cold?.time ?? 0))).toBeLessThan(60_000);
    });
  });

  describe('its life', () => {
    it('takes another configuration while layers are being sent', async () => {
      await using test = await openTestPool(under);
      const images = await Promise.all(
        Array.from({ length: 5 }, () => pushImage(test.origin.registry, 4 * slice)),
      );
      const rest = held();
      test.origin.rule = () => ({ pauseBefore: 2 * slice + 10, until: rest.until });
      const clients = await Promise.all(images.map(({ blob }) => test.open(blob)));
      const bodies = clients.map((client) => buffer(client));
      const { url } = test.engine;

      await test.engine.reconfigure({
        ...test.pool,
        upstreams: [{ ns: 'renamed.test', urls: [test.other.url], allow: [], deny: [] }],
      });
      const foreign = await pushImage(test.other.registry);
      const renamed = await test.get(`${foreign.byTag}?ns=renamed.test`);
      rest.release();

      expect([test.engine.url, renamed.status]).toEqual([url, 200]);
      for (const [at, body] of (await Promise.all(bodies)).entries()) {
        expectBytes(body, images[at]?.layer ?? Buffer.of());
      }
    });

    it('refuses a configuration for another listener, and goes on as it was', async () => {
      await using test = await openTestPool(under);
      const image = await pushImage(test.origin.registry);

      await expect(test.engine.reconfigure({ ...test.pool, listen: '127.0.0.1:1' })).rejects.toThrow(
        /restart/i,
      );

      expect((await test.get(image.byTag)).status).toBe(200);
    });

    it('lets what is under way end, and then nobody listens', async () => {
      await using test = await openTestPool(under);
      const image = await pushImage(test.origin.registry, 4 * slice);
      const rest = held();
      test.origin.rule = () => ({ pauseBefore: 2 * slice, until: rest.until });
      const client = await test.open(image.blob);
      const body = buffer(client);

      const closed = test.engine.close();
      rest.release();

      expectBytes(await body, image.layer);
      await closed;
      const { hostname, port } = new URL(test.engine.url);
      const [error] = (await once(connect(Number(port), hostname), 'error')) as [NodeJS.ErrnoException];
      expect(error.code).toBe('ECONNREFUSED');
    });
  });
}
