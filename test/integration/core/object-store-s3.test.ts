import { createHash, randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import {
  type MultipartState,
  MultipartUnknown,
  ObjectStoreUnavailable,
  PreconditionFailed,
  type StoredStream,
} from '../../../core/object-store/object-store.ts';
import { probeStore } from '../../../core/object-store/probe.ts';
import type { S3Store } from '../../../core/object-store/s3/driver.ts';
import type { RequestEvent } from '../../../core/object-store/s3/requests.ts';
import { createS3Store, type S3StoreOptions } from '../../../core/object-store/s3.ts';
import { type CephStore, startCeph } from '../../helpers/ceph.ts';
import { runOk } from '../../helpers/process.ts';
import {
  type ProxiedRequest,
  type ProxyFault,
  type S3FaultProxy,
  startS3FaultProxy,
} from '../../helpers/s3-fault-proxy.ts';
import { createTempDirectory } from '../../helpers/temp.ts';

const mib = 1024 * 1024;

let ceph: CephStore;
let proxy: S3FaultProxy;
let bucket: string;
let stores: S3Store[] = [];
/** At the store itself, and through the proxy. */
let store: S3Store;
let faulty: S3Store;
let events: RequestEvent[] = [];

beforeAll(async () => {
  ceph = await startCeph();
  proxy = await startS3FaultProxy(ceph.endpoint);
  bucket = await ceph.createBucket();
});
afterAll(async () => {
  await proxy.stop();
  await ceph.stop();
});
beforeEach(() => {
  events = [];
  proxy.fault = () => undefined;
  store = open({});
  faulty = open({ endpoint: proxy.endpoint, backoffMs: 5, onRequest: (event) => events.push(event) });
});
afterEach(async () => {
  for (const opened of stores) opened.close();
  stores = [];
});

let opened = 0;
/** Each test has keys of its own. */
let prefix = '';
beforeEach(() => {
  prefix = `t${++opened}`;
});

function open(options: Partial<S3StoreOptions>): S3Store {
  const { accessKeyId, secretAccessKey } = ceph;
  const made = createS3Store({
    bucket,
    endpoint: ceph.endpoint,
    region: ceph.region,
    credentials: { accessKeyId, secretAccessKey },
    ...options,
  });
  stores.push(made);
  return made;
}

/** The first request that fits gets the fault, later ones pass. */
function once(fits: (request: ProxiedRequest) => boolean, fault: ProxyFault): void {
  let done = false;
  proxy.fault = (request) => {
    if (done || !fits(request)) return undefined;
    done = true;
    return fault;
  };
}

async function append(
  at: S3Store,
  key: string,
  state: MultipartState,
  bytes: Buffer,
  last = false,
): Promise<MultipartState> {
  const writer = await at.multipart.resume(key, JSON.parse(JSON.stringify(state)) as MultipartState);
  try {
    for (let start = 0; start < bytes.length; start += 65_536) {
      await writer.write(Buffer.from(bytes.subarray(start, start + 65_536)));
    }
    return await writer.checkpoint({ last });
  } finally {
    await writer.close();
  }
}

async function bytesOf(stream: StoredStream | undefined): Promise<Buffer> {
  if (stream === undefined) throw new Error('the object is not there');
  return buffer(stream.body);
}

async function sameBytes(key: string, bytes: Buffer): Promise<boolean> {
  const stream = await store.getStream(key);
  return stream !== undefined && (await buffer(stream.body)).equals(bytes);
}

describe('the S3 store and a real Ceph gateway', () => {
  it('passes the probe, and finds out that ETags go bare there', async () => {
    const report = await probeStore(store);

    expect(report.reasons).toEqual([]);
    expect(store.etagSpelling).toBe('bare');
    expect((await store.list({ prefix: 'probe/' })).objects).toEqual([]);
  });

  it('gives out addresses that serve GET, HEAD and ranges to anybody, and no other method', async () => {
    const key = `${prefix}/data/ä b+c`;
    await store.put(key, Buffer.from('0123456789'));
    const through = open({ publicEndpoint: proxy.endpoint });

    for (const method of ['GET', 'HEAD'] as const) {
      const contentType = 'application/octet-stream';
      const address = await through.presign(key, { method, expiresInSeconds: 60, contentType });
      const answer = await fetch(address ?? '', { method });
      expect(answer.status).toBe(200);
      expect(answer.headers.get('content-type')).toBe(contentType);
      expect(answer.headers.get('content-length')).toBe('10');
      expect(await answer.text()).toBe(method === 'GET' ? '0123456789' : '');
      expect(new URL(address ?? '').origin).toBe(proxy.endpoint);
    }
    const address = (await store.presign(key, { method: 'GET', expiresInSeconds: 60 })) ?? '';
    const part = await fetch(address, { headers: { range: 'bytes=3-5' } });
    expect([part.status, await part.text()]).toEqual([206, '345']);
    expect((await fetch(address, { method: 'DELETE' })).status).toBe(403);
    expect((await fetch(address.replace('0123', '0124').replace(/.$/, '0'))).status).toBe(403);
  });

  it('carries an upload on at another server, through the sizes of parts that S3 allows', async () => {
    const key = `${prefix}/1`;
    const other = open({});
    const bytes = randomBytes(31 * mib + 12_345);

    let state = await append(store, key, await store.multipart.create(key), bytes.subarray(0, 9 * mib));
    state = await append(other, key, state, bytes.subarray(9 * mib, 9 * mib + 100));
    state = await append(store, key, state, bytes.subarray(9 * mib + 100), true);
    await Promise.all([store, other, store].map((at) => at.multipart.complete(key, state)));

    expect(await sameBytes(key, bytes)).toBe(true);
    expect((await store.list({ prefix: `${key}/` })).objects).toEqual([]);
    expect((await store.head(key))?.size).toBe(bytes.length);
  });

  it('goes on with an upload that was taken to be at its end, and after it was read back', async () => {
    const key = `${prefix}/1`;
    const bytes = randomBytes(20 * mib);

    let state = await append(store, key, await store.multipart.create(key), bytes.subarray(0, 3 * mib), true);
    state = await append(store, key, state, bytes.subarray(3 * mib, 10 * mib), true);
    const half = await buffer(await store.multipart.read(key, state));
    state = await append(store, key, state, bytes.subarray(10 * mib), true);
    const whole = await buffer(await store.multipart.read(key, state));
    await store.multipart.complete(key, state);

    expect(half.equals(bytes.subarray(0, 10 * mib))).toBe(true);
    expect(whole.equals(bytes)).toBe(true);
    expect(await sameBytes(key, bytes)).toBe(true);
  });

  it('completes with one writer’s bytes or not at all when two wrote other bytes', async () => {
    const key = `${prefix}/1`;
    const other = open({});
    const begun = await append(store, key, await store.multipart.create(key), Buffer.alloc(9 * mib, 'b'));
    const mine = Buffer.alloc(10 * mib, 'm');

    const [won] = await Promise.all([
      append(store, key, begun, mine, true),
      append(other, key, begun, Buffer.alloc(17 * mib, 't'), true),
    ]);
    const outcome: unknown = await store.multipart.complete(key, won).then(
      () => 'completed',
      (error: unknown) => error,
    );

    if (outcome === 'completed') {
      expect(await sameBytes(key, Buffer.concat([Buffer.alloc(9 * mib, 'b'), mine]))).toBe(true);
    } else {
      expect(outcome).toBeInstanceOf(MultipartUnknown);
      expect(await store.head(key)).toBeUndefined();
    }
    await store.multipart.abort(key, won);
  });

  it('tells of uploads that nobody finished, and drops them', async () => {
    const inside = open({ prefix: `${prefix}/sub` });
    const outside = open({ prefix: `${prefix}/sub-2` });
    const bytes = randomBytes(17 * mib);
    await append(inside, 'data/1', await inside.multipart.create('data/1'), bytes);
    await append(outside, 'data/2', await outside.multipart.create('data/2'), bytes);

    const found = [];
    for await (const upload of inside.multipart.incomplete()) found.push(upload);
    await found[0]?.abort();
    await found[0]?.abort();

    expect(found.map(({ key }) => key)).toEqual(['data/1']);
    expect(Math.abs((found[0]?.initiated.getTime() ?? 0) - Date.now())).toBeLessThan(60_000);
    for await (const upload of inside.multipart.incomplete()) expect(upload).toBeUndefined();
  });

  it('deletes more keys than fit into one request', async () => {
    const keys = Array.from({ length: 1_050 }, (_, index) => `${prefix}/${index}`);
    for (let at = 0; at < keys.length; at += 50) {
      await Promise.all(keys.slice(at, at + 50).map((key) => store.put(key, Buffer.alloc(0))));
    }

    const first = await store.list({ prefix: `${prefix}/` });
    await store.deleteMany(keys);

    expect(first.objects).toHaveLength(1000);
    expect(first.next).toBe(first.objects.at(-1)?.key);
    expect((await store.list({ prefix: `${prefix}/` })).objects).toEqual([]);
  });

  it('holds no more memory for uploads than it may', async () => {
    const tight = open({ uploadBufferBytes: 20 * mib });
    const chunk = randomBytes(mib);
    const before = process.memoryUsage().rss;
    let most = before;
    const timer = setInterval(() => {
      most = Math.max(most, process.memoryUsage().rss);
    }, 10);

    await Promise.all(
      Array.from({ length: 6 }, async (_, index) => {
        const key = `${prefix}/${index}`;
        const writer = await tight.multipart.resume(key, await tight.multipart.create(key));
        for (let sent = 0; sent < 25; sent++) await writer.write(chunk);
        const state = await writer.checkpoint({ last: true });
        await writer.close();
        await tight.multipart.complete(key, state);
        await tight.delete(key);
      }),
    );
    clearInterval(timer);

    // 150 MiB went through.
    expect(most - before).toBeLessThan(100 * mib);
  });
});

describe('the S3 store of a server', () => {
  it('whose clock is an hour off signs by the store’s time once it knows it, and so do its addresses', async () => {
    const key = `${prefix}/a`;
    vi.useFakeTimers({ now: Date.now() + 3_600_000, toFake: ['Date'] });
    try {
      const skewed = open({ backoffMs: 1 });

      await skewed.put(key, Buffer.from('1'), { ifNoneMatch: '*' });
      const address = await skewed.presign(key, { method: 'GET', expiresInSeconds: 60 });

      expect(Math.round(skewed.clockOffsetMs / 60_000)).toBe(-60);
      expect(await (await fetch(address ?? '')).text()).toBe('1');
    } finally {
      vi.useRealTimers();
    }
  });

  it('trusts the certificates it is given, and says what to do about others', async () => {
    const certificate = await selfSigned();
    const secure = await startS3FaultProxy(ceph.endpoint, certificate);
    try {
      const trusting = open({ endpoint: secure.endpoint, ca: certificate.cert });
      const strict = open({ endpoint: secure.endpoint, maxAttempts: 1 });
      const key = `${prefix}/a`;

      await trusting.put(key, Buffer.from('1'));

      expect((await trusting.get(key))?.body.toString()).toBe('1');
      await expect(strict.get(key)).rejects.toThrow(/signed by itself: set store\.s3\.caFile/);
    } finally {
      await secure.stop();
    }
  });

  it('gets its credentials from the environment, the way the vendor’s tools do', async () => {
    const { accessKeyId, secretAccessKey } = ceph;
    vi.stubEnv('AWS_ACCESS_KEY_ID', accessKeyId);
    vi.stubEnv('AWS_SECRET_ACCESS_KEY', secretAccessKey);
    try {
      const usual = open({ credentials: undefined });

      await usual.put(`${prefix}/a`, Buffer.from('1'));

      expect((await usual.get(`${prefix}/a`))?.body.toString()).toBe('1');
    } finally {
      vi.unstubAllEnvs();
    }
  });

  it.each<[string, Partial<S3StoreOptions>, RegExp]>([
    ['no bucket', { bucket: 'nothing-there' }, /there is no bucket "nothing-there" at http.*create it/],
    [
      'an unknown key',
      { credentials: { accessKeyId: 'x', secretAccessKey: 'y' } },
      /check AWS_ACCESS_KEY_ID/,
    ],
    ['no store', { endpoint: 'http://127.0.0.1:9' }, /nothing answers at .*check store\.s3\.endpoint/],
  ])('that has %s never says "not there"', async (_, options, message) => {
    const wrong = open({ ...options, backoffMs: 1, maxAttempts: 2 });

    await expect(wrong.get('a')).rejects.toThrow(message);
    await expect(wrong.head('a')).rejects.toThrow(ObjectStoreUnavailable);
    await expect(wrong.getStream('a')).rejects.toThrow(message);
    await expect(wrong.list({ prefix: '' })).rejects.toThrow(message);
    await expect(wrong.delete('a')).rejects.toThrow(message);
    await expect(wrong.put('a', Buffer.from('1'), { ifMatch: 'x' })).rejects.toThrow(ObjectStoreUnavailable);
  });
});

async function selfSigned(): Promise<{ key: string; cert: string }> {
  await using folder = await createTempDirectory('s3-tls');
  const [key, cert] = [join(folder.path, 'key.pem'), join(folder.path, 'cert.pem')];
  const subject = ['-subj', '/CN=127.0.0.1', '-addext', 'subjectAltName=IP:127.0.0.1', '-days', '2'];
  const made = ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-keyout', key, '-out', cert, ...subject];
  await runOk('openssl', made);
  return { key: await readFile(key, 'utf8'), cert: await readFile(cert, 'utf8') };
}

describe('the S3 store behind a line with faults', () => {
  const isPut = ({ method }: ProxiedRequest): boolean => method === 'PUT';
  const isGet = ({ method }: ProxiedRequest): boolean => method === 'GET';

  it.each<[string, ProxyFault]>([
    ['a 500', { answer: 500 }],
    ['a 500 although it was carried out', { answerAfter: 500 }],
    ['a 503', { answer: 503, code: 'SlowDown' }],
    ['a balancer’s 502', { answer: 502, code: 'Bad' }],
    ['a connection that breaks before', 'resetBefore'],
    ['a connection that breaks after', 'resetAfter'],
  ])('sends what it may again after %s', async (_, fault) => {
    once(isPut, fault);
    await faulty.put(`${prefix}/a`, Buffer.from('1'));
    once(isGet, fault);
    const read = await faulty.get(`${prefix}/a`);
    once(isGet, fault);
    const listed = await faulty.list({ prefix: `${prefix}/` });
    once(({ method }) => method === 'DELETE', fault);
    await faulty.delete(`${prefix}/a`);

    expect(read?.body.toString()).toBe('1');
    expect(listed.objects).toHaveLength(1);
    expect(await store.get(`${prefix}/a`)).toBeUndefined();
    expect(events.filter(({ outcome }) => outcome !== 'ok').map(({ operation }) => operation)).toEqual([
      'put',
      'get',
      'list',
      'delete',
    ]);
  });

  it.each<[string, ProxyFault]>([
    ['a 500', { answerAfter: 500 }],
    ['a conflict', { answer: 409, code: 'ConditionalRequestConflict' }],
    ['a connection that breaks', 'resetAfter'],
  ])('sends a conditional write once and says that its outcome is unknown after %s', async (_, fault) => {
    const key = `${prefix}/a`;
    const before = proxy.seen.length;
    once(isPut, fault);

    await expect(faulty.put(key, Buffer.from('1'), { ifNoneMatch: '*' })).rejects.toThrow(
      ObjectStoreUnavailable,
    );
    const sent = proxy.seen.length - before;
    const there = await store.get(key);

    expect(sent).toBe(1);
    expect(there === undefined).toBe(typeof fault === 'object' && 'answer' in fault);
    if (there === undefined) return;
    const lost = faulty.put(key, Buffer.from('2'), { ifNoneMatch: '*' });
    await expect(lost).rejects.toThrow(PreconditionFailed);
    // The first one that goes through teaches how ETags are spelled there.
    const { etag } = await faulty.put(key, Buffer.from('1b'), { ifMatch: there.etag });
    once(isPut, fault);
    await expect(faulty.put(key, Buffer.from('2'), { ifMatch: etag })).rejects.toThrow(
      ObjectStoreUnavailable,
    );
    expect((await store.get(key))?.body.toString()).toBe('2');
  });

  it('gives up at last, and says which store and why', async () => {
    proxy.fault = () => ({ answer: 503, code: 'SlowDown' });
    const hasty = open({ endpoint: proxy.endpoint, backoffMs: 1, maxAttempts: 2 });

    await expect(hasty.get('a')).rejects.toThrow(
      /reading a: the object store asks for fewer requests \(SlowDown\) \(503\)/,
    );
  });

  it('never takes a body that broke off for the object', async () => {
    const key = `${prefix}/a`;
    const bytes = randomBytes(3_000_000);
    await store.put(key, bytes);

    once(isGet, { truncate: 1_000_000 });
    const small = await faulty.get(key);
    once(isGet, { truncate: 1_000_000 });
    const stream = await faulty.getStream(key);
    const whole = stream && (await buffer(stream.body));
    once(isGet, { truncate: 10 });
    const range = await faulty.getStream(key, { start: 100, end: 2_000_000 });
    const part = range && (await buffer(range.body));

    expect(small?.body.equals(bytes)).toBe(true);
    expect(whole?.equals(bytes)).toBe(true);
    expect(part?.equals(bytes.subarray(100, 2_000_001))).toBe(true);
  });

  it('ends a stream with an error when its object was replaced meanwhile, or the store stays away', async () => {
    const key = `${prefix}/a`;
    await store.put(key, randomBytes(3_000_000));
    once(isGet, { truncate: 1_000_000 });
    const replaced = await faulty.getStream(key);
    await store.put(key, randomBytes(3_000_000));

    await expect(bytesOf(replaced)).rejects.toThrow(ObjectStoreUnavailable);

    let requests = 0;
    proxy.fault = () => (++requests === 1 ? { truncate: 1_000_000 } : 'resetBefore');
    const abandoned = await faulty.getStream(key);
    await expect(bytesOf(abandoned)).rejects.toThrow(ObjectStoreUnavailable);
  });

  it('does not wait for ever for a store that falls silent', async () => {
    const key = `${prefix}/a`;
    const bytes = randomBytes(2_000_000);
    await store.put(key, bytes);
    const impatient = open({ endpoint: proxy.endpoint, backoffMs: 1, idleTimeoutMs: 300 });

    once(isGet, { stall: 500_000 });
    const stream = await impatient.getStream(key);
    const whole = stream && (await buffer(stream.body));
    once(isGet, { delay: 2_000 });
    const late = await impatient.get(key);

    expect(whole?.equals(bytes)).toBe(true);
    expect(late?.body.equals(bytes)).toBe(true);
  });

  it.each<[string, ProxyFault]>([
    ['500', { answer: 500 }],
    ['500, carried out', { answerAfter: 500 }],
    ['reset', 'resetBefore'],
    ['reset, carried out', 'resetAfter'],
  ])('loses nothing of an upload whose every request fails first: %s', async (_, fault) => {
    const key = `${prefix}/1`;
    const bytes = randomBytes(18 * mib + 5);
    const failed = new Set<string>();
    proxy.fault = ({ method, url }) => {
      const request = `${method} ${url.replace(/uploadId=[^&]*/, '')}`;
      if (failed.has(request)) return undefined;
      failed.add(request);
      return fault;
    };

    const small = await append(
      faulty,
      `${key}-small`,
      await faulty.multipart.create(key),
      bytes.subarray(0, 9999),
      true,
    );
    await faulty.multipart.complete(`${key}-small`, small);
    let state = await append(faulty, key, await faulty.multipart.create(key), bytes.subarray(0, mib));
    state = await append(faulty, key, state, bytes.subarray(mib), true);
    await faulty.multipart.complete(key, state);

    expect(await sameBytes(`${key}-small`, bytes.subarray(0, 9999))).toBe(true);
    expect(await sameBytes(key, bytes)).toBe(true);
    expect(failed.size).toBeGreaterThan(6);
  });

  it('keeps a small upload as it is when an earlier sending of it lands late', async () => {
    const key = `${prefix}/1`;
    let land = (): void => {};
    const late = new Promise<void>((resolve) => {
      land = resolve;
    });
    once(isPut, { late });

    const state = await append(faulty, key, await faulty.multipart.create(key), Buffer.from('short'), true);
    const longer = await append(store, key, state, Buffer.from(' and long'), true);
    await store.multipart.complete(key, longer);
    land();
    await proxy.settled();

    expect(createHash('md5').update('short').digest('hex')).not.toBe((await store.head(key))?.etag);
    expect((await store.get(key))?.body.toString()).toBe('short and long');
  });
});
