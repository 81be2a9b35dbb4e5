import { execFile } from 'node:child_process';
import { readdir } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { promisify } from 'node:util';
import { afterEach, expect, it, vi } from 'vitest';
import { createFilesystemStore } from '../../../core/object-store/filesystem.ts';
import { createRegistryClient, type RegistryClient } from '../../../oci/client.ts';
import { type Digest, digestOf } from '../../../oci/digest.ts';
import { isOciError } from '../../../oci/errors.ts';
import { mediaTypes } from '../../../oci/media-types.ts';
import type { CollectionReport } from '../../../registry/collect/report.ts';
import { verifyStore } from '../../../registry/verify/verify-store.ts';
import { startServer, type TestServer, type TestServerOptions } from '../../helpers/server.ts';
import { createTempDirectory } from '../../helpers/temp.ts';
import { expectCode } from '../../suites/registry.ts';

const program = resolve(import.meta.dirname, '../../../bin/brickyard.js');
const run = promisify(execFile);
const repository = 'team/app';

let server: TestServer | undefined;
let client: RegistryClient | undefined;
afterEach(async () => {
  client?.close();
  await server?.remove();
});

async function start(
  options: TestServerOptions = {},
): Promise<{ server: TestServer; client: RegistryClient }> {
  server = await startServer(options);
  client = createRegistryClient({ url: server.url });
  return { server, client };
}

/** `brickyard gc`, as a process of its own beside the server. */
async function gc(data: string, ...args: string[]): Promise<CollectionReport> {
  const { stdout } = await run(process.execPath, [program, 'gc', '--json', ...args], {
    cwd: data,
    env: { PATH: process.env['PATH'], BRICKYARD_DATA: data },
  });
  return JSON.parse(stdout) as CollectionReport;
}

/** Bytes of blobs in the data folder. */
async function dataFiles(data: string): Promise<number> {
  const entries = await readdir(join(data, 'store/objects/data'), {
    recursive: true,
    withFileTypes: true,
  }).catch(() => []);
  return entries.filter((entry) => entry.isFile()).length;
}

const layer = (text: string) => Buffer.alloc(100_000, text);

/** Uploads what the registry says it lacks, as clients do, and does so again when that has changed meanwhile. */
async function pushImage(to: RegistryClient, tag: string, layers: readonly Buffer[]): Promise<Digest> {
  const config = Buffer.from(JSON.stringify({ tag }));
  const describe = (bytes: Buffer, mediaType: string) => ({
    mediaType,
    digest: digestOf(bytes),
    size: bytes.length,
  });
  const manifest = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: mediaTypes.ociManifest,
      config: describe(config, 'application/vnd.oci.image.config.v1+json'),
      layers: layers.map((bytes) => describe(bytes, 'application/vnd.oci.image.layer.v1.tar')),
    }),
  );
  for (;;) {
    for (const bytes of [config, ...layers]) {
      const known = await to.resolveBlob(repository, digestOf(bytes)).catch(() => undefined);
      if (known === undefined) await to.putBlob(repository, digestOf(bytes), bytes);
    }
    try {
      return (await to.putManifest(repository, tag, manifest, mediaTypes.ociManifest)).descriptor.digest;
    } catch (error) {
      if (!isOciError(error, 'MANIFEST_BLOB_UNKNOWN')) throw error;
    }
  }
}

it('what is deleted goes from the disk, the rest can be pulled, and the deleted can be pushed again', async () => {
  const {
    server: { data, url },
    client: registry,
  } = await start({
    env: { BRICKYARD_COLLECTION_ENABLED: 'false' },
  });
  const first = await pushImage(registry, 'v1', [layer('base'), layer('one')]);
  await pushImage(registry, 'v2', [layer('base'), layer('two')]);
  expect(await dataFiles(data)).toBe(3);
  expect(await gc(data, '--full', '--grace', '0')).toMatchObject({ complete: true, blobs: { deleted: 0 } });
  await registry.deleteManifest(repository, first);

  expect(await gc(data, '--grace', '0', '--dry-run')).toMatchObject({ blobs: { deleted: 2 } });
  expect(await gc(data)).toMatchObject({ blobs: { condemned: 2, deleted: 0 } });
  expect(await dataFiles(data)).toBe(3);
  const report = await gc(data, '--grace', '0');

  expect(report).toMatchObject({ mode: 'hints', errors: 0, blobs: { deleted: 2 } });
  expect(report.blobs.deletedBytes).toBeGreaterThan(100_000);
  expect(await dataFiles(data)).toBe(2);
  await expectCode('BLOB_UNKNOWN', () => registry.getBlob(repository, digestOf(layer('one'))));
  const base = await registry.getBlob(repository, digestOf(layer('base')));
  expect(await buffer(base.body)).toEqual(layer('base'));
  await pushImage(registry, 'v1', [layer('base'), layer('one')]);
  const again = await registry.getBlob(repository, digestOf(layer('one')));
  expect(await buffer(again.body)).toEqual(layer('one'));
  const metrics = await (await fetch(`${url}/metrics`)).text();
  expect(metrics).toMatch(/^brickyard_collection_blobs_deleted_total 2$/m);
});

it('a server collects by itself', async () => {
  const {
    server: { data },
    client: registry,
  } = await start({
    env: {
      BRICKYARD_COLLECTION_GRACE: '0',
      BRICKYARD_COLLECTION_INTERVAL: '1',
      BRICKYARD_COLLECTION_UNTAGGED_ENABLED: 'true',
      BRICKYARD_COLLECTION_UNTAGGED_OLDER_THAN: '0',
    },
  });
  await pushImage(registry, 'v1', [layer('one')]);
  const second = await pushImage(registry, 'v1', [layer('two')]);
  // The tag was moved, so the policy removes what it pointed at.
  await vi.waitFor(async () => expect(await dataFiles(data)).toBe(1), 20_000);
  expect((await registry.resolveManifest(repository, 'v1')).digest).toBe(second);
  await registry.deleteManifest(repository, second);
  await vi.waitFor(async () => expect(await dataFiles(data)).toBe(0), 20_000);
});

it('nothing acknowledged is lost while everybody pushes, deletes and collects without grace', async () => {
  const {
    server: { data },
    client: registry,
  } = await start({ env: { BRICKYARD_COLLECTION_ENABLED: 'false' } });
  const until = Date.now() + 8_000;
  const tags = new Map<string, Digest>();
  const shared = [layer('base-a'), layer('base-b')];
  const worker = async (name: string): Promise<void> => {
    for (let round = 0; Date.now() < until; round++) {
      const tag = `${name}-${round % 3}`;
      const old = tags.get(tag);
      const base = shared[round % 2] as Buffer;
      tags.set(tag, await pushImage(registry, tag, [base, layer(`${name}${round % 5}`)]));
      if (old !== undefined && old !== tags.get(tag) && round % 2 === 0) {
        await registry.deleteManifest(repository, old).catch((error: unknown) => {
          if (!isOciError(error, 'MANIFEST_UNKNOWN')) throw error;
        });
      }
    }
  };
  const collect = async (): Promise<number> => {
    let deleted = 0;
    for (let round = 0; Date.now() < until; round++) {
      const report = await gc(data, '--grace', '0', ...(round % 3 === 2 ? ['--full'] : []));
      expect(report).toMatchObject({ complete: true, errors: 0, messages: [] });
      deleted += report.blobs.deleted;
    }
    return deleted;
  };
  const garbage = await pushImage(registry, 'garbage', [layer('garbage')]);
  await registry.deleteManifest(repository, garbage);
  const [deleted] = await Promise.all([collect(), ...['a', 'b', 'c', 'd'].map(worker)]);

  expect(deleted).toBeGreaterThan(0);
  for (const [tag, digest] of tags) {
    const { bytes, descriptor } = await registry.getManifest(repository, tag);
    expect(descriptor.digest).toBe(digest);
    const { config, layers } = JSON.parse(bytes.toString()) as {
      config: { digest: Digest };
      layers: { digest: Digest }[];
    };
    for (const blob of [config, ...layers]) {
      const { body } = await registry.getBlob(repository, blob.digest);
      expect(digestOf(await buffer(body))).toBe(blob.digest);
    }
  }
  const store = createFilesystemStore({ root: join(data, 'store') });
  const { severities } = await verifyStore({ store, bytes: true, onFinding: () => {} });
  store.close();
  expect(severities.damage).toBe(0);
});

it('gc says what it did, and refuses what it does not understand', async () => {
  await using folder = await createTempDirectory('gc');
  const data = folder.path;
  const text = async (...args: string[]) => {
    const environment = { PATH: process.env['PATH'], BRICKYARD_DATA: data };
    const ended = run(process.execPath, [program, 'gc', ...args], { cwd: data, env: environment });
    return ended.catch((error: { stdout: string; stderr: string; code: number }) => error);
  };
  expect((await text()).stdout).toMatch(/^nothing to do\n/);
  expect((await text()).stdout).toContain('Followed the hints of deletes; --full looks at everything');
  expect(await text('--grace', 'soon')).toMatchObject({
    code: 2,
    stderr: expect.stringContaining('--grace soon is no time; write 90s, 15m, 24h or 7d') as string,
  });
});
