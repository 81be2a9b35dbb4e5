import type { Logger } from '../../core/log.ts';
import type { JobRecord } from '../../core/queue/job-queue.ts';
import type { CacheOutcome, EngineResult } from '../engines/engine.ts';
import { explainPlan } from '../plan/explain-plan.ts';
import type { BuildPlan, PlannedBase } from '../plan/plan.ts';
import { buildKey } from '../plan/plan-key.ts';
import { printDockerfile } from '../plan/print-dockerfile.ts';
import type { AppDetail, AttemptDetail, BuildDetails, LayerCounts } from './build-detail.ts';
import type { BuildPhase, PhaseTimer } from './build-phases.ts';

/** Notes what one attempt of a build was made of and where its time went. Never fails a build. */
export interface BuildRecorder {
  readonly phase: PhaseTimer;
  /** Bytes that its log took. */
  logged(bytes: number): void;
  /** For the application in this folder. */
  app(directory: string): AppRecorder;
  /** Stores it; call once, at the end. Takes no longer than the store. */
  save(outcome: AttemptDetail['outcome'], reason?: string): Promise<void>;
}

export interface AppRecorder {
  readonly phase: PhaseTimer;
  /** A dependency cache was looked for. */
  cache(outcome: CacheOutcome): void;
  planned(
    plan: BuildPlan,
    source: { readonly commit: string; readonly key: string; readonly engine: string },
  ): void;
  /** `unchanged`: the build that made the image. */
  made(result: {
    readonly digest: string;
    readonly engine?: EngineResult;
    readonly unchanged?: string;
  }): void;
}

/** Characters of a plan or a Dockerfile that are kept. */
const longestText = 256 * 1024;

export function createBuildRecorder(
  deps: { details: Pick<BuildDetails, 'write'>; log: Pick<Logger, 'warn'>; now?: () => number },
  job: JobRecord,
  fence: number,
): BuildRecorder {
  const now = deps.now ?? Date.now;
  const startedAt = new Date(now()).toISOString();
  const phases: Partial<Record<BuildPhase, number>> = {};
  const apps = new Map<string, AppDetail>();
  const caches = { hit: 0, partial: 0, miss: 0 };
  let logBytes = 0;
  const phase: PhaseTimer = (name, milliseconds) => {
    phases[name] = Math.round((phases[name] ?? 0) + Math.max(0, milliseconds));
  };
  // Both clocks may be another machine's, and a later attempt has waited for the earlier ones.
  if (job.attempts <= 1) phase('queue', now() - Date.parse(job.createdAt));

  return {
    phase,
    logged(bytes) {
      logBytes += bytes;
    },
    app: (directory) => ({
      phase,
      cache(outcome) {
        caches[outcome]++;
      },
      planned(plan, source) {
        apps.set(directory, describeApp(directory, plan, source));
      },
      made({ digest, engine, unchanged }) {
        const app = apps.get(directory);
        if (app === undefined) return;
        apps.set(directory, {
          ...app,
          digest,
          ...(unchanged === undefined ? {} : { unchanged }),
          ...(engine === undefined ? {} : { layers: layersOf(engine) }),
        });
      },
    }),
    async save(outcome, reason) {
      const worker = job.worker ?? job.lease?.owner;
      try {
        await deps.details.write(job.id, {
          version: 1,
          fence,
          ...(worker === undefined ? {} : { worker }),
          startedAt,
          endedAt: new Date(now()).toISOString(),
          outcome,
          ...(reason === undefined ? {} : { reason: reason.slice(0, 4_000) }),
          phases,
          caches,
          logBytes,
          apps: [...apps.values()],
        });
      } catch (error) {
        deps.log.warn({ err: error, build: job.id }, 'what a build was made of could not be recorded');
      }
    },
  };
}

function describeApp(
  directory: string,
  plan: BuildPlan,
  { commit, key, engine }: Parameters<AppRecorder['planned']>[1],
): AppDetail {
  return {
    directory,
    repository: plan.repository,
    plan: explainPlan(plan, { sourceKey: key }).slice(0, longestText),
    dockerfile: printDockerfile(plan, { baseReference: referenceOf }).slice(0, longestText),
    inputs: {
      commit,
      tree: key,
      base: referenceOf(plan.base),
      ...(plan.build === undefined ? {} : { buildBase: referenceOf(plan.build.base) }),
      ...(plan.test === undefined ? {} : { testBase: referenceOf(plan.test.base) }),
      buildKey: buildKey(plan, key),
      engine: `${engine}, Node ${process.version}`,
    },
  };
}

function referenceOf({ repository, digest }: PlannedBase): string {
  return `${repository}@${digest}`;
}

function layersOf(result: EngineResult): LayerCounts {
  const { mountedBytes, mountedLayers, skippedBytes, skippedLayers, storedBytes, storedLayers } = result;
  return { mountedBytes, mountedLayers, skippedBytes, skippedLayers, storedBytes, storedLayers };
}
