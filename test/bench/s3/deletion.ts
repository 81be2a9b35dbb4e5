import { createHash } from 'node:crypto';
import { Agent, type IncomingMessage, request } from 'node:http';
import { join, resolve } from 'node:path';
import { emptyBucket } from '../../helpers/bucket.ts';
import { runOk } from '../../helpers/process.ts';
import { storeEnvironment } from '../../helpers/replicas.ts';
import type { S3Bench } from './bench.ts';
import type { Observation } from './observe.ts';
import { number, type S3Case } from './report.ts';
import { peerEnvironment, type Side } from './sides.ts';

const repository = 'bench/deletion';
const program = resolve(import.meta.dirname, '../../../bin/brickyard.js');
const manifestType = 'application/vnd.oci.image.manifest.v1+json';

interface Image {
  readonly tag: string;
  readonly layer: Buffer;
  readonly manifest: Buffer;
  readonly digest: string;
}

/**
 * 5,000 images, each with a tag, a manifest and a layer of its own, are deleted by digest, and what nobody needs any more is collected. Of a
 * peer that looks through all tags at every deletion only some deletions are made; the time of all is computed, for its benefit with
 * the tags halved, and the rest is removed behind its back before its collection.
 */
export async function deletions(bench: S3Bench): Promise<S3Case[]> {
  const count = bench.quick ? 100 : 5_000;
  const images = Array.from({ length: count }, (_, index) => makeImage(index));
  const results = new Map<string, Observation[]>();
  const notes: string[] = [];
  for (const side of bench.sides) {
    bench.say(`${side.name}: pushing ${count} small images …`);
    await pushAll(side, images);
    bench.say(`${side.name}: deleting them …`);
    const deleted = await (side.command === undefined
      ? deleteAll(bench, side, images)
      : deleteSome(bench, side, images));
    bench.say(`${side.name}: collecting …`);
    const collected = await bench.observer.observe(side, 1, async () => {
      const start = performance.now();
      await collect(bench, side);
      return (performance.now() - start) / 1000;
    });
    results.set(side.name, [sum(deleted.observation, collected)]);
    notes.push(`${side.name}: ${deleted.words}; collection ${number(collected.value)} s.`);
  }
  return [
    {
      name: `deletion of ${count} tagged images, and collection`,
      unit: 's',
      better: 'lower',
      results,
      promise: { over: 'docker-registry', ratio: 10 },
      notes,
    },
  ];
}

interface Deleted {
  readonly observation: Observation;
  readonly words: string;
}

async function deleteAll(bench: S3Bench, side: Side, images: readonly Image[]): Promise<Deleted> {
  const observation = await bench.observer.observe(side, 1, () => deleteImages(side, images));
  return { observation, words: `${images.length} deletions in ${number(observation.value)} s` };
}

async function deleteSome(bench: S3Bench, side: Side, images: readonly Image[]): Promise<Deleted> {
  const some = images.slice(0, 16);
  const made = await bench.observer.observe(side, 1, () => deleteImages(side, some));
  // Each looks through the tags that are left: half of them on average.
  const factor = images.length / some.length / 2;
  const rest = images.slice(some.length);
  const root = `docker/registry/v2/repositories/${repository}/_manifests`;
  await emptyBucket(bench.s3, side.bucket, { prefix: `${root}/tags/` });
  await emptyBucket(bench.s3, side.bucket, { prefix: `${root}/revisions/` });
  const scaled = (value: number): number => value * factor;
  return {
    observation: {
      value: scaled(made.value),
      registryCpu: scaled(made.registryCpu),
      wholeCpu: scaled(made.wholeCpu),
      operations: 1,
      requests: Object.fromEntries(Object.entries(made.requests).map(([method, n]) => [method, scaled(n)])),
    },
    words: `${some.length} deletions in ${number(made.value)} s, so ${images.length} (computed: ${rest.length} were not made) in ${number(scaled(made.value))} s`,
  };
}

function collect(bench: S3Bench, side: Side): Promise<string> {
  if (side.command !== undefined) {
    const [peer, config] = side.command;
    return runOk(peer, ['garbage-collect', config], {
      timeoutMs: 3_600_000,
      env: peerEnvironment,
    });
  }
  return runOk(process.execPath, [program, 'gc', '--grace', '0'], {
    cwd: bench.scratch,
    timeoutMs: 3_600_000,
    env: {
      ...storeEnvironment({ ...bench.ceph, bucket: side.bucket }),
      BRICKYARD_DATA: join(bench.scratch, 'gc'),
    },
  });
}

function sum(one: Observation, other: Observation): Observation {
  const methods = new Set([...Object.keys(one.requests), ...Object.keys(other.requests)]);
  return {
    value: one.value + other.value,
    registryCpu: one.registryCpu + other.registryCpu,
    wholeCpu: one.wholeCpu + other.wholeCpu,
    operations: 1,
    requests: Object.fromEntries(
      [...methods].map((method) => [method, (one.requests[method] ?? 0) + (other.requests[method] ?? 0)]),
    ),
  };
}

const config = Buffer.from('{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}');

function makeImage(index: number): Image {
  // Above what Brickyard keeps within its own records: a layer is an object.
  const layer = Buffer.alloc(16_384, `layer ${index};`);
  const manifest = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: manifestType,
      config: {
        mediaType: 'application/vnd.oci.image.config.v1+json',
        digest: digestOf(config),
        size: config.length,
      },
      layers: [
        { mediaType: 'application/vnd.oci.image.layer.v1.tar', digest: digestOf(layer), size: layer.length },
      ],
    }),
  );
  return { tag: `v${index}`, layer, manifest, digest: digestOf(manifest) };
}

function digestOf(bytes: Buffer): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}

async function pushAll(side: Side, images: readonly Image[]): Promise<void> {
  const agent = new Agent({ keepAlive: true });
  const blob = async (bytes: Buffer): Promise<void> => {
    const opened = await call(agent, side, 'POST', `/v2/${repository}/blobs/uploads/`, 202);
    const url = new URL(opened, side.url);
    url.searchParams.set('digest', digestOf(bytes));
    await call(agent, side, 'PUT', url.href, 201, bytes, 'application/octet-stream');
  };
  await blob(config);
  await parallel(32, images, async ({ layer, manifest, tag }) => {
    await blob(layer);
    await call(agent, side, 'PUT', `/v2/${repository}/manifests/${tag}`, 201, manifest, manifestType);
  });
  agent.destroy();
}

/** Seconds. */
async function deleteImages(side: Side, images: readonly Image[]): Promise<number> {
  const agent = new Agent({ keepAlive: true });
  const start = performance.now();
  await parallel(16, images, async ({ digest }) => {
    await call(agent, side, 'DELETE', `/v2/${repository}/manifests/${digest}`, 202);
  });
  const seconds = (performance.now() - start) / 1000;
  agent.destroy();
  return seconds;
}

async function parallel<T>(
  workers: number,
  items: readonly T[],
  work: (item: T) => Promise<void>,
): Promise<void> {
  const rest = items[Symbol.iterator]();
  await Promise.all(
    Array.from({ length: workers }, async () => {
      for (let each = rest.next(); each.done !== true; each = rest.next()) await work(each.value);
    }),
  );
}

/** Answers with the Location. */
function call(
  agent: Agent,
  side: Side,
  method: string,
  path: string,
  status: number,
  body?: Buffer,
  type = 'application/octet-stream',
): Promise<string> {
  return new Promise((done, reject) => {
    const message = request(new URL(path, side.url), {
      method,
      agent,
      headers: {
        'content-length': body?.length ?? 0,
        ...(body === undefined ? {} : { 'content-type': type }),
      },
    });
    message.once('error', reject);
    message.once('response', (response: IncomingMessage) => {
      let text = '';
      response.setEncoding('utf8');
      response.on('data', (chunk: string) => {
        text += chunk;
      });
      response.once('error', reject);
      response.once('end', () => {
        if (response.statusCode === status) done(response.headers.location ?? '');
        else reject(new Error(`${side.name}: ${method} ${path} answered ${response.statusCode}: ${text}`));
      });
    });
    message.end(body);
  });
}
