import type { Readable } from 'node:stream';
import type { Authorizer } from '../../core/auth/authorizer.ts';
import type { EventBus } from '../../core/events.ts';
import type { Logger } from '../../core/log.ts';
import type { JsonValue, ObjectStore } from '../../core/object-store/object-store.ts';
import { type JobContext, JobFailed, type JobHandler, type JobRecord } from '../../core/queue/job-queue.ts';
import { UserError } from '../../core/user-error.ts';
import { formatImageReference } from '../../oci/reference.ts';
import type { Registry } from '../../oci/registry.ts';
import { BaseImageGone } from '../engines/base-image-gone.ts';
import type { BuildEngine, EngineResult, Sandbox } from '../engines/engine.ts';
import type { CommitTree, GitHost } from '../git/git-host.ts';
import type { BuildPlan } from '../plan/plan.ts';
import { type ArtifactWriter, createArtifactStore } from './artifact-store.ts';
import { type BuildLogLimits, type BuildLogWriter, createBuildLog } from './build-log.ts';
import { type BuildRequest, parseBuildRequest, repositoryOf } from './build-request.ts';
import { tagsOfBuild } from './image-tags.ts';
import type { CommitPlanner } from './plan-commit.ts';
import { describeLayers, formatDuration, formatStep } from './report.ts';
import { type SetTagsResult, setTags } from './set-tags.ts';
import { createTagRecords } from './tag-records.ts';

export interface BuildRunnerDeps {
  readonly store: ObjectStore;
  readonly events: EventBus;
  readonly log: Logger;
  readonly git: Pick<GitHost, 'openTree' | 'resolveRef'>;
  readonly registry: Registry;
  readonly engine: BuildEngine;
  /** Undefined: no container engine answers, so `build:` commands cannot run. */
  readonly sandbox?: Sandbox;
  /** The rules; asked whether a pusher may push to an image repository that is not named like the git repository. */
  readonly authorizer: Authorizer;
  readonly planCommit: CommitPlanner;
  /** `host[:port]` of the configured public address: goes before what the pusher used. */
  readonly publicHost?: string;
  /** Base of `org.opencontainers.image.source`, e.g. `https://registry.example.com`. */
  readonly publicUrl?: string;
  readonly logLimits?: BuildLogLimits;
}

/** What a finished build says of itself in its record. */
interface BuildOutcome {
  readonly repository: string;
  readonly digest: string;
  readonly tags: readonly string[];
  readonly reference: string;
  readonly engine: EngineResult;
}

/** Runs one build from commit to tag, telling of every step in its log. May be run twice for one job: every effect can be repeated. */
export function createBuildRunner(deps: BuildRunnerDeps): JobHandler {
  return async (job, context) => {
    const request = parseBuildRequest(job.payload);
    const log = createBuildLog(deps, job.id, context.fence, deps.logLimits);
    let end = true;
    const closing: Promise<void>[] = [];
    try {
      const outcome = await runBuild(deps, request, job, context, { log, closing });
      return toResult(outcome);
    } catch (error) {
      const failure = classify(error, context.signal);
      end = failure instanceof JobFailed || context.signal.aborted;
      if (failure instanceof JobFailed) log.line(`\n  ✗ ${failure.message}`);
      else if (context.signal.aborted) log.line('\n  ✗ stopped');
      else if (failure instanceof BaseImageGone) {
        deps.log.warn({ err: failure, build: job.id }, 'base image went away during a build');
        log.line(`\n  ! ${failure.message}; the next attempt takes what is there then`);
      } else {
        deps.log.error({ err: error, build: job.id }, 'build failed by a fault of the farm');
        log.line('\n  ! the build farm had a fault of its own; the build is tried again');
      }
      throw failure;
    } finally {
      await Promise.all([log.close({ end }), ...closing]);
    }
  };
}

/** What the steps of a build share. */
interface StepContext {
  readonly context: JobContext;
  readonly write: (line: string) => void;
  readonly artifacts: ArtifactWriter;
}

async function runBuild(
  deps: BuildRunnerDeps,
  request: BuildRequest,
  job: JobRecord,
  context: JobContext,
  /** `closing`: what goes on in the background; the pusher waits for the end of the log, not for git's. */
  { log, closing }: { log: BuildLogWriter; closing: Promise<void>[] },
): Promise<BuildOutcome> {
  const started = performance.now();
  const { signal } = context;
  const write = (line: string): void => log.line(line);
  log.line(`build ${job.id}`);
  if (job.attempts > 1) log.line(`  (taken up again, attempt ${job.attempts})`);
  const source = await deps.git.openTree(request.team, request.app, request.commit);
  try {
    const { plan } = await deps.planCommit({ request, source, write });
    checkRights(deps.authorizer, request, plan);
    const tags = tagsOfBuild(request, source.commit);
    const records = createTagRecords(deps.store);
    const mayTakeOver = createTakeOver(deps.git);
    await refuseClash(records, plan.repository, tags.moving[0], mayTakeOver);
    signal.throwIfAborted();

    const artifacts = createArtifactStore(deps.store).writer(job.id);
    const outputs = await runCommands(deps, plan, source, { context, write, artifacts });
    const assembling = performance.now();
    const result = await deps.engine.build(
      {
        plan,
        source,
        ...(outputs === undefined ? {} : { outputs }),
        annotations: annotationsOf(deps, request, plan, source),
        // Tags are set by the farm: it knows which push is the newer one.
        tags: [],
      },
      { signal, log: write },
    );
    log.line(formatStep('image', describeLayers(result), performance.now() - assembling));

    const tagging = performance.now();
    const set = await setTags(
      { registry: deps.registry, records, mayTakeOver, confirm: () => context.confirmLease() },
      {
        repository: plan.repository,
        digest: result.manifest.digest,
        moving: tags.moving,
        fixed: tags.fixed,
        sequence: request.sequence,
        build: job.id,
      },
    );
    reportTags(write, set, performance.now() - tagging);
    const reference = referenceOf(deps, request, plan, set.set[0]);
    log.line(
      `\n  ${reference}\n  ${result.manifest.digest}\n  built in ${formatDuration(performance.now() - started)}`,
    );
    return {
      repository: plan.repository,
      digest: result.manifest.digest,
      tags: set.set,
      reference,
      engine: result,
    };
  } finally {
    closing.push(source.close());
  }
}

/** Returns what `build` made; undefined where only tests ran, or nothing. */
async function runCommands(
  deps: BuildRunnerDeps,
  plan: BuildPlan,
  source: CommitTree,
  { context, write, artifacts }: StepContext,
): Promise<Readable | undefined> {
  const { build, test } = plan;
  if (build === undefined && test === undefined) return undefined;
  if (deps.sandbox === undefined) {
    throw new JobFailed(
      'App.yaml has build: or test: commands but no container engine answers; start Docker or Podman, or remove them',
    );
  }
  const started = performance.now();
  const outputs = await deps.sandbox.run(
    {
      plan,
      ...(build === undefined ? {} : { step: build }),
      ...(test === undefined ? {} : { test }),
      source,
      async keep(kept) {
        await artifacts.add(kept);
        if (kept.length > 0) write(`  │ kept ${count(kept.length, 'artifact')}: brickyard builds artifacts`);
      },
    },
    { signal: context.signal, log: (line) => write(`  │ ${line}`) },
  );
  const ran = [
    ...(build === undefined ? [] : [count(build.commands.length, 'command')]),
    ...(test === undefined ? [] : [`${count(test.commands.length, 'test command')}`]),
  ];
  const name = build === undefined ? 'test' : 'build';
  write(formatStep(name, ran.join(', '), performance.now() - started));
  if (build !== undefined) return outputs;
  outputs.destroy();
  return undefined;
}

function count(number: number, word: string): string {
  return `${number} ${word}${number === 1 ? '' : 's'}`;
}

function checkRights(authorizer: Authorizer, request: BuildRequest, plan: BuildPlan): void {
  if (plan.repository === repositoryOf(request)) return;
  const principal = { name: request.pusher, anonymous: request.pusher === 'anonymous' };
  if (authorizer.may(principal, 'push', plan.repository)) return;
  throw new JobFailed(
    `appname "${plan.appname}" asks for the image repository ${plan.repository}, and ${request.pusher} may not push there`,
  );
}

/** Early, before anything is built. */
async function refuseClash(
  records: ReturnType<typeof createTagRecords>,
  repository: string,
  wanted: { tag: string; source: string } | undefined,
  mayTakeOver: (source: string) => Promise<boolean>,
): Promise<void> {
  if (wanted === undefined) return;
  const record = await records.read(repository, wanted.tag);
  if (record === undefined || record.source === wanted.source || (await mayTakeOver(record.source))) return;
  throw new JobFailed(
    `the tag ${repository}:${wanted.tag} belongs to ${record.source}; rename the branch or tag, or delete the other one`,
  );
}

/** A tag is free again when the ref that held it is gone. */
function createTakeOver(git: Pick<GitHost, 'resolveRef'>): (source: string) => Promise<boolean> {
  return async (source) => {
    const match = /^([^ /]+)\/([^ /]+) (refs\/.+)$/.exec(source);
    if (match === null) return false;
    const [, team = '', app = '', ref = ''] = match;
    return (await git.resolveRef(team, app, ref)) === undefined;
  };
}

function annotationsOf(
  deps: BuildRunnerDeps,
  request: BuildRequest,
  plan: BuildPlan,
  source: CommitTree,
): Record<string, string> {
  const annotations: Record<string, string> = {
    'org.opencontainers.image.created': source.committedAt.toISOString(),
    'org.opencontainers.image.revision': source.commit,
    'org.opencontainers.image.title': plan.appname,
  };
  if (deps.publicUrl !== undefined) {
    const base = deps.publicUrl.replace(/\/+$/, '');
    annotations['org.opencontainers.image.source'] = `${base}/git/${repositoryOf(request)}.git`;
  }
  return annotations;
}

function reportTags(write: (line: string) => void, set: SetTagsResult, milliseconds: number): void {
  write(formatStep('tags', set.set.join(', ') || 'none', milliseconds));
  for (const tag of set.superseded) write(`  ! ${tag} stays where it is: a newer push has it`);
  for (const { tag, with: record } of set.clashes)
    write(`  ! ${tag} is left alone: it belongs to ${record.source}`);
}

function referenceOf(deps: BuildRunnerDeps, request: BuildRequest, plan: BuildPlan, tag = ''): string {
  const host = deps.publicHost ?? request.host;
  return formatImageReference({
    repository: plan.repository,
    ...(host === undefined ? {} : { host }),
    ...(tag === '' ? {} : { tag }),
  });
}

function toResult(outcome: BuildOutcome): { readonly [name: string]: JsonValue } {
  const { engine } = outcome;
  return {
    repository: outcome.repository,
    digest: outcome.digest,
    tags: [...outcome.tags],
    reference: outcome.reference,
    mountedBytes: engine.mountedBytes,
    skippedBytes: engine.skippedBytes,
    storedBytes: engine.storedBytes,
  };
}

/** Faults of the commit are final; the rest is the farm's and is tried again. */
function classify(error: unknown, signal: AbortSignal): unknown {
  if (error instanceof JobFailed || signal.aborted) return error;
  if (error instanceof UserError) return new JobFailed(error.message, { cause: error });
  return error;
}
