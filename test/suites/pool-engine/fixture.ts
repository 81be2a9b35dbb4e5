import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { type IncomingMessage, type OutgoingHttpHeaders, request } from 'node:http';
import { expect } from 'vitest';
import type { PoolEngine, PoolEngineDeps } from '../../../cache-proxy/pool-engine.ts';
import type { Pool } from '../../../cache-proxy/pools/pool.ts';
import type { PullRecord } from '../../../cache-proxy/pull-record.ts';
import type { Digest } from '../../../oci/digest.ts';
import type { Registry } from '../../../oci/registry.ts';
import { pushContent } from '../../helpers/content.ts';
import { freePort } from '../../helpers/free-port.ts';
import { makePool } from '../../helpers/pool.ts';
import { startPoolAgent, type TestPoolAgent } from '../../helpers/pool-agent.ts';
import { type PoolOrigin, startPoolOrigin } from '../../helpers/pool-origin.ts';
import { waitFor } from '../../helpers/process.ts';
import { type HttpAnswer, send } from '../../helpers/raw-http.ts';
import { createTempDirectory } from '../../helpers/temp.ts';

export interface EngineUnderTest {
  readonly kind: Pool['engine'];
  start(pool: Pool, deps: PoolEngineDeps): Promise<PoolEngine>;
  /** Compares a layer with its digest before another client gets it; nginx leaves that to the scrubber. */
  readonly verifies: boolean;
}

/** The pool's own account at the origin. */
export const poolAccount = { username: 'pool', password: 'read-only' };
export const poolAuthorization = `Basic ${Buffer.from('pool:read-only').toString('base64')}`;
export const slice = 256 * 1024;

/** An engine between an origin that can be told to misbehave, and a gate whose verdicts the test chooses. */
export interface TestPool extends AsyncDisposable {
  readonly origin: PoolOrigin;
  /** The registry behind `?ns=other.test`. */
  readonly other: PoolOrigin;
  readonly agent: TestPoolAgent;
  readonly pool: Pool;
  readonly engine: PoolEngine;
  readonly records: PullRecord[];
  /** As `alice`, unless `headers` say otherwise; an empty Authorization is none at all. */
  get(path: string, headers?: OutgoingHttpHeaders): Promise<HttpAnswer>;
  call(method: string, path: string, options?: Parameters<typeof send>[3]): Promise<HttpAnswer>;
  /** The answer while its body still comes. */
  open(path: string, headers?: OutgoingHttpHeaders): Promise<IncomingMessage>;
  /** The same engine anew, over what it kept. */
  restart(): Promise<void>;
  close(): Promise<void>;
}

export async function openTestPool(
  under: EngineUnderTest,
  options: Partial<Omit<Pool, 'origin'>> = {},
  health?: PoolEngineDeps['health'],
): Promise<TestPool> {
  const folder = await createTempDirectory('pool');
  const origin = await startPoolOrigin();
  const other = await startPoolOrigin();
  const agent = await startPoolAgent();
  origin.wants = 'Basic realm="origin"';
  const records: PullRecord[] = [];
  const made = makePool({
    folder: folder.path,
    listen: `127.0.0.1:${await freePort()}`,
    origin: [origin.url],
    engine: under.kind,
    upstreams: [{ ns: 'other.test', urls: [other.url], allow: [], deny: [] }],
    ...options,
  });
  const pool: Pool = {
    ...made,
    cache: { ...made.cache, slice },
    origin: { ...made.origin, credential: poolAccount },
  };
  const deps: PoolEngineDeps = {
    gate: agent.gate,
    agent: agent.address,
    health,
    onRecord: (record) => records.push(record),
    log: { info() {}, warn() {}, error() {} },
  };
  let engine = await under.start(pool, deps);
  const close = async (): Promise<void> => {
    await engine.close();
    await Promise.all([origin.close(), other.close(), agent.close()]);
    await folder.remove();
  };
  return {
    origin,
    other,
    agent,
    pool,
    get engine() {
      return engine;
    },
    records,
    get: (path, headers) => send(engine.url, 'GET', path, { headers: asAlice(headers) }),
    call: (method, path, call = {}) =>
      send(engine.url, method, path, { ...call, headers: asAlice(call.headers) }),
    async open(path, headers) {
      const { hostname, port } = new URL(engine.url);
      const message = request({ hostname, port, path, headers: asAlice(headers), agent: false });
      message.on('error', () => {});
      message.end();
      const [response] = (await once(message, 'response')) as [IncomingMessage];
      response.on('error', () => {});
      return response;
    },
    async restart() {
      await engine.close();
      engine = await under.start(pool, deps);
    },
    close,
    [Symbol.asyncDispose]: close,
  };
}

function asAlice(headers: OutgoingHttpHeaders = {}): OutgoingHttpHeaders {
  const { authorization = 'Bearer alice', ...rest } = headers;
  return authorization === '' ? rest : { authorization, ...rest };
}

export interface TestContent {
  readonly repository: string;
  readonly layer: Buffer;
  readonly layerDigest: Digest;
  readonly blob: string;
  readonly manifest: Buffer;
  readonly manifestDigest: Digest;
  readonly byDigest: string;
  /** Of tag `v1`. */
  readonly byTag: string;
}

/** An image of its own, of one layer with random bytes: what one test caches is another's miss. */
export async function pushImage(registry: Registry, layerBytes = 1024 * 1024): Promise<TestContent> {
  const repository = `team/app-${randomBytes(6).toString('hex')}`;
  const layer = randomBytes(layerBytes);
  const pushed = await pushContent(registry, {
    [repository]: { blobs: { layer }, manifests: { image: { layers: ['layer'] } }, tags: { v1: 'image' } },
  });
  const content = pushed[repository];
  const layerDigest = content?.blobs['layer']?.digest;
  const manifest = content?.manifests['image'];
  if (layerDigest === undefined || manifest === undefined) throw new Error('nothing was pushed');
  return {
    repository,
    layer,
    layerDigest,
    blob: `/v2/${repository}/blobs/${layerDigest}`,
    manifest: manifest.bytes,
    manifestDigest: manifest.digest,
    byDigest: `/v2/${repository}/manifests/${manifest.digest}`,
    byTag: `/v2/${repository}/manifests/v1`,
  };
}

/** Moves tag `v1` to another image of the same repository. */
export async function moveTag(
  registry: Registry,
  repository: string,
): Promise<{ bytes: Buffer; digest: Digest }> {
  const pushed = await pushContent(registry, {
    [repository]: {
      manifests: { next: { annotations: { nonce: randomBytes(6).toString('hex') } } },
      tags: { v1: 'next' },
    },
  });
  const next = pushed[repository]?.manifests['next'];
  if (next === undefined) throw new Error('nothing was pushed');
  return next;
}

/** The origin behaves again, and the pool knows: else the next test would find it away. */
export async function settle(test: TestPool): Promise<void> {
  const { origin } = test;
  if (origin.rule === undefined) return;
  origin.rule = undefined;
  const image = await pushImage(origin.registry, 1);
  const answered = async (): Promise<boolean> => (await test.get(image.blob)).status === 200;
  await waitFor(answered, { what: 'an origin that is not away', timeoutMs: 60_000 });
}

/** A million bytes are not worth a difference on the screen. */
export function expectBytes(actual: Buffer, expected: Buffer): void {
  expect({ length: actual.length, equal: actual.equals(expected) }).toEqual({
    length: expected.length,
    equal: true,
  });
}

/** A promise that the test resolves. */
export function held(): { readonly until: Promise<void>; release(): void } {
  const { promise, resolve } = Promise.withResolvers<void>();
  return { until: promise, release: resolve };
}
