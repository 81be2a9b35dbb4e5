import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import type { IncomingMessage } from 'node:http';
import { request } from 'node:https';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startEmbeddedEngine } from '../../../cache-proxy/embedded/start-embedded-engine.ts';
import { startNginxEngine } from '../../../cache-proxy/nginx/pool-engine.ts';
import type { PoolEngine } from '../../../cache-proxy/pool-engine.ts';
import type { Pool } from '../../../cache-proxy/pools/pool.ts';
import type { PullRecord } from '../../../cache-proxy/pull-record.ts';
import { mediaTypes } from '../../../oci/media-types.ts';
import { requirePrograms } from '../../helpers/dockerd.ts';
import { freePort } from '../../helpers/free-port.ts';
import { makePool } from '../../helpers/pool.ts';
import { byHeader, startPoolAgent, type TestPoolAgent } from '../../helpers/pool-agent.ts';
import { type PoolOrigin, startPoolOrigin } from '../../helpers/pool-origin.ts';
import { runOk, waitFor } from '../../helpers/process.ts';
import { type HttpAnswer, send } from '../../helpers/raw-http.ts';
import { createTempDirectory, type TempDirectory } from '../../helpers/temp.ts';
import {
  expectBytes,
  poolAccount,
  poolAuthorization,
  pushImage,
  slice,
} from '../../suites/pool-engine/fixture.ts';

let folder: TempDirectory;
let origin: PoolOrigin;
let agent: TestPoolAgent;
const engines: PoolEngine[] = [];
const records: PullRecord[] = [];

beforeAll(async () => {
  folder = await createTempDirectory('peers');
  origin = await startPoolOrigin();
  agent = await startPoolAgent();
  // The account of a pool may have what it asks its parent for.
  agent.rule = (request) =>
    request.authorization === poolAuthorization ? { outcome: 'allowed', prewarm: false } : byHeader(request);
});
afterAll(async () => {
  await Promise.all(engines.map((engine) => engine.close()));
  await Promise.all([origin?.close(), agent?.close()]);
  await folder?.remove();
});

async function start(
  name: string,
  changes: Partial<Omit<Pool, 'origin'>> = {},
  asked: TestPoolAgent = agent,
): Promise<PoolEngine> {
  const listen = changes.listen ?? `127.0.0.1:${await freePort()}`;
  const made = makePool({
    folder: join(folder.path, name),
    origin: [origin.url],
    engine: 'nginx' as const,
    ...changes,
    listen,
    name: changes.name ?? name,
  });
  const pool = {
    ...made,
    cache: { ...made.cache, slice },
    origin: { ...made.origin, credential: poolAccount },
  };
  const startEngine = pool.engine === 'nginx' ? startNginxEngine : startEmbeddedEngine;
  const engine = await startEngine(pool, {
    gate: asked.gate,
    agent: asked.address,
    onRecord: (record) => records.push(record),
    log: { info() {}, warn() {}, error() {} },
  });
  engines.push(engine);
  return engine;
}

const get = (engine: PoolEngine, path: string, headers = {}): Promise<HttpAnswer> =>
  send(engine.url, 'GET', path, { headers: { authorization: 'Bearer alice', ...headers } });

describe.each(['nginx', 'embedded'] as const)('a pool with a parent (%s)', (kind) => {
  it('gets what the parent has from the parent, the rest from the origin, and goes on when the parent is gone', async () => {
    const parent = await start(`parent-${kind}`, { engine: kind });
    const parents = [{ name: 'parent', endpoint: parent.url }];
    const child = await start(`child-${kind}`, { engine: kind, parents });
    const whole = await pushImage(origin.registry, 2 * slice + 3);
    await get(parent, whole.blob);
    const sent = origin.bodyBytes(whole.layerDigest);
    expectBytes((await get(child, whole.blob)).body, whole.layer);
    expect(origin.bodyBytes(whole.layerDigest)).toBe(sent);

    const image = await pushImage(origin.registry, 4 * slice + 9);
    // Two pieces of five.
    await get(parent, image.blob, { range: `bytes=${slice}-${3 * slice - 1}` });
    const before = origin.bodyBytes(image.layerDigest);

    const answer = await get(child, image.blob);

    expectBytes(answer.body, image.layer);
    expect(before).toBe(2 * slice);
    // The embedded engine asks for all that it lacks in one go, which the parent has not.
    const fromOrigin = kind === 'nginx' ? 2 * slice + 9 : image.layer.length;
    expect(origin.bodyBytes(image.layerDigest) - before).toBeLessThanOrEqual(fromOrigin);
    // Asked for what it did not have, the parent fetched nothing.
    expect((await parent.cache.coverage(image.layerDigest)).cached).toBe(2 * slice);

    await parent.close();
    const next = await pushImage(origin.registry, 2 * slice);
    expectBytes((await get(child, next.blob)).body, next.layer);
  });

  it('is asked as the pool’s own account, and the parent’s gate decides', async () => {
    const parent = await start(`strict-${kind}`, { engine: kind });
    const parents = [{ name: 'strict', endpoint: parent.url }];
    const child = await start(`strict-child-${kind}`, { engine: kind, parents });
    const image = await pushImage(origin.registry, slice);
    await get(parent, image.blob);
    const before = origin.bodyBytes(image.layerDigest);
    const { rule } = agent;
    agent.rule = (request) =>
      request.authorization === poolAuthorization ? { outcome: 'denied' } : byHeader(request);

    const answer = await get(child, image.blob);

    agent.rule = rule;
    expectBytes(answer.body, image.layer);
    expect(origin.bodyBytes(image.layerDigest) - before).toBe(slice);
  });
});

describe('a pool of several proxies', () => {
  it('keeps each layer on one of them, whichever is asked, and goes on when one is gone', async () => {
    const ports = [await freePort(), await freePort()];
    const shards = ports.map((port) => `http://127.0.0.1:${port}`);
    const [first, second] = await Promise.all(
      ports.map((port, index) => start(`shard-${index}`, { listen: `127.0.0.1:${port}`, shards })),
    );
    if (first === undefined || second === undefined) throw new Error('two were started');
    const images = await Promise.all(Array.from({ length: 12 }, () => pushImage(origin.registry, slice + 1)));

    for (const image of images) {
      for (const engine of [first, second]) expectBytes((await get(engine, image.blob)).body, image.layer);
      const range = await get(second, image.blob, { range: 'bytes=5-9' });
      expect([range.status, range.body]).toEqual([206, image.layer.subarray(5, 10)]);
    }

    const owned = await Promise.all(
      images.map(async ({ layerDigest }) => {
        const here = await Promise.all([first, second].map(({ cache }) => cache.coverage(layerDigest)));
        return here.map(({ whole, cached }) => (whole ? 'whole' : cached)).join();
      }),
    );
    expect(new Set(owned)).toEqual(new Set(['whole,0', '0,whole']));
    for (const { layerDigest, layer } of images) expect(origin.bodyBytes(layerDigest)).toBe(layer.length);
    const refused = await get(first, images[0]?.blob ?? '', { authorization: 'Bearer bob' });
    expect([refused.status, refused.code]).toEqual([403, 'DENIED']);

    await second.close();
    for (const image of images) expectBytes((await get(first, image.blob)).body, image.layer);
  });
});

describe('the proxies of a pool', () => {
  it('believe one another who may have what, and nobody else', async () => {
    await using forgetful = await startPoolAgent();
    forgetful.rule = () => ({ outcome: 'unavailable', retryAfter: 5 });
    const ports = [await freePort(), await freePort()];
    const shards = ports.map((port) => `http://127.0.0.1:${port}`);
    const [knowing, other] = await Promise.all(
      ports.map((port, index) =>
        start(
          `word-${index}`,
          { name: 'word', listen: `127.0.0.1:${port}`, shards },
          index === 0 ? agent : forgetful,
        ),
      ),
    );
    if (knowing === undefined || other === undefined) throw new Error('two were started');
    const images = await Promise.all(Array.from({ length: 12 }, () => pushImage(origin.registry, 1000)));

    for (const { blob, layer } of images) expectBytes((await get(knowing, blob)).body, layer);

    const owned = await Promise.all(images.map(({ layerDigest }) => other.cache.coverage(layerDigest)));
    const at = owned.findIndex(({ whole }) => whole);
    expect(at).toBeGreaterThanOrEqual(0);
    const forged = `${Date.now() + 60_000}.${'0'.repeat(64)}`;
    for (const word of ['1', forged]) {
      expect((await get(other, images[at]?.blob ?? '', { 'x-pool-shard': word })).status).toBe(503);
    }
  });
});

describe('a tag that another client pulled', () => {
  it('is served while the origin is away, where it is of a kind that this one takes', async () => {
    const engine = await start('kinds');
    const image = await pushImage(origin.registry, slice);
    const { ociIndex, ociManifest, dockerManifest } = mediaTypes;
    await get(engine, image.byTag, { accept: `${ociIndex}, ${ociManifest}` });
    origin.rule = () => ({ status: 503 });
    try {
      const answers = await Promise.all(
        [ociManifest, '*/*', dockerManifest].map((accept) => get(engine, image.byTag, { accept })),
      );

      expect(answers.map(({ status }) => status)).toEqual([200, 200, 503]);
      for (const { body, headers } of answers.slice(0, 2)) {
        expectBytes(body, image.manifest);
        expect(headers['docker-content-digest']).toBe(image.manifestDigest);
        expect(headers).not.toHaveProperty('x-pool-stale');
      }
      await waitFor(
        () => records.filter(({ cache, tag }) => cache === 'stale' && tag === 'v1').length === 2,
        {
          what: 'stale answers in the records',
        },
      );
    } finally {
      origin.rule = undefined;
    }
  });
});

describe('a pool with a certificate', () => {
  it('speaks TLS to its nodes', async () => {
    await requirePrograms(['openssl']);
    const [key, certificate] = [join(folder.path, 'key.pem'), join(folder.path, 'cert.pem')];
    const names = ['-subj', '/CN=pool', '-addext', 'subjectAltName=IP:127.0.0.1'];
    const kind = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2'];
    await runOk('openssl', ['req', '-x509', ...kind, ...names, '-keyout', key, '-out', certificate]);
    const engine = await start('secure', { tls: { certificate, key } });
    const image = await pushImage(origin.registry, 2 * slice);

    const asked = request(`${engine.url}${image.blob}`, {
      ca: await readFile(certificate),
      headers: { authorization: 'Bearer alice' },
      agent: false,
    });
    asked.end();
    const [answer] = (await once(asked, 'response')) as [IncomingMessage];

    expect(engine.url).toMatch(/^https:/);
    expectBytes(await buffer(answer), image.layer);
  });
});

describe('an nginx that dies', () => {
  it('is started again, with what it had', async () => {
    const engine = await start('dying');
    const image = await pushImage(origin.registry, slice);
    await get(engine, image.blob);
    const before = origin.bodyBytes(image.layerDigest);
    const pidFile = join(folder.path, 'dying', 'run', 'nginx.pid');
    const pid = Number(await readFile(pidFile, 'utf8'));

    process.kill(pid, 'SIGKILL');

    const again = await waitFor(
      async () => {
        const now = Number(await readFile(pidFile, 'utf8').catch(() => ''));
        if (now === pid || now === 0) return undefined;
        return get(engine, image.blob).catch(() => undefined);
      },
      { what: 'another nginx' },
    );
    expectBytes(again.body, image.layer);
    expect(origin.bodyBytes(image.layerDigest)).toBe(before);
  });
});

describe('a configuration that nginx does not take', () => {
  it('is refused with nginx’ own reason, and the former one goes on', async () => {
    const engine = await start('steady');
    const image = await pushImage(origin.registry, slice);
    await get(engine, image.blob);
    const listen = new URL(engine.url).host;
    const now = makePool({ folder: join(folder.path, 'steady'), listen, origin: [origin.url] });
    const tls = { certificate: join(folder.path, 'none.pem'), key: join(folder.path, 'none.key') };

    const refused = engine.reconfigure({ ...now, name: 'steady', engine: 'nginx', tls });

    await expect(refused).rejects.toThrow(/nginx would not start with this pool:[^]*none\.pem/);
    expect((await get(engine, image.blob)).status).toBe(200);
  });

  it('that cannot be started at all names what is wrong, and leaves nothing', async () => {
    const port = await freePort();
    const tls = { certificate: '/none.pem', key: '/none.key' };

    await expect(start('broken', { listen: `127.0.0.1:${port}`, tls })).rejects.toThrow('/none.pem');
    await expect(fetch(`http://127.0.0.1:${port}/v2/`)).rejects.toThrow('fetch failed');
  });
});
