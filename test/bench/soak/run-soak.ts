import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { createRandom, type Random } from '../../helpers/fault-random.ts';
import { run } from '../../helpers/process.ts';
import { type SoakCluster, type SoakStoreKind, startCluster } from './cluster.ts';
import { type Collectors, startCollectors } from './collectors.ts';
import { createCounts, type SoakCounts } from './counts.ts';
import { commonLayers } from './image.ts';
import { type RealClient, startRealClient } from './real-client.ts';
import {
  contestedRepository,
  createSyntheticClient,
  doomedRepositories,
  type SyntheticClient,
  sharedRepositories,
} from './synthetic-client.ts';
import { createSoakHttp, type SoakHttp } from './transport.ts';

export interface SoakOptions {
  /** For people: `A`, `B`. */
  readonly mode: string;
  readonly store: SoakStoreKind;
  readonly seconds: number;
  /** How long an unreferenced blob stays. */
  readonly graceMs: number;
  /** Clients send a blob again when it is said to be unknown; without it each such answer is a failed push. */
  readonly sendAgain: boolean;
  readonly seed: string;
  /** Synthetic clients at once. */
  readonly clients: number;
  readonly realClients: readonly ('docker' | 'skopeo')[];
  readonly say: (line: string) => void;
}

/** What the product's own commands said in the end. */
export interface VerifySummary {
  readonly damage: number;
  readonly garbage: number;
  readonly notes: number;
  readonly findings: readonly { severity: string; kind: string; key: string; detail: string }[];
}

export interface SoakResult {
  readonly options: SoakOptions;
  readonly counts: SoakCounts;
  readonly seconds: number;
  readonly verify: VerifySummary;
  /** What servers printed, for who looks for a reason. */
  readonly output: string;
}

const program = resolve(import.meta.dirname, '../../../bin/brickyard.js');
const collectorCount = 2;

/**
 * Clients push, mount, tag, delete and pull through replicas of which one is killed every few seconds, while collectors, which are killed
 * too, delete what nobody needs. In the end everything that was acknowledged is read, garbage is collected once more, the whole
 * store is verified, and everything is read again.
 */
export async function runSoak(options: SoakOptions): Promise<SoakResult> {
  const { seconds, say } = options;
  const random = createRandom(`${options.seed}/${options.mode}`);
  const counts = createCounts();
  const routes = random.fork('routes');
  const cluster = await startCluster(options.store, (items) => routes.pick(items));
  const http = createSoakHttp(cluster.url, counts);
  let collectors: Collectors | undefined;
  const real: RealClient[] = [];
  try {
    const synthetic = createClients(options, http, counts, random);
    for (const name of options.realClients) {
      const host = new URL(cluster.url).host;
      real.push(await startRealClient({ name, host, http, counts, random: random.fork(name) }));
    }
    const started = Date.now();
    const { graceMs } = options;
    const { environment } = cluster;
    collectors = startCollectors({ count: collectorCount, graceMs, pauseMs: 2000, environment, counts });
    const isOver = (): boolean => Date.now() - started >= seconds * 1000;
    const late = setTimeout(
      () => say(`half a minute late: ${counts.askedAgain} sent again, ${http.waiting().join(', ')}`),
      (seconds + 30) * 1000,
    );
    await Promise.all([
      ...[...synthetic, ...real].map((client) => work(client, counts, isOver)),
      killNowAndThen(cluster, collectors, counts, random.fork('kills'), isOver),
      tell(say, counts, started, isOver),
    ]);
    clearTimeout(late);
    await collectors.stop();
    say(`${options.mode}: reading everything that was acknowledged …`);
    await checkAll(synthetic, real, http, counts);
    say(`${options.mode}: collecting, verifying …`);
    await collectGarbage(options, cluster, counts);
    const verify = await verifyStore(cluster);
    await checkAll(synthetic, real, http, counts);
    return { options, counts, seconds: (Date.now() - started) / 1000, verify, output: cluster.output() };
  } finally {
    await collectors?.stop();
    http.close();
    for (const client of real) await client.stop();
    await cluster.close();
  }
}

function createClients(
  options: SoakOptions,
  http: SoakHttp,
  counts: SoakCounts,
  random: Random,
): SyntheticClient[] {
  const common = commonLayers(options.seed);
  return Array.from({ length: options.clients }, (_, index) => {
    const name = `client${index}`;
    const { sendAgain } = options;
    return createSyntheticClient({ name, http, counts, random: random.fork(name), common, sendAgain });
  });
}

async function work(
  client: { step(): Promise<void> },
  counts: SoakCounts,
  isOver: () => boolean,
): Promise<void> {
  while (!isOver()) {
    try {
      await client.step();
    } catch (error) {
      counts.faults.push(
        `${new Date().toISOString()} ${error instanceof Error ? error.message : String(error)}`,
      );
      if (counts.faults.length > 50) return;
    }
  }
}

async function killNowAndThen(
  cluster: SoakCluster,
  collectors: Collectors,
  counts: SoakCounts,
  random: Random,
  isOver: () => boolean,
): Promise<void> {
  while (!isOver()) {
    await sleep(random.between(1500, 6000));
    if (random.chance(0.3)) await collectors.crash(random.below(collectorCount));
    else {
      await cluster.crash(random.below(cluster.replicas));
      counts.replicasKilled++;
    }
  }
}

async function tell(
  say: (line: string) => void,
  counts: SoakCounts,
  started: number,
  isOver: () => boolean,
): Promise<void> {
  for (let told = Date.now(); !isOver(); await sleep(500)) {
    if (Date.now() - told < 30_000) continue;
    told = Date.now();
    const { pushes, collections, deletedBlobs, replicasKilled, failedPushes, losses } = counts;
    say(
      `${Math.round((told - started) / 1000)} s: ${pushes} pushes, ${collections} collections, ${deletedBlobs} blobs deleted, ${replicasKilled} kills, ${failedPushes.length} failed, ${losses.length} lost`,
    );
  }
}

/** Everything that clients rely on, and that listings show that and nothing else. */
async function checkAll(
  synthetic: readonly SyntheticClient[],
  real: readonly RealClient[],
  http: SoakHttp,
  counts: SoakCounts,
): Promise<void> {
  await Promise.all([...synthetic, ...real].map((client) => client.checkAll()));
  for (const repository of sharedRepositories) {
    const expected = synthetic
      .flatMap(({ tags }) => [...tags.keys()])
      .filter((key) => key.startsWith(`${repository}:`))
      .map((key) => key.slice(repository.length + 1))
      .toSorted((a, b) => (a < b ? -1 : 1));
    const listed = await tagsOf(http, repository);
    if (JSON.stringify(listed) !== JSON.stringify(expected)) {
      const missing = expected.filter((tag) => !listed.includes(tag));
      const extra = listed.filter((tag) => !expected.includes(tag));
      counts.losses.push(`tags of ${repository}: missing ${missing.join(' ')}, too many ${extra.join(' ')}`);
    }
  }
  const answer = await http.send('GET', '/v2/_catalog?n=1000');
  const { repositories } = JSON.parse(answer.body.toString()) as { repositories: string[] };
  for (const repository of [contestedRepository, ...doomedRepositories]) {
    const tags = await tagsOf(http, repository);
    for (const tag of tags) await checkWhole(http, counts, repository, tag);
    const isDoomed = repository !== contestedRepository;
    if (isDoomed && tags.length === 0 && repositories.includes(repository)) {
      const { status, body } = await http.send('DELETE', `/api/v1/repositories/${repository}`);
      // Only untagged images, or a ghost: something must have been there to delete.
      const { manifests = 0 } = JSON.parse(body.toString()) as { manifests?: number };
      if (status !== 200 || manifests === 0) counts.losses.push(`${repository} is a ghost in the catalog`);
    }
  }
}

async function tagsOf(http: SoakHttp, repository: string): Promise<string[]> {
  const answer = await http.send('GET', `/v2/${repository}/tags/list?n=1000`);
  if (answer.status === 404) return [];
  return (JSON.parse(answer.body.toString()) as { tags: string[] }).tags;
}

/** Nobody knows whose the image is, but a tag that is listed leads to one that is whole. */
async function checkWhole(
  http: SoakHttp,
  counts: SoakCounts,
  repository: string,
  tag: string,
): Promise<void> {
  const manifest = await http.send('GET', `/v2/${repository}/manifests/${tag}`);
  if (manifest.status !== 200) {
    counts.losses.push(`${repository}:${tag} is listed: ${manifest.status}`);
    return;
  }
  const { config, layers } = JSON.parse(manifest.body.toString()) as {
    config: { digest: string };
    layers: { digest: string }[];
  };
  for (const { digest } of [config, ...layers]) {
    const blob = await http.send('GET', `/v2/${repository}/blobs/${digest}`);
    if (blob.status !== 200) counts.losses.push(`${repository}:${tag}: blob ${digest}: ${blob.status}`);
  }
}

async function collectGarbage(options: SoakOptions, cluster: SoakCluster, counts: SoakCounts): Promise<void> {
  const grace = `${Math.round(options.graceMs / 1000)}s`;
  const result = await brickyard(cluster, ['gc', '--full', '--json', '--grace', grace]);
  if (result.code !== 0) counts.faults.push(`gc ended with ${result.code}: ${result.stderr}`);
}

async function verifyStore(cluster: SoakCluster): Promise<VerifySummary> {
  const result = await brickyard(cluster, ['verify', '--bytes', '--json']);
  if (result.stdout === '') throw new Error(`verify ended with ${result.code}: ${result.stderr}`);
  const { findings, severities } = JSON.parse(result.stdout) as {
    findings: VerifySummary['findings'];
    severities: { damage: number; garbage: number; note: number };
  };
  return { damage: severities.damage, garbage: severities.garbage, notes: severities.note, findings };
}

function brickyard(cluster: SoakCluster, args: readonly string[]): ReturnType<typeof run> {
  return run(process.execPath, [program, ...args], {
    cwd: join(program, '../..'),
    env: { ...cluster.environment },
    timeoutMs: 600_000,
  });
}
