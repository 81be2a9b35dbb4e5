import { createHash, createHmac } from 'node:crypto';
import { once } from 'node:events';
import { Agent, type IncomingMessage, request } from 'node:http';
import { catalogKey, tagKey } from '../../../registry/store/paths.ts';
import { encodeRecord } from '../../../registry/store/record.ts';
import { fillBucket } from '../../helpers/bucket.ts';
import { median } from '../measure.ts';
import type { S3Bench } from './bench.ts';
import { inTurn, type Observation } from './observe.ts';
import { number, type S3Case } from './report.ts';
import type { Side } from './sides.ts';

const repository = 'bench/lists';
/** Names of one list, spread over all first characters as hashes are. */
function* names(count: number): Generator<string> {
  for (let index = 0; index < count; index++) {
    yield createHash('sha256').update(`${index}`).digest('hex').slice(0, 24);
  }
}
const digest = `sha256:${createHash('sha256').update('manifest').digest('hex')}`;

/** One page of tags, one page of repositories, of very many; beside the bare LIST that a page has to cost. */
export async function lists(bench: S3Bench): Promise<S3Case[]> {
  const [ours, ...peers] = bench.sides;
  if (ours === undefined) return [];
  const count = bench.quick ? 5_000 : 100_000;
  bench.say(`filling ${count} tags and repositories …`);
  await fillBucket(bench.s3, ours.bucket, ourObjects(count));
  for (const peer of peers) await fillBucket(bench.s3, peer.bucket, theirTags(count));
  const cases: S3Case[] = [];
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  // From the middle: a page there needs no more than the first one.
  const last = '8';
  for (const limit of [100, 1000]) {
    for (const [what, prefix, path] of [
      ['tags', tagKey(repository, ''), `/v2/${repository}/tags/list`],
      ['repositories', catalogKey(''), '/v2/_catalog'],
    ] as const) {
      bench.say(`a page of ${limit} ${what} …`);
      const bare: Side = { ...ours, name: 'bare LIST' };
      const sides = [bare, ours, ...(what === 'tags' ? peers : [])];
      const results = await inTurn({ rounds: bench.rounds, warmUp: 1 }, sides, (side) => {
        // Peers read the whole list for every page.
        const pages = peers.includes(side) ? 1 : 20;
        return bench.observer.observe(side, pages, async () => {
          const times: number[] = [];
          for (let page = 0; page < pages; page++) {
            const url =
              side === bare
                ? signedList(bench, ours.bucket, prefix, limit, `${prefix}${last}`)
                : new URL(`${path}?n=${limit}&last=${last}`, side.url);
            const start = performance.now();
            await read(agent, url);
            times.push(performance.now() - start);
          }
          return median(times);
        });
      });
      const page = median((results.get(ours.name) ?? []).map(({ value }: Observation) => value));
      const store = median((results.get(bare.name) ?? []).map(({ value }: Observation) => value));
      cases.push({
        name: `one page of ${limit} of ${count} ${what}`,
        unit: 'ms',
        better: 'lower',
        results: new Map([
          [ours.name, results.get(ours.name) ?? []],
          ...[...results].filter(([name]) => name !== ours.name),
        ]),
        notes: [
          `Brickyard's page takes ${number(page / store)} times the store's own LIST (promise ≤ 1.2: ${page / store <= 1.2 ? 'reached' : 'missed'}).`,
        ],
      });
    }
  }
  agent.destroy();
  return cases;
}

function* ourObjects(count: number): Generator<{ key: string; body: Buffer }> {
  const header = { state: 'tag', nonce: '0'.repeat(32), digest, mediaType: 'application/x', size: 1000 };
  const tag = encodeRecord(header);
  const entry = encodeRecord({ state: 'repository', nonce: '0'.repeat(32) });
  yield { key: catalogKey(repository), body: entry };
  for (const name of names(count)) {
    yield { key: tagKey(repository, name), body: tag };
    yield { key: catalogKey(name), body: entry };
  }
}

/** distribution's layout: registry/storage/paths.go. */
function* theirTags(count: number): Generator<{ key: string; body: Buffer }> {
  const root = `docker/registry/v2/repositories/${repository}/_manifests`;
  for (const name of names(count)) {
    yield { key: `${root}/tags/${name}/current/link`, body: Buffer.from(digest) };
  }
}

async function read(agent: Agent, url: URL): Promise<void> {
  const message = request(url, { agent });
  message.end();
  const [response] = (await once(message, 'response')) as [IncomingMessage];
  let bytes = 0;
  for await (const chunk of response) bytes += (chunk as Buffer).length;
  if (response.statusCode !== 200 || bytes < 1000) {
    throw new Error(`GET ${url.pathname} answered ${response.statusCode} with ${bytes} bytes`);
  }
}

/** ListObjectsV2 with the signature in its address (AWS Signature Version 4), so that nothing but the store's own time is measured. */
function signedList(bench: S3Bench, bucket: string, prefix: string, limit: number, after: string): URL {
  const { ceph } = bench;
  const url = new URL(`${ceph.endpoint}/${bucket}`);
  const now = new Date().toISOString().replaceAll(/[-:]|\.\d+/g, '');
  const day = now.slice(0, 8);
  const scope = `${day}/${ceph.region}/s3/aws4_request`;
  const query = new Map([
    ['X-Amz-Algorithm', 'AWS4-HMAC-SHA256'],
    ['X-Amz-Credential', `${ceph.accessKeyId}/${scope}`],
    ['X-Amz-Date', now],
    ['X-Amz-Expires', '600'],
    ['X-Amz-SignedHeaders', 'host'],
    ['list-type', '2'],
    ['max-keys', `${limit}`],
    ['prefix', prefix],
    ['start-after', after],
  ]);
  const canonical = [...query].map(([name, value]) => `${name}=${encodeURIComponent(value)}`).join('&');
  const hash = (text: string): string => createHash('sha256').update(text).digest('hex');
  const hmac = (key: string | Buffer, text: string): Buffer =>
    createHmac('sha256', key).update(text).digest();
  const whole = ['GET', url.pathname, canonical, `host:${url.host}\n`, 'host', 'UNSIGNED-PAYLOAD'].join('\n');
  const key = [ceph.region, 's3', 'aws4_request'].reduce(
    (previous, text) => hmac(previous, text),
    hmac(`AWS4${ceph.secretAccessKey}`, day),
  );
  const signature = hmac(key, ['AWS4-HMAC-SHA256', now, scope, hash(whole)].join('\n')).toString('hex');
  return new URL(`${url.href}?${canonical}&X-Amz-Signature=${signature}`);
}
