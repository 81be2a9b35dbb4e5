import type { CacheOutcome } from '../engines/engine.ts';
import type { AttemptDetail } from './build-detail.ts';
import { type BuildPhase, buildPhases } from './build-phases.ts';

/** What builds did, summed up; for metrics. */
export interface BuildTotals {
  readonly version: 1;
  /** Attempts by how they ended. */
  readonly attempts: Readonly<Record<AttemptDetail['outcome'], number>>;
  /** Attempts that were not a build's first. */
  readonly retries: number;
  /** Only phases that were gone through. */
  readonly phases: Readonly<Partial<Record<BuildPhase, PhaseTotals>>>;
  /** Images whose files an earlier build had, and those that were made. */
  readonly results: { readonly hit: number; readonly miss: number };
  /** Dependency caches that were looked for. */
  readonly dependencies: Readonly<Record<CacheOutcome, number>>;
  /** Own layers that the registry had, and those that were stored. */
  readonly layers: { readonly hit: number; readonly miss: number };
  /** Of layers. */
  readonly bytes: { readonly mounted: number; readonly skipped: number; readonly stored: number };
  readonly logBytes: number;
}

export interface PhaseTotals {
  readonly count: number;
  /** Seconds. */
  readonly sum: number;
  /** How many took at most as long as each of `phaseBuckets`. */
  readonly buckets: readonly number[];
}

/** Seconds. */
export const phaseBuckets = [0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600] as const;

export const noTotals: BuildTotals = {
  version: 1,
  attempts: { succeeded: 0, failed: 0, stopped: 0, fault: 0 },
  retries: 0,
  phases: {},
  results: { hit: 0, miss: 0 },
  dependencies: { hit: 0, partial: 0, miss: 0 },
  layers: { hit: 0, miss: 0 },
  bytes: { mounted: 0, skipped: 0, stored: 0 },
  logBytes: 0,
};

/** The totals of one attempt. `detail` undefined: nothing is known but how it ended. */
export function totalsOf(
  outcome: AttemptDetail['outcome'],
  retried: boolean,
  detail: Pick<AttemptDetail, 'phases' | 'apps' | 'caches' | 'logBytes'> | undefined,
): BuildTotals {
  const apps = (detail?.apps ?? []).filter(({ digest }) => digest !== undefined);
  const sum = (of: (app: (typeof apps)[number]) => number | undefined): number =>
    apps.reduce((total, app) => total + (of(app) ?? 0), 0);
  const known = apps.filter(({ unchanged }) => unchanged !== undefined).length;
  return {
    version: 1,
    attempts: { ...noTotals.attempts, [outcome]: 1 },
    retries: retried ? 1 : 0,
    phases: Object.fromEntries(
      buildPhases.flatMap((phase) => {
        const milliseconds = detail?.phases[phase];
        return milliseconds === undefined ? [] : [[phase, totalsOfPhase(milliseconds / 1000)]];
      }),
    ),
    results: { hit: known, miss: apps.length - known },
    dependencies: detail?.caches ?? noTotals.dependencies,
    layers: {
      hit: sum(({ layers }) => layers?.skippedLayers),
      miss: sum(({ layers }) => layers?.storedLayers),
    },
    bytes: {
      mounted: sum(({ layers }) => layers?.mountedBytes),
      skipped: sum(({ layers }) => layers?.skippedBytes),
      stored: sum(({ layers }) => layers?.storedBytes),
    },
    logBytes: detail?.logBytes ?? 0,
  };
}

function totalsOfPhase(seconds: number): PhaseTotals {
  return { count: 1, sum: seconds, buckets: phaseBuckets.map((most) => (seconds <= most ? 1 : 0)) };
}

export function addTotals(one: BuildTotals, other: BuildTotals): BuildTotals {
  return {
    version: 1,
    attempts: addNumbers(one.attempts, other.attempts),
    retries: one.retries + other.retries,
    phases: Object.fromEntries(
      buildPhases.flatMap((phase) => {
        const [a, b] = [one.phases[phase], other.phases[phase]];
        const both = a === undefined || b === undefined ? (a ?? b) : addPhases(a, b);
        return both === undefined ? [] : [[phase, both]];
      }),
    ),
    results: addNumbers(one.results, other.results),
    dependencies: addNumbers(one.dependencies, other.dependencies),
    layers: addNumbers(one.layers, other.layers),
    bytes: addNumbers(one.bytes, other.bytes),
    logBytes: one.logBytes + other.logBytes,
  };
}

function addPhases(one: PhaseTotals, other: PhaseTotals): PhaseTotals {
  return {
    count: one.count + other.count,
    sum: one.sum + other.sum,
    buckets: phaseBuckets.map((_, index) => (one.buckets[index] ?? 0) + (other.buckets[index] ?? 0)),
  };
}

function addNumbers<T extends Readonly<Record<string, number>>>(one: T, other: T): T {
  const keys = Object.keys(one) as (keyof T)[];
  return Object.fromEntries(keys.map((key) => [key, (one[key] ?? 0) + (other[key] ?? 0)])) as T;
}
