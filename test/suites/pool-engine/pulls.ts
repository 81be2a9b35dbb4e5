import { once } from 'node:events';
import { buffer } from 'node:stream/consumers';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { waitFor } from '../../helpers/process.ts';
import {
  type EngineUnderTest,
  expectBytes,
  held,
  openTestPool,
  pushImage,
  settle,
  slice,
  type TestPool,
} from './fixture.ts';

/** Layers and manifests by digest: what never changes. */
export function pullSuite(under: EngineUnderTest): void {
  describe('pulls by digest', () => {
    let test: TestPool;
    beforeAll(async () => {
      test = await openTestPool(under);
    });
    afterEach(() => settle(test));
    afterAll(() => test.close());

    it('the origin sends a layer once, however many clients ask for it at the same time', async () => {
      const image = await pushImage(test.origin.registry, 1024 * 1024 + 17);

      const answers = await Promise.all(Array.from({ length: 20 }, () => test.get(image.blob)));

      for (const answer of answers) expectBytes(answer.body, image.layer);
      expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([200]));
      expect(test.origin.bodyBytes(image.layerDigest)).toBeLessThanOrEqual(image.layer.length * 1.01);
    });

    it('the origin does not send a manifest to each client that asks for it at the same time', async () => {
      const image = await pushImage(test.origin.registry);
      const rest = held();
      test.origin.rule = () => ({ after: rest.until });
      const allowed = test.agent.asked.length + 20;
      const asked = Array.from({ length: 20 }, () => test.get(image.byDigest));
      await waitFor(() => test.agent.asked.length >= allowed, { what: 'twenty who may have it' });
      rest.release();

      for (const answer of await Promise.all(asked)) expectBytes(answer.body, image.manifest);
      // Once, and again for who came as the answer did.
      const sent = test.origin.seen.filter(({ path }) => path.includes(image.manifestDigest));
      expect(sent.length).toBeLessThan(10);
    });

    it('what was pulled once is not asked for again, and keeps its headers', async () => {
      const image = await pushImage(test.origin.registry);
      const paths = [image.blob, image.byDigest];
      const first = await Promise.all(paths.map((path) => test.get(path)));
      const before = test.origin.seen.length;

      const second = await Promise.all(paths.map((path) => test.get(path)));

      expect(test.origin.seen.length).toBe(before);
      expectBytes(second[0]?.body ?? Buffer.of(), image.layer);
      expectBytes(second[1]?.body ?? Buffer.of(), image.manifest);
      for (const name of ['docker-content-digest', 'content-type', 'content-length']) {
        expect(second.map(({ headers }) => headers[name])).toEqual(first.map(({ headers }) => headers[name]));
      }
      expect(second.map(({ headers }) => headers['docker-content-digest'])).toEqual([
        image.layerDigest,
        image.manifestDigest,
      ]);
    });

    it('HEAD of a manifest is answered as GET, without its body', async () => {
      const image = await pushImage(test.origin.registry);

      const head = await test.call('HEAD', image.byDigest);

      expect([head.status, head.body.length]).toEqual([200, 0]);
      expect(head.headers['content-length']).toBe(String(image.manifest.length));
      expect(head.headers['docker-content-digest']).toBe(image.manifestDigest);
    });

    it('a client gets bytes while the rest still arrives', async () => {
      const image = await pushImage(test.origin.registry);
      const rest = held();
      test.origin.rule = () => ({ pauseBefore: 3 * slice, until: rest.until });

      const clients = await Promise.all([test.open(image.blob), test.open(image.blob)]);
      const firsts = clients.map((client) => once(client, 'data'));
      const bodies = clients.map((client) => buffer(client));
      await Promise.all(firsts);
      rest.release();

      for (const body of await Promise.all(bodies)) expectBytes(body, image.layer);
    });

    describe('ranges', () => {
      const size = 5 * slice + 100;
      it.each([
        ['the first bytes', 'bytes=0-99', 0, 100],
        ['one byte at a border', `bytes=${slice}-${slice}`, slice, slice + 1],
        ['across borders', `bytes=${slice - 1}-${3 * slice}`, slice - 1, 3 * slice + 1],
        ['open at its end', `bytes=${4 * slice + 5}-`, 4 * slice + 5, size],
        ['the last bytes', 'bytes=-150', size - 150, size],
        ['beyond the end', `bytes=${size - 10}-${size + 1000}`, size - 10, size],
      ])('%s, from the origin and from the cache', async (_, range, start, end) => {
        const image = await pushImage(test.origin.registry, size);

        for (let round = 0; round < 2; round += 1) {
          const answer = await test.get(image.blob, { range });

          expect(answer.status).toBe(206);
          expect(answer.headers['content-range']).toBe(`bytes ${start}-${end - 1}/${size}`);
          expectBytes(answer.body, image.layer.subarray(start, end));
        }
        // Whole pieces, and the first one where an engine has to learn how long the layer is.
        const pieces = Math.ceil(end / slice) - Math.floor(start / slice) + 1;
        expect(test.origin.bodyBytes(image.layerDigest)).toBeLessThanOrEqual(pieces * slice);
      });

      it('that begins behind the end is 416', async () => {
        const image = await pushImage(test.origin.registry, size);
        await test.get(image.blob);

        const answer = await test.get(image.blob, { range: `bytes=${size}-` });

        expect(answer.status).toBe(416);
      });
    });

    it('an empty layer is pulled', async () => {
      const image = await pushImage(test.origin.registry, 0);

      const answers = [await test.get(image.blob), await test.get(image.blob)];

      expect(answers.map(({ status, body }) => [status, body.length])).toEqual([
        [200, 0],
        [200, 0],
      ]);
    });

    it('a client that leaves costs the others nothing, and what came for it is kept', async () => {
      const image = await pushImage(test.origin.registry, 6 * slice);
      const rest = held();
      test.origin.rule = () => ({ pauseBefore: slice + 1000, until: rest.until });
      const leaving = await test.open(image.blob);
      const staying = test.get(image.blob);
      await once(leaving, 'data');

      leaving.destroy();
      await once(leaving, 'close');
      rest.release();

      expectBytes((await staying).body, image.layer);
      expectBytes((await test.get(image.blob)).body, image.layer);
      expect(test.origin.bodyBytes(image.layerDigest)).toBeLessThanOrEqual(image.layer.length * 1.01);
    });

    it('a fetch goes on to the end of its piece when its only client has left', async () => {
      const image = await pushImage(test.origin.registry, 6 * slice);
      const rest = held();
      test.origin.rule = () => ({ pauseBefore: slice + 1000, until: rest.until });
      const leaving = await test.open(image.blob);
      await once(leaving, 'data');
      await waitFor(() => test.origin.bodyBytes(image.layerDigest) > slice, {
        what: 'the second piece on its way',
        timeoutMs: 20_000,
      });

      leaving.destroy();
      await once(leaving, 'close');
      rest.release();

      await waitFor(async () => (await test.engine.cache.coverage(image.layerDigest)).cached >= 2 * slice, {
        what: 'the piece that was under way',
        timeoutMs: 20_000,
      });
      test.origin.rule = undefined;
      expectBytes((await test.get(image.blob)).body, image.layer);
      expect(test.origin.bodyBytes(image.layerDigest)).toBeLessThanOrEqual(image.layer.length * 1.01);
    });

    it('a line that breaks in the middle of a layer costs the missing pieces only', async () => {
      const image = await pushImage(test.origin.registry, 8 * slice);
      test.origin.rule = () => ({ cutBefore: 5 * slice + 1000 });
      await test.get(image.blob).catch(() => {});
      const before = test.origin.bodyBytes(image.layerDigest);
      await settle(test);

      const answer = await test.get(image.blob);

      expectBytes(answer.body, image.layer);
      // Three were not sent; one more may have been on the line.
      expect(test.origin.bodyBytes(image.layerDigest) - before).toBeLessThanOrEqual(4 * slice);
    });

    if (under.verifies) {
      it('wrong bytes of the origin are never served from the cache', async () => {
        const image = await pushImage(test.origin.registry, 4 * slice);
        test.origin.rule = () => ({ damage: 3 * slice });
        const wrong = await Promise.allSettled([test.get(image.blob), test.get(image.blob)]);
        await settle(test);

        const right = await test.get(image.blob);

        // Broken off, rather than whole and wrong.
        expect(wrong.map(({ status }) => status)).toEqual(['rejected', 'rejected']);
        expectBytes(right.body, image.layer);
      });
    }

    it('a manifest that does not match its digest is not kept', async () => {
      const image = await pushImage(test.origin.registry);
      test.origin.rule = () => ({ damage: 20 });
      await test.get(image.byDigest).catch(() => {});
      await settle(test);
      if (!under.verifies) await test.engine.cache.purge({ digest: image.manifestDigest });

      expectBytes((await test.get(image.byDigest)).body, image.manifest);
    });
  });
}
