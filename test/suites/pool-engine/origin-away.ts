import { isDeepStrictEqual } from 'node:util';
import { describe, expect, it } from 'vitest';
import type { OriginHealth } from '../../../cache-proxy/agent/health.ts';
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
} from './fixture.ts';

/** What a pool answers while its origin cannot: what it has, at once; for the rest 503, soon. Nothing hangs. */
export function originAwaySuite(under: EngineUnderTest): void {
  describe('while the origin is away', () => {
    it.each<[string, (test: TestPool) => Promise<void> | void]>([
      ['refuses connections', ({ origin }) => origin.refuse()],
      ['hangs', ({ origin }) => setRule(origin, { hang: true })],
      ['answers 500', ({ origin }) => setRule(origin, { status: 500 })],
      ['answers 503', ({ origin }) => setRule(origin, { status: 503 })],
      ['answers 429', ({ origin }) => setRule(origin, { status: 429, headers: { 'retry-after': '1' } })],
      ['breaks off', ({ origin }) => setRule(origin, { cutBefore: 0 })],
    ])('and %s, what was pulled goes on being pulled, and the rest is 503', async (_, breakIt) => {
      await using test = await openTestPool(under);
      const image = await pushImage(test.origin.registry, 2 * slice);
      const never = await pushImage(test.origin.registry);
      for (const path of [image.byTag, image.byDigest, image.blob]) await test.get(path);
      // Partly there.
      await test.get(never.blob, { range: 'bytes=0-9' });

      await breakIt(test);

      for (let round = 0; round < 3; round += 1) {
        // The 3 s, on a machine that is three times slower.
        const byTag = await within(10_000, test.get(image.byTag));
        expectBytes(byTag.body, image.manifest);
        expect(byTag.headers['docker-content-digest']).toBe(image.manifestDigest);
        expect((await within(10_000, test.call('HEAD', image.byTag))).status).toBe(200);
        expectBytes((await within(5000, test.get(image.byDigest))).body, image.manifest);
        expectBytes((await within(5000, test.get(image.blob))).body, image.layer);
      }
      for (const path of [never.byTag, never.byDigest]) {
        const answer = await within(15_000, test.get(path));
        expect([answer.status, answer.code]).toEqual([503, 'UNAVAILABLE']);
        expect(Number(answer.headers['retry-after'])).toBeGreaterThan(0);
      }
      const other = await pushImage(test.origin.registry);
      const blob = await within(15_000, test.get(other.blob));
      expect([blob.status, blob.code]).toEqual([503, 'UNAVAILABLE']);
      // A layer that is partly there ends early or is 503, but it ends.
      await within(
        30_000,
        test.get(never.blob).catch(() => {}),
      );
    });

    it('and comes back, its word counts again', async () => {
      await using test = await openTestPool(under);
      const image = await pushImage(test.origin.registry);
      const never = await pushImage(test.origin.registry);
      await test.get(image.byTag);
      await test.origin.refuse();
      expect((await test.get(image.byTag)).status).toBe(200);
      expect((await test.get(never.blob)).status).toBe(503);
      const next = await moveTag(test.origin.registry, image.repository);

      await test.origin.accept();

      await waitFor(async () => (await test.get(image.byTag)).body.equals(next.bytes), {
        what: 'the moved tag',
        timeoutMs: 60_000,
      });
      await waitFor(async () => (await test.get(never.blob)).status === 200, {
        what: 'what was not there',
        timeoutMs: 60_000,
      });
    });

    it('and answers over a line that crawls, a tag is asked for once, and nobody waits for it', async () => {
      // A machine may stand still for longer than the pool has patience with its line, but not each time.
      const attempts: (readonly [path: string, status: number | undefined])[][] = [];
      while (attempts.length < 3) {
        const line = crawlingLine();
        await using test = await openTestPool(under, {}, line.health);
        const image = await pushImage(test.origin.registry);
        await test.get(image.byTag);
        const before = test.origin.seen.length;
        const answer = held();
        test.origin.rule = () => ({ after: answer.until });
        line.crawls = true;

        for (let round = 0; round < 3; round += 1) {
          expectBytes((await test.get(image.byTag)).body, image.manifest);
        }

        // No answer yet, and no second question: whoever waits in vain asks whether anybody is there.
        const asked = test.origin.seen.slice(before).map(({ path, status }) => [path, status] as const);
        answer.release();
        if (isDeepStrictEqual(asked, [[image.byTag, undefined]])) return;
        attempts.push(asked);
      }
      expect(attempts).toEqual([]);
    });

    it('and answers over a line that crawls, a tag that moved arrives', async () => {
      const line = crawlingLine();
      await using test = await openTestPool(under, {}, line.health);
      const image = await pushImage(test.origin.registry);
      await test.get(image.byTag);
      const answer = held();
      test.origin.rule = () => ({ after: answer.until });
      line.crawls = true;
      expectBytes((await test.get(image.byTag)).body, image.manifest);
      const next = await moveTag(test.origin.registry, image.repository);

      answer.release();

      await waitFor(async () => (await test.get(image.byTag)).body.equals(next.bytes), {
        what: 'the moved tag',
        timeoutMs: 60_000,
      });
    });

    it('and its name cannot be resolved, the answer is 503', async () => {
      await using test = await openTestPool(under);
      const image = await pushImage(test.origin.registry);
      await test.get(image.byTag);
      // RFC 6761: `.invalid` is never a name.
      const nowhere = { ...test.pool.origin, urls: ['http://registry.invalid:5000'] };

      await test.engine.reconfigure({ ...test.pool, origin: nowhere });

      const never = await pushImage(test.origin.registry);
      expectBytes((await within(10_000, test.get(image.byTag))).body, image.manifest);
      expect((await within(15_000, test.get(never.byTag))).status).toBe(503);
    });
  });
}

/** What the agent of a pool knows of its line. */
function crawlingLine(): { crawls: boolean; readonly health: OriginHealth } {
  const line = {
    crawls: false,
    health: {
      away: false,
      get hurry() {
        return line.crawls ? 20 : undefined;
      },
      answered() {},
      asking: () => () => {},
      failed() {},
      snapshot: () => ({ state: 'up' as const }),
      close() {},
    },
  };
  return line;
}

function setRule(
  origin: TestPool['origin'],
  behaviour: ReturnType<NonNullable<TestPool['origin']['rule']>>,
): void {
  origin.rule = () => behaviour;
}

async function within<T>(milliseconds: number, answer: Promise<T>): Promise<T> {
  const started = performance.now();
  const value = await answer;
  expect(performance.now() - started).toBeLessThan(milliseconds);
  return value;
}
