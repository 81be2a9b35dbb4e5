import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { readAgentKey } from '../../../cache-proxy/agent/agent-key.ts';
import { type RunningPool, startPool } from '../../../cache-proxy/agent/start-pool.ts';
import type { Pool } from '../../../cache-proxy/pools/pool.ts';
import type { PopularitySnapshot } from '../../../cache-proxy/popularity/snapshot.ts';
import { startPrewarming } from '../../../cache-proxy/prewarm/start-prewarming.ts';
import type { WarmReport } from '../../../cache-proxy/prewarm/warm.ts';
import type { WarmLine } from '../../../cache-proxy/prewarm/warm-handler.ts';
import { run } from '../../../cli/main.ts';
import { createSilentLogger } from '../../../core/log.ts';
import { createMetrics } from '../../../core/metrics.ts';
import { freePort } from '../../helpers/free-port.ts';
import { makePool } from '../../helpers/pool.ts';
import { type PoolOrigin, startPoolOrigin } from '../../helpers/pool-origin.ts';
import { waitFor } from '../../helpers/process.ts';
import { send } from '../../helpers/raw-http.ts';
import { createTempDirectory, type TempDirectory } from '../../helpers/temp.ts';
import { expectBytes, moveTag, pushImage, type TestContent } from '../../suites/pool-engine/fixture.ts';

const slice = 256 * 1024;
const clientAccept = [
  'application/vnd.docker.distribution.manifest.v2+json',
  'application/vnd.docker.distribution.manifest.list.v2+json',
  'application/vnd.oci.image.manifest.v1+json',
  'application/vnd.oci.image.index.v1+json',
  '*/*',
].join(', ');

describe.each(['embedded', 'nginx'] as const)('prewarming a pool (%s)', (engine) => {
  let folder: TempDirectory;
  let origin: PoolOrigin;
  let pool: Pool;
  let running: RunningPool;
  let authorization: string;

  beforeAll(async () => {
    folder = await createTempDirectory('prewarm');
    origin = await startPoolOrigin();
    const made = makePool({
      folder: folder.path,
      listen: `127.0.0.1:${await freePort()}`,
      agent: { listen: `127.0.0.1:${await freePort()}` },
      origin: [origin.url],
      engine,
      auth: { mode: 'open', offlineGrace: 0, anonymousRepositories: [] },
      prewarm: {
        always: ['base/**'],
        follow: ['team/followed:*'],
        topBytes: 0,
        halfLife: 86_400_000,
        maxLayer: 1e9,
      },
    });
    pool = { ...made, cache: { ...made.cache, slice } };
    await start();
    authorization = `Bearer ${await readAgentKey(folder.path)}`;
  });
  afterAll(async () => {
    await running?.close();
    await origin?.close();
    await folder?.remove();
  });
  beforeEach(() => {
    origin.rule = undefined;
  });

  async function start(): Promise<void> {
    running = await startPool(pool, {
      log: createSilentLogger(),
      metrics: createMetrics(),
      startPrewarming: (each, deps) =>
        startPrewarming(each, { ...deps, timing: { first: 50, plan: 500, poll: 200, gather: 10 } }),
    });
  }

  /** As containerd, Docker and Podman ask. */
  const nodeGets = (path: string) => send(running.url, 'GET', path, { headers: { accept: clientAccept } });

  /** Lines of the answer as they come. */
  async function* warm(references: readonly string[], signal?: AbortSignal): AsyncGenerator<WarmLine> {
    const answer = await fetch(`http://${running.agent}/_pool/warm`, {
      method: 'POST',
      headers: { authorization, 'content-type': 'application/json' },
      body: JSON.stringify({ references }),
      ...(signal === undefined ? {} : { signal }),
    });
    let rest = '';
    for await (const part of answer.body?.pipeThrough(new TextDecoderStream()) ?? []) {
      const lines = (rest + part).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) if (line !== '') yield JSON.parse(line) as WarmLine;
    }
  }

  async function report(references: readonly string[]): Promise<WarmReport> {
    for await (const line of warm(references)) if (line.event === 'report') return line.report;
    throw new Error('no report');
  }

  const reference = ({ repository }: TestContent): string => `${repository}:v1`;

  it('fetches an image slice by slice, so that nodes then pull it without the origin’s link', async () => {
    const image = await pushImage(origin.registry, 5 * slice + 1000);

    const first = await report([reference(image)]);

    expect(first).toMatchObject({ failed: 0, complete: true });
    expect(first.items.find((item) => item.reference === image.layerDigest)).toMatchObject({
      kind: 'blob',
      hit: 0,
      missed: image.layer.length,
    });
    expect(origin.bodyBytes(image.blob)).toBe(image.layer.length);
    const seen = origin.seen.length;
    expectBytes((await nodeGets(image.blob)).body, image.layer);
    expectBytes((await nodeGets(image.byDigest)).body, image.manifest);
    expectBytes((await nodeGets(image.byTag)).body, image.manifest);
    // On each pull the tag is compared with the origin's, and whether the image is in the repository is asked once; no byte of it comes again.
    const fetched = origin.seen
      .slice(seen)
      .filter(
        ({ method, path }) => method === 'GET' && path.includes(image.repository) && path !== image.byTag,
      );
    expect(fetched).toEqual([]);
  });

  it('gives out what it fetched also when the origin went away before the first node asked', async () => {
    const image = await pushImage(origin.registry, 2 * slice);
    await report([reference(image)]);
    const asked = (path: string) => origin.seen.some((each) => each.path === path && each.method === 'HEAD');
    await waitFor(async () => asked(image.blob) && asked(image.byDigest), {
      what: 'the agent to ask for rights',
    });

    await origin.refuse();
    try {
      expectBytes((await nodeGets(image.byTag)).body, image.manifest);
      expectBytes((await nodeGets(image.byDigest)).body, image.manifest);
      expectBytes((await nodeGets(image.blob)).body, image.layer);
    } finally {
      await origin.accept();
      await waitFor(async () => (await health()).origin.state !== 'away', { what: 'the origin to be back' });
    }
  });

  it('finds on a second run that there is nothing to fetch', async () => {
    const image = await pushImage(origin.registry, 2 * slice);
    await report([reference(image)]);

    const again = await report([reference(image)]);

    expect(again).toMatchObject({ missed: 0, failed: 0 });
    expect(origin.bodyBytes(image.blob)).toBe(image.layer.length);
  });

  it('goes on where the connection to the origin broke, and fetches no slice twice', async () => {
    const image = await pushImage(origin.registry, 4 * slice);
    let cuts = 0;
    origin.rule = ({ method, path }) => {
      if (method !== 'GET' || path !== image.blob || cuts > 0) return undefined;
      cuts += 1;
      return { cutBefore: slice / 2 };
    };

    const done = await report([reference(image)]);

    expect(done).toMatchObject({ failed: 0 });
    expect(cuts).toBe(1);
    expect(origin.bodyBytes(image.blob)).toBeLessThanOrEqual(image.layer.length + slice);
    expectBytes((await nodeGets(image.blob)).body, image.layer);
  });

  it('pauses while the origin is away, says so, and goes on by itself', async () => {
    const image = await pushImage(origin.registry, 3 * slice);
    let refused = 0;
    origin.rule = ({ method, path }) => {
      if (method !== 'GET' || path !== image.blob || refused > 0) return undefined;
      refused += 1;
      return { status: 503 };
    };
    const events: string[] = [];

    let last: WarmReport | undefined;
    for await (const line of warm([reference(image)])) {
      events.push(line.event);
      if (line.event === 'report') last = line.report;
    }

    expect(events).toContain('paused');
    expect(last).toMatchObject({ failed: 0, complete: true });
    expectBytes((await nodeGets(image.blob)).body, image.layer);
  });

  it('stops when whoever asked goes away', async () => {
    const image = await pushImage(origin.registry, 20 * slice);
    const left = new AbortController();
    let release = (): void => {};
    const until = new Promise<void>((resolve) => {
      release = resolve;
    });
    origin.rule = ({ path, headers }) =>
      path === image.blob && !String(headers.range).startsWith('bytes=0-')
        ? { pauseBefore: Number(/=(\d+)/.exec(String(headers.range))?.[1]), until }
        : undefined;

    for await (const line of warm([reference(image)], left.signal)) {
      if (line.event === 'progress') break;
    }
    left.abort();
    release();

    // What was under way arrives; then nothing more is asked for.
    let before = -1;
    await waitFor(
      async () => {
        const now = origin.bodyBytes(image.blob);
        const quiet = now === before;
        before = now;
        return quiet;
      },
      { what: 'an end of the fetching' },
    );
    expect(before).toBeLessThan(image.layer.length / 2);
  });

  it('tells what cannot be fetched, and fetches the rest', async () => {
    const image = await pushImage(origin.registry, slice);

    expect((await fetchStatus(['../etc'])).body).toContain('is no image');
    expect((await fetchStatus(['elsewhere.example/team/app'])).body).toContain('none of its upstreams');
    const mixed = await report(['team/nothing:v1', reference(image)]);
    expect(mixed.failed).toBe(1);
    expect(mixed.items[0]).toMatchObject({
      repository: 'team/nothing',
      reference: 'v1',
      error: expect.stringContaining('the pool answered 404'),
    });
    expect(origin.bodyBytes(image.blob)).toBe(image.layer.length);
  });

  async function fetchStatus(references: readonly string[]): Promise<{ status: number; body: string }> {
    const answer = await send(`http://${running.agent}`, 'POST', '/_pool/warm', {
      headers: { authorization, 'content-type': 'application/json' },
      body: JSON.stringify({ references }),
    });
    return { status: answer.status, body: answer.body.toString() };
  }

  it('fetches the next release of a followed tag before anybody asks', async () => {
    const image = await pushImage(origin.registry, 2 * slice);
    await copyTo(image, 'team/followed');
    const path = `/v2/team/followed/blobs/${image.layerDigest}`;
    await waitFor(async () => origin.bodyBytes(path) >= image.layer.length, {
      what: 'the layer in the pool',
    });

    const next = await moveTag(origin.registry, 'team/followed');
    const manifest = `/v2/team/followed/manifests/${next.digest}`;
    await waitFor(async () => origin.bodyBytes(manifest) > 0, { what: 'the next release in the pool' });

    expectBytes((await nodeGets(manifest)).body, next.bytes);
    expect(origin.bodyBytes(path)).toBe(image.layer.length);
  });

  it('keeps what is pinned', async () => {
    const image = await pushImage(origin.registry, 2 * slice);
    await copyTo(image, 'base/jdk');
    const path = `/v2/base/jdk/blobs/${image.layerDigest}`;

    await waitFor(async () => origin.bodyBytes(path) >= image.layer.length, {
      what: 'the layer in the pool',
    });

    expectBytes((await nodeGets(path)).body, image.layer);
    expect(origin.bodyBytes(path)).toBe(image.layer.length);
  });

  /** The same image under another name. */
  async function copyTo(image: TestContent, repository: string): Promise<void> {
    const { registry } = origin;
    await registry.putBlob(repository, image.layerDigest, image.layer);
    const { config } = JSON.parse(image.manifest.toString()) as { config: { digest: never } };
    await registry.mountBlob(repository, config.digest, image.repository);
    await registry.putManifest(
      repository,
      'v1',
      image.manifest,
      'application/vnd.oci.image.manifest.v1+json',
    );
  }

  it('is a command that tells what it fetches, and again what it fetched', async () => {
    const image = await pushImage(origin.registry, 2 * slice);
    const { stdout, stderr, code } = await command('pool', 'warm', 'test', reference(image));

    expect({ code, stdout }).toEqual({ code: 0, stdout: expect.stringMatching(/^fetched .* were there\n$/) });
    expect(stderr).toContain(`${image.repository} ${image.layerDigest}: `);
    const json = await command('pool', 'warm', 'test', reference(image), '--json');
    expect(JSON.parse(json.stdout)).toMatchObject({ missed: 0, failed: 0 });
    expect(await command('pool', 'warm', 'test', 'team/nothing')).toMatchObject({
      code: 1,
      stdout: expect.stringContaining('404'),
      stderr: expect.stringContaining('1 of 1 could not be fetched'),
    });
  });

  async function command(...args: readonly string[]) {
    const output = { stdout: '', stderr: '' };
    const file = {
      pools: [
        {
          name: 'test',
          listen: pool.listen,
          folder: folder.path,
          agent: { listen: pool.agent.listen },
          origin: { urls: [origin.url] },
        },
      ],
    };
    await writeFile(join(folder.path, 'pools.yaml'), JSON.stringify(file));
    const code = await run([...args, '--pools', join(folder.path, 'pools.yaml')], {
      stdout: (text) => void (output.stdout += text),
      stderr: (text) => void (output.stderr += text),
      cwd: folder.path,
      env: {},
    });
    return { code, ...output };
  }

  it('remembers over a restart what was pulled', async () => {
    const image = await pushImage(origin.registry, slice);
    const before = (await status()).images ?? 0;
    for (let pull = 0; pull < 3; pull++) await nodeGets(image.byDigest);
    await waitFor(async () => ((await status()).images ?? 0) > before, { what: 'the pulls to be counted' });

    await running.close();
    const kept = JSON.parse(
      await readFile(join(folder.path, 'popularity.json'), 'utf8'),
    ) as PopularitySnapshot;
    await start();

    const found = kept.images.find(({ digest }) => digest === image.manifestDigest);
    expect(found).toMatchObject({ repository: image.repository, count: expect.any(Number) });
    expect((await status()).images).toBeGreaterThanOrEqual(kept.images.length);
  });

  async function health(): Promise<{ origin: { state: string }; prewarm: { images?: number } }> {
    const { body } = await send(`http://${running.agent}`, 'GET', '/healthz');
    return JSON.parse(body.toString()) as { origin: { state: string }; prewarm: { images?: number } };
  }

  const status = async () => (await health()).prewarm;
});
