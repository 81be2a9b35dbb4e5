import { randomBytes } from 'node:crypto';
import { mkdir, mkdtemp, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { createRegistryClient } from '../../../oci/client.ts';
import { type Digest, digestOf } from '../../../oci/digest.ts';
import { mediaTypes } from '../../../oci/media-types.ts';
import type { Registry } from '../../../oci/registry.ts';
import { buildGoProgram, craneProgram } from '../../helpers/go-program.ts';
import { startServer } from '../../helpers/server.ts';
import { run } from '../http.ts';
import { alternate, type Comparison, cpuSeconds, type Sample } from '../measure.ts';

const apps = 100;
const layerBytes = 20 * 1024 * 1024;
const bases = 'baseimages/jdk';
const ours = Array.from({ length: apps }, (_, index) => `ours${index}/app`);
const theirs = ours.map((repository) => repository.replace('ours', 'crane'));

/**
 * A hundred apps follow a base image of two changed layers. Ours: one call of the API until the wave has ended, tags included. The peer: `crane rebase` in a
 * loop over a hundred copies of the same images on the same server, each with its tag. Undefined: this machine has no Go to build crane with.
 */
export async function rebaseApps(options: {
  scratch: string;
  pairs: number;
  say: (line: string) => void;
}): Promise<Comparison | undefined> {
  const { scratch, pairs, say } = options;
  const crane = await buildGoProgram(craneProgram);
  if (crane === undefined) {
    say('no Go on this machine, so no crane to compare with');
    return undefined;
  }
  const server = await startServer({
    data: await mkdtemp(join(scratch, 'brickyard-')),
    // One process, so that its counter of requests is the whole of them.
    env: { BRICKYARD_PROCESSES: '1', BRICKYARD_BUILDER_PROPAGATION_MODE: 'manual' },
  });
  const pid = server.process.pid ?? 0;
  const registry = createRegistryClient({ url: server.url });
  try {
    say(`${apps} apps …`);
    const generations = [await pushBase(registry)];
    await pushApps(server.url, registry, scratch);
    await copyApps(registry);

    /** Both sides of a pair move from one base to the next. */
    const generation = async (pair: number): Promise<{ before: Digest; after: Digest }> => {
      generations[pair + 1] ??= await pushBase(registry);
      return { before: generations[pair] as Digest, after: generations[pair + 1] as Digest };
    };
    const measure = async (work: () => Promise<void>): Promise<Sample & { requests: number }> => {
      const cpu = cpuSeconds(pid);
      const requests = await countRequests(server.url);
      const start = performance.now();
      await work();
      const value = (performance.now() - start) / 1000;
      return {
        value,
        cpuSeconds: cpuSeconds(pid) - cpu,
        // Less the one that read the counter.
        requests: (await countRequests(server.url)) - requests - 1,
      };
    };
    const counts = { ours: 0, crane: 0 };
    const wave = async (pair: number): Promise<Sample> => {
      const { after } = await generation(pair);
      await setChannel(registry, after);
      const sample = await measure(() => runWave(server.url));
      await check(registry, ours, after);
      counts.ours = sample.requests;
      return sample;
    };
    const loop = async (pair: number): Promise<Sample> => {
      const { before, after } = await generation(pair);
      const base = (digest: Digest): string => `${server.host}/${bases}@${digest}`;
      const sample = await measure(async () => {
        for (const repository of theirs) {
          const image = `${server.host}/${repository}:main`;
          await run(crane, [
            'rebase',
            image,
            '--old_base',
            base(before),
            '--new_base',
            base(after),
            '-t',
            image,
          ]);
        }
      });
      await check(registry, theirs, after);
      counts.crane = sample.requests;
      return sample;
    };
    const samples = await alternate({ pairs, warmUp: 1 }, wave, loop);
    say(`HTTP requests for ${apps} apps: ours ${counts.ours}, crane ${counts.crane}`);
    return {
      name: `${apps} apps onto a changed base image`,
      unit: 's',
      better: 'lower',
      target: 5,
      peerName: 'crane rebase, one after the other',
      ...samples,
    };
  } finally {
    registry.close();
    await server.remove();
  }
}

/** A base image of two layers that no earlier one had; returns its digest. */
async function pushBase(registry: Registry): Promise<Digest> {
  const layers = [randomBytes(layerBytes), randomBytes(layerBytes)];
  const config = Buffer.from(
    JSON.stringify({
      architecture: 'amd64',
      os: 'linux',
      config: { Env: ['PATH=/usr/bin'] },
      rootfs: { type: 'layers', diff_ids: layers.map((layer) => digestOf(layer)) },
      history: layers.map((_, index) => ({ created_by: `layer ${index}` })),
    }),
  );
  for (const blob of [...layers, config]) await registry.putBlob(bases, digestOf(blob), blob);
  const describe = (mediaType: string, bytes: Buffer) => ({
    mediaType,
    digest: digestOf(bytes),
    size: bytes.length,
  });
  const manifest = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: mediaTypes.ociManifest,
      config: describe(mediaTypes.ociConfig, config),
      layers: layers.map((layer) => describe(mediaTypes.ociLayer, layer)),
      annotations: { 'org.brickyard.base.abi': 'bench', 'org.brickyard.base.rebase': 'compatible' },
    }),
  );
  await registry.putManifest(bases, '17', manifest, mediaTypes.ociManifest);
  return digestOf(manifest);
}

async function setChannel(registry: Registry, digest: Digest): Promise<void> {
  const { bytes, descriptor } = await registry.getManifest(bases, digest);
  await registry.putManifest(bases, '17', bytes, descriptor.mediaType);
}

/** Each with a commit of its own, by `git push`. */
async function pushApps(url: string, registry: Registry, scratch: string): Promise<void> {
  const work = await mkdtemp(join(scratch, 'apps-'));
  const git = (...args: string[]): Promise<string> =>
    run('git', ['-c', 'user.name=Bench', '-c', 'user.email=bench@localhost', ...args], { cwd: work });
  await mkdir(work, { recursive: true });
  await git('init', '--quiet', '--initial-branch=main');
  await writeFile(
    join(work, 'App.yaml'),
    'appname: app\nbase: jdk:17\nentrypoints:\n  web: {cmd: java -jar app.jar}\n',
  );
  for (const repository of ours) {
    await writeFile(join(work, 'app.jar'), repository.repeat(10_000));
    await git('add', '--all');
    await git('commit', '--quiet', '--message', repository);
    await git('push', '--quiet', '-o', 'build.nowait', `${url}/git/${repository}.git`, '+main');
  }
  const last = ours.at(-1) ?? '';
  while ((await registry.resolveManifest(last, 'main').catch(() => undefined)) === undefined)
    await delay(100);
}

async function copyApps(registry: Registry): Promise<void> {
  for (const [index, repository] of theirs.entries()) {
    const from = ours[index] ?? '';
    const { bytes, descriptor } = await registry.getManifest(from, 'main');
    const { config, layers } = JSON.parse(bytes.toString()) as Record<'config', { digest: Digest }> & {
      layers: { digest: Digest }[];
    };
    for (const { digest } of [config, ...layers]) await registry.mountBlob(repository, digest, from);
    await registry.putManifest(repository, 'main', bytes, descriptor.mediaType);
  }
}

async function runWave(url: string): Promise<void> {
  const api = `${url}/api/v1/base-images/jdk`;
  const started = await fetch(`${api}/rebase`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: '{}',
  });
  const { waves } = (await started.json()) as { waves: { id: string }[] };
  for (const { id } of waves) {
    for (;;) {
      const { wave } = (await (await fetch(`${api}/waves/${id}`)).json()) as {
        wave: { finishedAt?: string; counts?: { rebased: number } };
      };
      if (wave.finishedAt === undefined) await delay(50);
      else if (wave.counts?.rebased === apps) break;
      else throw new Error(`the wave ended with ${JSON.stringify(wave)}`);
    }
  }
}

/** Every app stands on the base's layers. */
async function check(registry: Registry, repositories: readonly string[], base: Digest): Promise<void> {
  const layersOf = async (repository: string, reference: string): Promise<string[]> =>
    (
      JSON.parse((await registry.getManifest(repository, reference)).bytes.toString()) as {
        layers: { digest: string }[];
      }
    ).layers.map(({ digest }) => digest);
  const wanted = await layersOf(bases, base);
  for (const repository of repositories) {
    const layers = await layersOf(repository, 'main');
    const stands = wanted.every((digest, index) => layers[index] === digest);
    if (!stands || layers.length <= wanted.length)
      throw new Error(`${repository} does not stand on the new base`);
  }
}

async function countRequests(url: string): Promise<number> {
  const text = await (await fetch(`${url}/metrics`)).text();
  const counts = [...text.matchAll(/^http_request_duration_seconds_count\{[^}]*\} (\d+)$/gm)];
  return counts.reduce((sum, [, number]) => sum + Number(number), 0);
}
