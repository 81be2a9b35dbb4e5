import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { S3Client } from '@aws-sdk/client-s3';
import { emptyBucket } from '../../helpers/bucket.ts';
import { createBucket, s3Client } from '../../helpers/ceph.ts';
import { type CephCluster, startCephCluster } from '../../helpers/ceph-cluster.ts';
import { runOk } from '../../helpers/process.ts';
import { commits } from './commit.ts';
import { deletions } from './deletion.ts';
import { lists } from './lists.ts';
import { createObserver, type Observer } from './observe.ts';
import { type S3Case, s3Report } from './report.ts';
import {
  type Side,
  type SideOptions,
  startDistributionV3,
  startDockerRegistryOnS3,
  startOurs,
  startOursBehindFront,
} from './sides.ts';
import { pulls, pushes } from './throughput.ts';

/** The parts of the S3 bench, by what `--only` calls them; `s3` is all of them. */
export const s3Parts = ['s3-push', 's3-pull', 's3-commit', 's3-lists', 's3-delete'] as const;

/** What the cases share: one Ceph, and registries on buckets of their own in it. */
export interface S3Bench {
  readonly ceph: CephCluster;
  readonly s3: S3Client;
  /** Ours first; all answer pulls with bytes. */
  readonly sides: readonly Side[];
  readonly observer: Observer;
  readonly scratch: string;
  readonly rounds: number;
  /** Small sizes, to see that everything runs. */
  readonly quick: boolean;
  readonly say: (line: string) => void;
  /** Removes what a round left in a side's bucket, and gives the store its bytes back. */
  empty(side: Side, repository: string): Promise<void>;
}

export interface S3BenchOptions {
  readonly selected: ReadonlySet<string>;
  readonly scratch: string;
  readonly rounds: number;
  readonly quick: boolean;
  readonly say: (line: string) => void;
}

/** Brickyard beside its peers on one Ceph Object Gateway in one run. Answers with the report's text. */
export async function s3Bench(options: S3BenchOptions): Promise<string> {
  const { selected, scratch, say } = options;
  const wants = (part: (typeof s3Parts)[number]): boolean => selected.has('s3') || selected.has(part);
  await mkdir(scratch, { recursive: true });
  say('starting Ceph …');
  const ceph = await startCephCluster({
    folder: join(scratch, 'ceph'),
    capacity: 48 * 1024 ** 3,
    requestLog: true,
  });
  const s3 = s3Client(ceph);
  const started: Side[] = [];
  try {
    const sides = await startSides({ ...options, ceph, s3, redirect: false }, started);
    const bench: S3Bench = {
      ...options,
      ceph,
      s3,
      sides,
      observer: createObserver(ceph),
      // Everything: sessions, pointers and layers of a round belong together. Registries hold nothing of it in memory that they believe.
      async empty(side) {
        await emptyBucket(s3, side.bucket);
        await runOk('radosgw-admin', ['gc', 'process', '--include-all'], {
          env: { CEPH_CONF: join(scratch, 'ceph', 'ceph.conf') },
          timeoutMs: 300_000,
        });
      },
    };
    const cases: S3Case[] = [];
    if (wants('s3-push')) {
      say('pushes of 10 MiB …');
      cases.push(await pushes(bench));
    }
    if (wants('s3-pull')) {
      say('pulls of 10 MiB …');
      const fronted = await startSide(
        { ...options, ceph, s3, redirect: false },
        started,
        startOursBehindFront,
      );
      cases.push(await pulls(bench, sides));
      say('pulls of 10 MiB through nginx …');
      cases.push(await pulls(bench, [...fronted, ...sides.slice(1)], ', ours behind its nginx'));
      say('pulls of 10 MiB by redirect …');
      const redirecting = await startSides({ ...options, ceph, s3, redirect: true }, started);
      cases.push(await pulls(bench, redirecting, ', by redirect'));
      for (const side of [...sides, ...fronted, ...redirecting]) await bench.empty(side, '');
    }
    if (wants('s3-commit')) cases.push(...(await commits(bench)));
    if (wants('s3-delete')) {
      cases.push(...(await deletions(bench)));
      for (const side of sides) await bench.empty(side, '');
    }
    if (wants('s3-lists')) cases.push(...(await lists(bench)));
    return s3Report(cases);
  } finally {
    for (const side of started) await side.stop();
    s3.destroy();
    await ceph.stop();
  }
}

/** Empty where this machine cannot run it. */
async function startSide(
  { ceph, s3, scratch, redirect }: StartOptions,
  started: Side[],
  start: (options: SideOptions) => Promise<Side | undefined>,
): Promise<Side[]> {
  const side = await start({ ceph, scratch, redirect, bucket: await createBucket(s3) });
  if (side === undefined) return [];
  started.push(side);
  return [side];
}

type StartOptions = S3BenchOptions & { ceph: CephCluster; s3: S3Client; redirect: boolean };

async function startSides(options: StartOptions, started: Side[]): Promise<Side[]> {
  const sides: Side[] = [];
  for (const start of [
    startOurs,
    startDockerRegistryOnS3,
    (each: SideOptions) => startDistributionV3(each, options.say),
  ]) {
    sides.push(...(await startSide(options, started, start)));
  }
  return sides;
}
