import type { BuildTotals } from '../../builder/farm/build-totals.ts';
import { phaseBuckets } from '../../builder/farm/build-totals.ts';
import type { MetricFamily, Metrics, Sample } from '../../core/metrics.ts';
import type { Waiting, WorkerInfo } from '../../core/queue/job-queue.ts';

/** What the metrics of the build farm are made of. */
export interface FarmFigures {
  workers(): Promise<readonly WorkerInfo[]>;
  /** Undefined: nobody counts at the moment. */
  waiting(): Promise<Waiting | undefined>;
  totals(): Promise<BuildTotals>;
}

/** A scrape of each process asks the store no more often. */
const rememberMs = 5_000;
/** Teams with a label of their own; the others are added up under `(other)`. */
const mostTeams = 20;

const families: readonly MetricFamily[] = [
  { name: 'brickyard_builds_waiting', type: 'gauge', help: 'Builds that wait for a worker.' },
  { name: 'brickyard_builds_running', type: 'gauge', help: 'Builds that run.' },
  {
    name: 'brickyard_builds_oldest_waiting_seconds',
    type: 'gauge',
    help: 'How long the oldest build of a lane has waited.',
  },
  {
    name: 'brickyard_workers',
    type: 'gauge',
    help: 'Workers: busy with all or some of their slots, idle, or closed (draining, disk full).',
  },
  {
    name: 'brickyard_worker_slots',
    type: 'gauge',
    help: 'Builds that workers run, and could run beside them.',
  },
  {
    name: 'brickyard_workers_desired',
    type: 'gauge',
    help: 'Workers of the usual size that could run everything at once which waits or runs; for autoscalers.',
  },
  { name: 'brickyard_build_attempts_total', type: 'counter', help: 'Attempts at builds, by how they ended.' },
  { name: 'brickyard_build_retries_total', type: 'counter', help: 'Attempts that were not a build’s first.' },
  { name: 'brickyard_build_phase_seconds', type: 'histogram', help: 'Where the time of builds goes.' },
  {
    name: 'brickyard_build_cache_total',
    type: 'counter',
    help: 'Images (level result), layers and dependency caches that were there (partial: of other lockfiles), or were not.',
  },
  {
    name: 'brickyard_build_layer_bytes_total',
    type: 'counter',
    help: 'Bytes of layers: of the base image and mounted, there already and skipped, or stored.',
  },
  {
    name: 'brickyard_build_log_bytes_total',
    type: 'counter',
    help: 'Bytes that builds wrote into their logs.',
  },
];

/** What all workers of the store do and did, in the metrics of every process that serves builds: they say it in the store. */
export function addFarmMetrics(metrics: Metrics, figures: FarmFigures): void {
  let known: { readAt: number; samples: Promise<ReadonlyMap<string, readonly Sample[]>> } | undefined;
  metrics.families(families, () => {
    const now = performance.now();
    if (known === undefined || now - known.readAt > rememberMs) {
      known = { readAt: now, samples: readSamples(figures) };
    }
    return known.samples;
  });
}

async function readSamples(figures: FarmFigures): Promise<ReadonlyMap<string, readonly Sample[]>> {
  const [workers, waiting, totals] = await Promise.all([
    figures.workers(),
    figures.waiting(),
    figures.totals(),
  ]);
  return new Map([
    ...(waiting === undefined ? [] : samplesOfBacklog(waiting, workers)),
    ...samplesOfWorkers(workers),
    ...samplesOfTotals(totals),
  ]);
}

type NamedSamples = readonly (readonly [string, readonly Sample[]])[];

function samplesOfBacklog(waiting: Waiting, workers: readonly WorkerInfo[]): NamedSamples {
  const teams = new Set(
    waiting.flows
      .toSorted((a, b) => b.jobs - a.jobs)
      .map(({ tenant }) => tenant)
      .filter((team, index, all) => all.indexOf(team) === index)
      .slice(0, mostTeams),
  );
  const counts = new Map<string, Sample & { value: number }>();
  const oldest = new Map<string, number>();
  for (const { tenant, lane, jobs, oldestMs } of waiting.flows) {
    const team = teams.has(tenant) ? tenant : '(other)';
    const sample = counts.get(`${lane} ${team}`) ?? { labels: { team, lane }, value: 0 };
    counts.set(`${lane} ${team}`, { ...sample, value: sample.value + jobs });
    oldest.set(lane, Math.max(oldest.get(lane) ?? 0, oldestMs / 1000));
  }
  const shown = waiting.flows.reduce((sum, { jobs }) => sum + jobs, 0);
  // The dispatcher names the largest flows only.
  const more =
    waiting.jobs > shown
      ? [{ labels: { team: '(other)', lane: '(other)' }, value: waiting.jobs - shown }]
      : [];
  const slots = workers.map((worker) => worker.slots).filter((count) => count > 0);
  const usual = slots.length === 0 ? 1 : slots.reduce((sum, count) => sum + count, 0) / slots.length;
  return [
    ['brickyard_builds_waiting', [...counts.values(), ...more]],
    ['brickyard_builds_running', [{ value: waiting.running }]],
    [
      'brickyard_builds_oldest_waiting_seconds',
      [...oldest].map(([lane, value]) => ({ labels: { lane }, value })),
    ],
    ['brickyard_workers_desired', [{ value: Math.ceil((waiting.jobs + waiting.running) / usual) }]],
  ];
}

function samplesOfWorkers(workers: readonly WorkerInfo[]): NamedSamples {
  const states = { busy: 0, idle: 0, closed: 0 };
  let [busy, free] = [0, 0];
  for (const worker of workers) {
    states[worker.busy > 0 ? 'busy' : worker.slots > 0 ? 'idle' : 'closed']++;
    busy += worker.busy;
    free += Math.max(0, worker.slots - worker.busy);
  }
  return [
    ['brickyard_workers', labelled('state', states)],
    ['brickyard_worker_slots', labelled('state', { busy, free })],
  ];
}

function samplesOfTotals(totals: BuildTotals): NamedSamples {
  const caches = (['hit', 'miss'] as const).flatMap((outcome) => [
    { labels: { level: 'result', outcome }, value: totals.results[outcome] },
    { labels: { level: 'layer', outcome }, value: totals.layers[outcome] },
  ]);
  const dependencies = Object.entries(totals.dependencies).map(([outcome, value]) => ({
    labels: { level: 'dependency', outcome },
    value,
  }));
  const phases = Object.entries(totals.phases).flatMap(([phase, { count, sum, buckets }]): Sample[] => [
    ...phaseBuckets.map(
      (le, index): Sample => ({
        suffix: '_bucket',
        labels: { phase, le: `${le}` },
        value: buckets[index] ?? 0,
      }),
    ),
    { suffix: '_bucket', labels: { phase, le: '+Inf' }, value: count },
    { suffix: '_sum', labels: { phase }, value: sum },
    { suffix: '_count', labels: { phase }, value: count },
  ]);
  return [
    ['brickyard_build_attempts_total', labelled('outcome', totals.attempts)],
    ['brickyard_build_retries_total', [{ value: totals.retries }]],
    ['brickyard_build_phase_seconds', phases],
    ['brickyard_build_cache_total', [...caches, ...dependencies]],
    ['brickyard_build_layer_bytes_total', labelled('how', totals.bytes)],
    ['brickyard_build_log_bytes_total', [{ value: totals.logBytes }]],
  ];
}

function labelled(label: string, values: Readonly<Record<string, number>>): Sample[] {
  return Object.entries(values).map(([name, value]) => ({ labels: { [label]: name }, value }));
}
