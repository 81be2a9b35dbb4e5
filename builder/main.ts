import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import { join } from 'node:path';
import type { Authorizer } from '../core/auth/authorizer.ts';
import type { EventBus } from '../core/events.ts';
import type { Logger } from '../core/log.ts';
import type { ObjectStore } from '../core/object-store/object-store.ts';
import type { DispatchChannel } from '../core/queue/dispatch-channel.ts';
import { createEmbeddedQueue } from '../core/queue/embedded.ts';
import { createJobKeys } from '../core/queue/job-keys.ts';
import type { JobHandler, JobWorker, Waiting, WorkerInfo } from '../core/queue/job-queue.ts';
import { createStoreChannel } from '../core/queue/store-channel.ts';
import type { Registry } from '../oci/registry.ts';
import { createAppFileParser } from './appfile/parse-appfile.ts';
import { createDependencyCaches } from './cache/dependency-cache.ts';
import { createAssembler } from './engines/assembler.ts';
import type { Sandbox } from './engines/engine.ts';
import { type BuildService, createBuildService } from './farm/build-service.ts';
import type { BuildTotals } from './farm/build-totals.ts';
import { createBuildCounter } from './farm/count-builds.ts';
import { type DispatchSettings, defaultDispatch, dispatchPolicy } from './farm/dispatch-settings.ts';
import { createImageOnBase } from './farm/image-on-base.ts';
import { createCommitPlanner } from './farm/plan-commit.ts';
import { proposeForCommit } from './farm/propose-for-commit.ts';
import { createBaseResolver } from './farm/resolve-base.ts';
import { forgetResults } from './farm/result-cache.ts';
import type { RetentionSettings } from './farm/retention.ts';
import { startRetention } from './farm/retention-loop.ts';
import { type BuildRunnerDeps, createBuildRunner } from './farm/run-build.ts';
import type { TagProtection } from './farm/tag-protection.ts';
import { createTotalsStore } from './farm/totals-store.ts';
import { createGitHost } from './git/create-git-host.ts';
import type { GitHost } from './git/git-host.ts';
import { createPackageService, type PackageLimits, type PackageService } from './package/package-service.ts';
import { createPropagation, type Propagation } from './propagate/propagation.ts';
import { defaultPropagation, type PropagationSettings } from './propagate/settings.ts';
import { createKeyring } from './secrets/keyring.ts';
import { createSecretStore, type SecretStore } from './secrets/secret-store.ts';
import { checkGit } from './triggers/check-git.ts';
import type { Trigger } from './triggers/trigger.ts';
import { createTriggerService, type TriggerService } from './triggers/trigger-service.ts';

export interface BuilderDeps {
  readonly store: ObjectStore;
  /** The own registry without any check of rights: the builder decides itself who may build what. */
  readonly registry: Registry;
  readonly authorizer: Authorizer;
  readonly events: EventBus;
  readonly log: Logger;
  /** For bare repositories; shared by all processes of one machine, may be lost. */
  readonly cacheDir: string;
  /** As people outside reach this server; without it references show the address that the pusher used. */
  readonly publicUrl?: string;
  /** Base image of an App.yaml that names none; without it that is an error. */
  readonly defaultBase?: string;
  /** How changed base images reach the apps on them; without it only people start that. */
  readonly propagation?: PropagationSettings;
  /** How long builds are kept; without it for ever. */
  readonly retention?: RetentionSettings;
  /** How builds share the workers; default: `defaultDispatch`. */
  readonly dispatch?: DispatchSettings;
  /** `builder.secrets.key`; without it no secret can be set or used. */
  readonly secretsKey?: string;
  /** Tags that only promotions move; default none. */
  readonly protection?: TagProtection;
  /** What package managers fetch is kept for the next build; without it it is fetched anew. */
  readonly dependencyCache?: {
    /** Bytes of one application's packages of one kind; 0 = nothing is kept. */
    readonly maxBytes: number;
    /** Days after which what no build used goes. */
    readonly unusedDays: number;
  };
  /** Of release packages; default 2 GiB, and 8 GiB unpacked. */
  readonly packageLimits?: PackageLimits;
  /** Repositories elsewhere that are built when a webhook says so; default none. */
  readonly triggers?: readonly Trigger[];
  /** Carries builds to workers in other processes, given the way through the store to fall back to; default that way alone. */
  readonly channel?: (own: DispatchChannel) => DispatchChannel;
}

/** The builder of one process: git and builds for those that answer HTTP, and, after `work`, for the one that builds. */
export interface Builder {
  readonly git: GitHost;
  readonly builds: BuildService;
  /** What all workers of this store do and did. Errors: ObjectStoreUnavailable. */
  readonly figures: {
    workers(): Promise<readonly WorkerInfo[]>;
    /** Undefined: nobody counts at the moment. */
    waiting(): Promise<Waiting | undefined>;
    totals(): Promise<BuildTotals>;
  };
  readonly packages: PackageService;
  readonly propagation: Propagation;
  readonly secrets: SecretStore;
  readonly triggers: TriggerService;
  /** Runs builds, here in this process; `openLog`: where their logs go instead of into the store. */
  runner(options?: BuildRunnerOptions): JobHandler;
  /** Starts taking builds and waves of rebases, and what a dead process left to do. */
  work(options?: BuildWorkOptions): JobWorker;
  close(): Promise<void>;
}

export interface BuildWorkOptions {
  /** Builds at once; default 2. */
  readonly concurrency?: number;
  /** Default: builds run here, with `sandbox`. */
  readonly handler?: JobHandler;
  readonly sandbox?: Sandbox;
}

export type BuildRunnerOptions = Pick<BuildRunnerDeps, 'sandbox' | 'openLog'>;

const buildsPrefix = 'builds/';
/** Of the way through the store, where another channel carries most. */
const spareChannelPollMs = 3_000;
const recoverEveryMs = 60_000;
/** Workers that live write their totals down more often. */
const goneAfterMs = 24 * 60 * 60 * 1000;
/** What was made longer ago is made again when it is asked for. */
const resultsKeptMs = 90 * 24 * 60 * 60 * 1000;

export async function createBuilder(deps: BuilderDeps): Promise<Builder> {
  const { store, registry, events, log } = deps;
  const onError = (error: unknown): void => log.warn({ err: error }, 'build queue will try again');
  const spareChannel = (): DispatchChannel =>
    createStoreChannel({
      store,
      events,
      keys: createJobKeys(buildsPrefix),
      pollMs: spareChannelPollMs,
      onError,
    });
  const queue = createEmbeddedQueue({
    store,
    prefix: buildsPrefix,
    events,
    policy: dispatchPolicy(deps.dispatch ?? defaultDispatch),
    onError,
    ...(deps.channel === undefined ? {} : { channel: deps.channel(spareChannel()) }),
  });
  const builds = createBuildService({ store, queue, events });
  const totals = createTotalsStore(store);
  const git = await createGitHost({ store, cacheDir: deps.cacheDir, listener: builds, log });
  const propagation = createPropagation({
    store,
    registry,
    events,
    log,
    builds: queue,
    settings: deps.propagation ?? defaultPropagation,
    ...(deps.protection === undefined ? {} : { protection: deps.protection }),
  });
  const keyring = deps.secretsKey === undefined ? undefined : createKeyring(deps.secretsKey);
  const secrets = createSecretStore({ store, keyring });
  const caches = createDependencyCaches(store);
  const packages = createPackageService({
    git,
    builds,
    folder: join(deps.cacheDir, 'uploads'),
    ...(deps.packageLimits === undefined ? {} : { limits: deps.packageLimits }),
  });
  const records = deps.triggers ?? [];
  if (records.length > 0) await checkGit(log);
  const triggers = createTriggerService({
    store,
    events,
    log,
    git,
    builds,
    triggers: records,
    ...(deps.publicUrl === undefined ? {} : { publicUrl: deps.publicUrl }),
  });

  const { maxBytes = 0, unusedDays = 0 } = deps.dependencyCache ?? {};
  const runner = (options: BuildRunnerOptions = {}): JobHandler =>
    createBuildRunner({
      store,
      jobs: queue,
      events,
      log,
      git,
      registry,
      secrets,
      engine: createAssembler({ registry, store }),
      authorizer: deps.authorizer,
      onImage: (repository, base) => propagation.built(repository, base),
      planCommit: createCommitPlanner({
        parseAppFile: createAppFileParser(),
        resolveBase: createBaseResolver(registry),
        propose: proposeForCommit,
        hasImageOn: createImageOnBase(registry),
        secrets,
        ...(deps.defaultBase === undefined ? {} : { defaultBase: deps.defaultBase }),
      }),
      ...(deps.protection === undefined ? {} : { protection: deps.protection }),
      ...(maxBytes === 0 ? {} : { caches: { caches, limits: { bytes: maxBytes, entries: 500_000 } } }),
      ...(deps.publicUrl === undefined
        ? {}
        : { publicUrl: deps.publicUrl, publicHost: new URL(deps.publicUrl).host }),
      ...options,
    });

  return {
    git,
    builds,
    figures: { workers: () => queue.workers(), waiting: () => queue.waiting(), totals: () => totals.read() },
    propagation,
    packages,
    secrets,
    triggers,
    runner,
    work({ concurrency = 2, sandbox, handler = runner(sandbox === undefined ? {} : { sandbox }) } = {}) {
      const recover = (): void => {
        git
          .recover()
          .catch((error: unknown) => log.warn({ err: error }, 'pushes could not be looked through'));
      };
      recover();
      const timer = setInterval(recover, recoverEveryMs);
      const counter = createBuildCounter({
        totals,
        details: builds.details,
        worker: `${hostname()
          .replaceAll(/[^0-9A-Za-z_-]/g, '-')
          .slice(0, 80)}-${randomUUID()}`,
        onError: (error) => log.warn({ err: error }, 'totals of builds could not be kept'),
      });
      const worker = queue.work(counter.counted(handler), { concurrency });
      const waves = propagation.work();
      const retention =
        deps.retention === undefined
          ? undefined
          : startRetention({
              also: () => (maxBytes === 0 ? Promise.resolve(0) : caches.sweep({ unusedDays })),
              store,
              log,
              settings: deps.retention,
              async onTurn(now) {
                await totals.retire(now - goneAfterMs);
                await forgetResults(store, resultsKeptMs, now);
              },
              resolveRef: (team, app, ref) => git.resolveRef(team, app, ref),
              holder: `${hostname()}:${process.pid}`,
            });
      const deliveries = triggers.work();
      return {
        ...worker,
        async drain(signal) {
          clearInterval(timer);
          await retention?.close();
          // A wave waits for builds of its own, and another worker goes on with it.
          await Promise.all([waves.close(), deliveries.close()]);
          await worker.drain(signal);
        },
        async close() {
          clearInterval(timer);
          await Promise.all([retention?.close(), waves.close(), deliveries.close()]);
          await worker.close();
          await counter.close();
        },
      };
    },
    close: () => git.close(),
  };
}
