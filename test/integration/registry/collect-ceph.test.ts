import { execFile } from 'node:child_process';
import { resolve } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { S3Store } from '../../../core/object-store/s3/driver.ts';
import { createS3Store } from '../../../core/object-store/s3.ts';
import { digestOf } from '../../../oci/digest.ts';
import type { Registry } from '../../../oci/registry.ts';
import type { CollectionReport } from '../../../registry/collect/report.ts';
import { createStoredRegistry } from '../../../registry/stored-registry.ts';
import { verifyStore } from '../../../registry/verify/verify-store.ts';
import { type CephStore, startCeph } from '../../helpers/ceph.ts';
import { pushContent } from '../../helpers/content.ts';
import { createTempDirectory } from '../../helpers/temp.ts';
import { expectCode } from '../../suites/registry.ts';

const program = resolve(import.meta.dirname, '../../../bin/brickyard.js');
const repository = 'team/app';
const layer = (text: string) => Buffer.alloc(50_000, text);

let ceph: CephStore;
let store: S3Store;
let registry: Registry;
let bucket: string;
beforeAll(async () => {
  ceph = await startCeph();
  bucket = await ceph.createBucket();
  const { endpoint, region } = ceph;
  store = createS3Store({ endpoint, region, bucket, credentials: ceph });
  registry = createStoredRegistry({ store });
});
afterAll(async () => {
  store.close();
  await ceph.stop();
});

/** The program on the bucket, as an operator runs it. */
async function gc(...args: string[]): Promise<CollectionReport> {
  await using folder = await createTempDirectory('gc');
  const { stdout } = await promisify(execFile)(process.execPath, [program, 'gc', '--json', ...args], {
    cwd: folder.path,
    env: {
      PATH: process.env['PATH'],
      BRICKYARD_STORE_TYPE: 's3',
      BRICKYARD_STORE_S3_ENDPOINT: ceph.endpoint,
      BRICKYARD_STORE_S3_REGION: ceph.region,
      BRICKYARD_STORE_S3_BUCKET: bucket,
      AWS_ACCESS_KEY_ID: ceph.accessKeyId,
      AWS_SECRET_ACCESS_KEY: ceph.secretAccessKey,
    },
  });
  return JSON.parse(stdout) as CollectionReport;
}

it('collection on Ceph: waits by the gateway’s clock, frees what nobody needs, aborts nothing that goes on', async () => {
  const push = () =>
    pushContent(registry, {
      [repository]: {
        blobs: { base: layer('base'), one: layer('one'), two: layer('two') },
        manifests: { first: { layers: ['base', 'one'] }, second: { layers: ['base', 'two'] } },
        tags: { v1: 'first', v2: 'second' },
      },
    });
  const { first } = (await push())[repository].manifests;
  const { id } = await registry.startUpload(repository);
  expect(await gc('--full', '--grace', '0')).toMatchObject({ complete: true, blobs: { examined: 0 } });
  await registry.deleteManifest(repository, first.digest);

  const condemning = await gc('--grace', '1h');
  expect(condemning.blobs).toMatchObject({ condemned: 1, deleted: 0 });
  const waitMs = Date.parse(condemning.nextDue ?? '') - Date.now();
  expect(waitMs).toBeGreaterThan(50 * 60_000);
  expect(waitMs).toBeLessThanOrEqual(60 * 60_000);
  const deleting = await gc('--grace', '0');

  expect(deleting).toMatchObject({ mode: 'hints', errors: 0, blobs: { deleted: 1, deletedBytes: 50_000 } });
  await expectCode('BLOB_UNKNOWN', () => registry.getBlob(repository, digestOf(layer('one'))));
  expect((await store.list({ prefix: 'data/' })).objects).toHaveLength(2);
  expect((await registry.uploadStatus(repository, id)).offset).toBe(0);
  await push();
  const { body } = await registry.getBlob(repository, digestOf(layer('one')));
  expect(await buffer(body)).toEqual(layer('one'));
  const { severities } = await verifyStore({ store, bytes: true, onFinding: () => {} });
  expect(severities.damage).toBe(0);
});

it('nothing acknowledged is lost on Ceph while images are pushed and collected without grace', async () => {
  const until = Date.now() + 6_000;
  const digests = new Map<string, string>();
  const worker = async (name: string): Promise<void> => {
    for (let round = 0; Date.now() < until; round++) {
      const known = await pushContent(registry, {
        [repository]: {
          blobs: { base: layer('storm'), own: layer(`${name} ${round % 3}`) },
          manifests: { image: { layers: ['base', 'own'], annotations: { name } } },
          tags: { [name]: 'image' },
        },
      }).catch((error: unknown) => {
        // Collected between its upload and its manifest, as a client without grace has to expect.
        if (/BLOB_UNKNOWN|UNAVAILABLE/.test(String((error as { code?: string }).code))) return undefined;
        throw error;
      });
      if (known === undefined) continue;
      const { digest } = known[repository].manifests.image;
      const old = digests.get(name);
      digests.set(name, digest);
      if (old !== undefined && old !== digest)
        await registry.deleteManifest(repository, old as typeof digest);
    }
  };
  const collect = async (): Promise<void> => {
    for (let round = 0; Date.now() < until; round++) {
      expect(await gc('--grace', '0', ...(round % 2 === 1 ? ['--full'] : []))).toMatchObject({ errors: 0 });
    }
  };
  await Promise.all([collect(), worker('a'), worker('b')]);

  for (const [tag, digest] of digests) {
    expect((await registry.getManifest(repository, tag)).descriptor.digest).toBe(digest);
  }
  const { severities } = await verifyStore({ store, bytes: true, onFinding: () => {} });
  expect(severities.damage).toBe(0);
});
