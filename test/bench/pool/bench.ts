import { mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { createNetworkLab } from '../../helpers/network-lab.ts';
import type { ClientKind } from './clients.ts';
import { createBenchImage } from './image.ts';
import { nginxDefaults, rpardiniLike, staticFiles } from './nginx-sides.ts';
import { type Observation, observePull } from './observe-pull.ts';
import { startOrigin } from './origin.ts';
import { type BrickyardPool, brickyardPool, type RunningPool } from './our-sides.ts';
import { pullThrough } from './registry-side.ts';
import type { PoolReport, PoolRow } from './report.ts';
import { noCache, type PoolSide, type RunningSide, repository, type SideContext } from './side.ts';

export interface PoolBenchOptions {
  readonly scratch: string;
  readonly nodes: number;
  readonly linkMbps: number;
  readonly nodeMbps: number;
  readonly layerBytes: readonly number[];
  /** Cold rounds of our engines; peers have one, as each may last minutes. */
  readonly rounds: number;
  /** Warm pairs of each engine and client. */
  readonly pairs: number;
  /** Keys of `poolSides`. */
  readonly sides: readonly string[];
  /** Of our engines, as pools.yaml has it; undefined: its default. */
  readonly slice?: string;
  readonly clients: readonly ClientKind[];
  /** Ends what runs; then the bench fails. */
  readonly interrupted: AbortSignal;
  readonly say: (line: string) => void;
}

/** `peer`: not ours; only told of. */
type KnownSide =
  | { readonly side: PoolSide; readonly peer: true }
  | { readonly side: BrickyardPool; readonly peer: false };

type Shared = Omit<SideContext, 'folder'>;

export const sideNames = ['nginx', 'embedded', 'nginx-defaults', 'rpardini', 'pull-through', 'no-cache'];

const poolSides = ({ linkMbps, slice }: PoolBenchOptions): Readonly<Record<string, KnownSide>> => {
  // Nobody pulls while these prewarm, so they may have the whole link.
  const ours = { linkMbps, prewarmMbps: linkMbps, ...(slice === undefined ? {} : { slice }) };
  return {
    nginx: { side: brickyardPool('nginx', ours), peer: false },
    embedded: { side: brickyardPool('embedded', ours), peer: false },
    'nginx-defaults': { side: nginxDefaults, peer: true },
    rpardini: { side: rpardiniLike, peer: true },
    'pull-through': { side: pullThrough, peer: true },
    'no-cache': { side: noCache, peer: true },
  };
};

/** All sides one after another, each on the same link to the same origin. */
export async function poolBench(options: PoolBenchOptions): Promise<PoolReport> {
  const { nodes, linkMbps, nodeMbps, layerBytes, scratch, say } = options;
  await using lab = await createNetworkLab({ nodes, linkMbps, nodeMbps });
  const abandon = (): void => void lab.close();
  options.interrupted.addEventListener('abort', abandon);
  try {
    say('origin and image …');
    const origin = await startOrigin(lab, join(scratch, 'origin'));
    const image = await createBenchImage(join(scratch, 'image'), layerBytes);
    await origin.push(image, `${repository}:v1`);
    const shared = { lab, origin, image };
    const report = { nodes, linkMbps, nodeMbps, layerBytes, cold: [] as PoolRow[], warm: [] as PoolRow[] };
    for (const name of options.sides) {
      const known = poolSides(options)[name];
      if (known === undefined) throw new Error(`there is no side ${name}; there are ${sideNames.join(', ')}`);
      const { cold, warm } = await benchSide(known, shared, options);
      report.cold.push(...cold);
      report.warm.push(...warm);
    }
    await origin.stop();
    return report;
  } finally {
    options.interrupted.removeEventListener('abort', abandon);
  }
}

async function benchSide(
  known: KnownSide,
  shared: Shared,
  options: PoolBenchOptions,
): Promise<{ cold: PoolRow[]; warm: PoolRow[] }> {
  const { side, peer } = known;
  const cold: PoolRow[] = [];
  const warm: PoolRow[] = [];
  const clients = peer ? options.clients.slice(0, 1) : options.clients;
  for (const kind of clients) {
    const observations: Observation[] = [];
    const rounds = peer ? 1 : options.rounds;
    for (let round = 0; round < rounds; round++) {
      await withSide(side, shared, options, async (running, context) => {
        observations.push(await tell(running, context, { kind, what: `${side.name}, cold`, options }));
        // A peer has no way to be filled but by pulls.
        if (peer && side !== noCache) warm.push(await warmPairs(running, context, { known, kind, options }));
      });
    }
    cold.push({ side: side.name, clients: kind, observations, promised: !peer });
  }
  if (!peer && options.pairs > 0) {
    await withSide(side, shared, options, async (running, context) => {
      await prewarm(running, options);
      for (const kind of clients) warm.push(await warmPairs(running, context, { known, kind, options }));
    });
  }
  return { cold, warm };
}

async function prewarm(running: RunningPool, { say }: PoolBenchOptions): Promise<void> {
  const started = performance.now();
  const warming = await running.startWarm(`${repository}:v1`);
  await warming.ended;
  if (warming.child.exitCode !== 0) throw new Error(`pool warm failed:\n${warming.output()}`);
  const seconds = (performance.now() - started) / 1000;
  say(`  prewarmed in ${seconds.toFixed(1)} s: ${warming.output().trim().split('\n').at(-1) ?? ''}`);
}

/** The side's cache is full. In turn with static files, another one first in each pair. */
async function warmPairs(
  running: RunningSide,
  context: SideContext,
  { known, kind, options }: { known: KnownSide; kind: ClientKind; options: PoolBenchOptions },
): Promise<PoolRow> {
  const { side, peer } = known;
  const observations: Observation[] = [];
  const statics: Observation[] = [];
  const pairs = peer ? 1 : options.pairs;
  const ours = async (): Promise<void> => {
    observations.push(await tell(running, context, { kind, what: `${side.name}, warm`, options }));
  };
  const theirs = (): Promise<void> =>
    withSide(staticFiles, context, options, async (files, own) => {
      statics.push(await tell(files, own, { kind, what: staticFiles.name, options }));
    });
  for (let pair = 0; pair < pairs; pair++) {
    for (const run of pair % 2 === 0 ? [ours, theirs] : [theirs, ours]) await run();
  }
  return { side: side.name, clients: kind, observations, statics, promised: !peer };
}

/** One pull, told of at once: a run lasts long, and what went wrong must not come only in its end. */
async function tell(
  running: RunningSide,
  context: SideContext,
  { kind, what, options }: { kind: ClientKind; what: string; options: PoolBenchOptions },
): Promise<Observation> {
  options.interrupted.throwIfAborted();
  options.say(`${what}, ${kind} …`);
  const observation = await observePull(running, context, kind);
  const { herd, lastSeconds, linkBytes, layerRequests, cpuSeconds } = observation;
  options.say(
    `  last node ${lastSeconds.toFixed(2)} s, ${(linkBytes / 1e6).toFixed(1)} MB over the link, ${layerRequests} requests for layers, proxy ${cpuSeconds.toFixed(2)} s of CPU`,
  );
  for (const failure of herd.failures) options.say(`  ${failure}`);
  if (herd.failures.length > 0) options.say(running.output());
  return observation;
}

/** Starts it with an empty folder of its own, and ends and removes it whatever `use` does. */
async function withSide<T extends RunningSide>(
  side: { start(context: SideContext): Promise<T> },
  shared: Shared,
  { scratch }: PoolBenchOptions,
  use: (running: T, context: SideContext) => Promise<void>,
): Promise<void> {
  const folder = await mkdtemp(join(scratch, 'side-'));
  const context = { ...shared, folder };
  try {
    const running = await side.start(context);
    try {
      await use(running, context);
    } finally {
      await running.stop();
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
