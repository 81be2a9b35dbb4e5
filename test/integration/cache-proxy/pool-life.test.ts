import { open, readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readAgentKey } from '../../../cache-proxy/agent/agent-key.ts';
import { waitFor } from '../../helpers/process.ts';
import { send } from '../../helpers/raw-http.ts';
import { expectBytes, pushImage, type TestContent } from '../../suites/pool-engine/fixture.ts';
import { startWholePool, type WholePool } from './pool-fixture.ts';

describe.each(['embedded', 'nginx'] as const)('a pool that runs (%s)', (engine) => {
  let whole: WholePool;
  let image: TestContent;
  let token: string;
  let authorization: string;

  beforeAll(async () => {
    whole = await startWholePool(engine);
    image = await pushImage(whole.origin.registry, 1024 * 1024);
    token = await whole.token(image.repository);
    authorization = `Bearer ${await readAgentKey(whole.folder)}`;
  });
  afterAll(() => whole?.close());

  const agent = (method: string, path: string, body?: object) =>
    send(`http://${whole.running.agent}`, method, path, {
      headers: { authorization, ...(body === undefined ? {} : { 'content-type': 'application/json' }) },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });

  it('finds a damaged layer when the same node asks for it again, and fetches it anew', async () => {
    expectBytes((await whole.get(image.blob, token)).body, image.layer);
    await flipByte(whole.pool.cache.folder);

    await waitFor(async () => (await whole.get(image.blob, token)).body.equals(image.layer), {
      what: 'the right bytes',
    });

    await waitFor(
      async () => {
        const { scrub } = JSON.parse((await agent('GET', '/_pool/status')).body.toString()) as {
          scrub: { damaged: number };
        };
        return scrub.damaged === 1;
      },
      { what: 'the count of damaged layers' },
    );
  });

  it('forgets what it is told to, and only by who has the key', async () => {
    await whole.get(image.blob, token);
    const body = { reference: image.layerDigest };

    const stranger = await send(`http://${whole.running.agent}`, 'POST', '/_pool/purge', {
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
    });
    const nonsense = await agent('POST', '/_pool/purge', { reference: '../etc' });
    const done = await agent('POST', '/_pool/purge', body);
    const again = await agent('POST', '/_pool/purge', body);

    expect([stranger.status, nonsense.status]).toEqual([401, 400]);
    expect(nonsense.body.toString()).toContain('is no image: say team/app:tag');
    expect(JSON.parse(done.body.toString())).toMatchObject({ entries: expect.any(Number) });
    expect((JSON.parse(done.body.toString()) as { bytes: number }).bytes).toBeGreaterThan(
      image.layer.length - 1,
    );
    expect(JSON.parse(again.body.toString())).toEqual({ entries: 0, bytes: 0 });
    expectBytes((await whole.get(image.blob, token)).body, image.layer);
  });

  it('changes its configuration ten times while nodes pull, and none of them notices', async () => {
    await whole.get(image.byTag, token);
    let ended = false;
    let pulls = 0;
    const wrong: number[] = [];
    const client = async (path: string, bytes: Buffer): Promise<void> => {
      while (!ended) {
        const answer = await whole.get(path, token).catch(() => undefined);
        pulls += 1;
        if (answer?.status !== 200 || !answer.body.equals(bytes)) wrong.push(answer?.status ?? 0);
      }
    };
    const clients = [
      client(image.byTag, image.manifest),
      client(image.byDigest, image.manifest),
      client(image.blob, image.layer),
      client(image.blob, image.layer),
    ];

    for (let change = 0; change < 10; change += 1) {
      const { pool } = whole;
      const inactive = pool.cache.inactive + change * 1000;
      await whole.running.reconfigure({ ...pool, cache: { ...pool.cache, inactive } });
      const before = pulls;
      await waitFor(() => pulls > before + 8, { what: 'pulls between two changes' });
    }
    ended = true;
    await Promise.all(clients);

    expect(wrong).toEqual([]);
    expect(pulls).toBeGreaterThan(80);
  });

  it('says what needs a restart, and goes on as before', async () => {
    const { pool } = whole;

    await expect(whole.running.reconfigure({ ...pool, listen: '127.0.0.1:1' })).rejects.toThrow(
      'listen of the pool test changed; that needs a restart',
    );

    expect((await whole.get(image.blob, token)).status).toBe(200);
  });

  it('tells its health to everybody, and what it counted', async () => {
    const health = await send(`http://${whole.running.agent}`, 'GET', '/healthz');
    expect(health.status).toBe(200);
    expect(JSON.parse(health.body.toString())).toMatchObject({
      pool: 'test',
      engine: { kind: engine, state: 'up', url: whole.running.url },
      origin: { state: 'up' },
      cache: { maxSize: whole.pool.cache.maxSize },
    });

    const metrics = await waitFor(
      async () => {
        const text = (await send(`http://${whole.running.agent}`, 'GET', '/metrics')).body.toString();
        return /brickyard_pool_requests_total\{kind="blob",cache="hit",status="2xx"\} \d/.test(text) && text;
      },
      { what: 'hits in the metrics' },
    );

    for (const name of [
      'brickyard_pool_hit_ratio_bytes',
      'brickyard_pool_saved_bytes',
      'brickyard_pool_origin_bytes_total{kind="blob",cause="client"}',
      'brickyard_pool_verdict_seconds_count{outcome="allowed"}',
      'brickyard_pool_first_byte_seconds_count{kind="blob"',
      'brickyard_pool_damaged_blobs_total 1',
      'brickyard_pool_evicted_bytes_total',
      'brickyard_pool_cache_bytes',
    ]) {
      expect(metrics).toContain(name);
    }
  });
});

/** Changes the last byte of the largest file below `folder`. */
async function flipByte(folder: string): Promise<void> {
  const names = await readdir(folder, { recursive: true });
  const sizes = await Promise.all(
    names.map(async (name) => {
      const path = join(folder, name);
      const found = await stat(path);
      return { path, size: found.isFile() ? found.size : 0 };
    }),
  );
  const [largest] = sizes.sort((a, b) => b.size - a.size);
  if (largest === undefined) throw new Error('nothing is cached');
  const file = await open(largest.path, 'r+');
  const byte = Buffer.alloc(1);
  await file.read(byte, 0, 1, largest.size - 1);
  byte[0] = (byte[0] ?? 0) ^ 0xff;
  await file.write(byte, 0, 1, largest.size - 1);
  await file.close();
}
