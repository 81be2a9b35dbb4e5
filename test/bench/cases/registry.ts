import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { emptyBlob, load, pullBlob, pushBlob, pushManifest, randomFile } from '../http.ts';
import { alternate, type Comparison, memoryBytes, type Sample, timed } from '../measure.ts';
import type { BenchRegistry } from '../peers.ts';

export interface RegistryBench {
  readonly ours: BenchRegistry;
  readonly peer: BenchRegistry;
  readonly scratch: string;
  readonly pairs: number;
  readonly say: (line: string) => void;
}

const megabyte = 1_000_000;
const loadSeconds = 5;
const manifestType = 'application/vnd.oci.image.manifest.v1+json';

/** Push of one 300 MB blob: POST, one streamed PATCH, PUT. Every pair has fresh bytes, so nothing is deduplicated. */
export async function pushLargeBlob(bench: RegistryBench): Promise<Comparison> {
  const file = join(bench.scratch, 'large');
  let digest = '';
  const one = async (registry: BenchRegistry, first: boolean): Promise<Sample> => {
    if (first) digest = await randomFile(file, 300 * megabyte);
    return timed(registry.pid, () => pushBlob(registry.url, 'bench/large', file, digest));
  };
  const samples = await alternate(
    { pairs: bench.pairs, warmUp: 3 },
    (pair) => one(bench.ours, pair % 2 === 0),
    (pair) => one(bench.peer, pair % 2 === 1),
  );
  return {
    name: 'push one 300 MB blob',
    unit: 's',
    better: 'lower',
    target: 2,
    peerName: bench.peer.name,
    ...samples,
  };
}

/** 16 pushes of 10 MB at once. */
export async function pushParallel(bench: RegistryBench): Promise<Comparison> {
  const files = Array.from({ length: 16 }, (_, index) => join(bench.scratch, `part${index}`));
  let digests: string[] = [];
  const one = async (registry: BenchRegistry, first: boolean): Promise<Sample> => {
    if (first) digests = await Promise.all(files.map((file) => randomFile(file, 10 * megabyte)));
    return timed(registry.pid, async () => {
      await Promise.all(
        files.map((file, index) =>
          pushBlob(registry.url, `bench/parallel${index}`, file, digests[index] ?? ''),
        ),
      );
    });
  };
  const samples = await alternate(
    { pairs: bench.pairs, warmUp: 10 },
    (pair) => one(bench.ours, pair % 2 === 0),
    (pair) => one(bench.peer, pair % 2 === 1),
  );
  await Promise.all(files.map((file) => rm(file)));
  return {
    name: '16 parallel pushes of 10 MB',
    unit: 's',
    better: 'lower',
    target: 2,
    peerName: bench.peer.name,
    ...samples,
  };
}

/** Manifest GET by tag and blob HEAD with 32 connections, blob GET of 300 MB with one and with four clients. */
export async function reads(bench: RegistryBench): Promise<Comparison[]> {
  const file = join(bench.scratch, 'read');
  const digest = await randomFile(file, 300 * megabyte);
  const script = join(bench.scratch, 'wrk.lua');
  const nothing = join(bench.scratch, 'nothing');
  await writeFile(nothing, '');
  for (const registry of [bench.ours, bench.peer]) {
    await pushBlob(registry.url, 'bench/read', file, digest);
    await pushBlob(registry.url, 'bench/read', nothing, emptyBlob);
    await pushManifest(registry.url, 'bench/read', 'v1', [{ digest, size: 300 * megabyte }]);
  }
  const loaded = async (registry: BenchRegistry, run: (base: string) => Promise<number>): Promise<Sample> => {
    let rate = 0;
    const sample = await timed(registry.pid, async () => {
      rate = await run(`${registry.url}/v2/bench/read`);
    });
    return { value: rate, cpuSeconds: sample.cpuSeconds };
  };
  const pulled = (registry: BenchRegistry, clients: number): Promise<Sample> =>
    timed(registry.pid, async () => {
      await Promise.all(Array.from({ length: clients }, () => pullBlob(registry.url, 'bench/read', digest)));
    });
  const both = (
    one: (registry: BenchRegistry) => Promise<Sample>,
  ): Promise<{ ours: Sample[]; peer: Sample[] }> =>
    alternate(
      { pairs: bench.pairs, warmUp: 1 },
      () => one(bench.ours),
      () => one(bench.peer),
    );
  const peerName = bench.peer.name;
  const results: Comparison[] = [];
  bench.say('manifest GET …');
  results.push({
    name: 'manifest GET, 32 connections',
    unit: 'req/s',
    better: 'higher',
    target: 10,
    peerName,
    ...(await both((r) =>
      loaded(r, (base) =>
        load(`${base}/manifests/v1`, { method: 'GET', accept: manifestType, seconds: loadSeconds, script }),
      ),
    )),
  });
  bench.say('blob HEAD …');
  results.push({
    name: 'blob HEAD, 32 connections',
    unit: 'req/s',
    better: 'higher',
    target: 10,
    peerName,
    ...(await both((r) =>
      loaded(r, (base) =>
        load(`${base}/blobs/${emptyBlob}`, { method: 'HEAD', seconds: loadSeconds, script }),
      ),
    )),
  });
  bench.say('blob GET …');
  results.push({
    name: 'blob GET 300 MB, 1 client',
    unit: 's',
    better: 'lower',
    target: 1,
    peerName,
    ...(await both((r) => pulled(r, 1))),
  });
  results.push({
    name: 'blob GET 300 MB, 4 clients',
    unit: 's',
    better: 'lower',
    target: 1,
    peerName,
    ...(await both((r) => pulled(r, 4))),
  });
  return results;
}

/** Highest memory of the server while 64 uploads of 100 MB run at once. */
export async function uploadMemory(bench: RegistryBench): Promise<Comparison> {
  const file = join(bench.scratch, 'memory');
  const digest = await randomFile(file, 100 * megabyte);
  const one = async (registry: BenchRegistry, pair: number): Promise<Sample> => {
    let highest = 0;
    const watch = setInterval(() => {
      highest = Math.max(highest, memoryBytes(registry.pid));
    }, 100);
    const sample = await timed(registry.pid, async () => {
      await Promise.all(
        Array.from({ length: 64 }, (_, index) =>
          pushBlob(registry.url, `bench/memory${pair}-${index}`, file, digest),
        ),
      );
    });
    clearInterval(watch);
    return { value: highest / megabyte, cpuSeconds: sample.cpuSeconds };
  };
  const samples = await alternate(
    { pairs: 1 },
    (pair) => one(bench.ours, pair),
    (pair) => one(bench.peer, pair),
  );
  return {
    name: 'memory with 64 uploads of 100 MB',
    unit: 'MB',
    better: 'lower',
    peerName: bench.peer.name,
    note: 'promise: ≤ 400 MB',
    ...samples,
  };
}
