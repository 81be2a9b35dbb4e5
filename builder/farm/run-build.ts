import type { EventBus } from '../../core/events.ts';
import type { Logger } from '../../core/log.ts';
import type { JsonValue } from '../../core/object-store/object-store.ts';
import { LeaseLost } from '../../core/queue/job-lease.ts';
import {
  JobCancelled,
  type JobContext,
  JobFailed,
  type JobHandler,
  type JobRecord,
} from '../../core/queue/job-queue.ts';
import { UserError } from '../../core/user-error.ts';
import { findAppFiles, maxAppFileDepth, maxAppFiles } from '../appfile/find-appfiles.ts';
import { BaseImageGone } from '../engines/base-image-gone.ts';
import type { CommitTree, GitHost } from '../git/git-host.ts';
import { pathText } from '../plan/select-source.ts';
import { sourceSubtree } from '../plan/source-subtree.ts';
import { createArtifactStore } from './artifact-store.ts';
import { type AppBuildDeps, type AppBuildOutcome, buildApp } from './build-app.ts';
import { type AttemptDetail, createBuildDetails } from './build-detail.ts';
import { type BuildLogLimits, type BuildLogWriter, createBuildLog } from './build-log.ts';
import { type BuildRecorder, createBuildRecorder } from './build-recorder.ts';
import { type BuildRequest, parseBuildRequest } from './build-request.ts';
import { reportPackage } from './report-package.ts';

export interface BuildRunnerDeps extends AppBuildDeps {
  readonly events: EventBus;
  readonly log: Logger;
  readonly git: Pick<GitHost, 'openTree' | 'resolveRef'>;
  readonly logLimits?: BuildLogLimits;
  /** Where its log goes; default: into the store, and live onto the event bus. */
  readonly openLog?: (build: string, fence: number) => BuildLogWriter;
}

/** Runs one build from commit to tag, telling of every step in its log. May be run twice for one job: every effect can be repeated. */
export function createBuildRunner(deps: BuildRunnerDeps): JobHandler {
  return async (job, context) => {
    const request = parseBuildRequest(job.payload);
    const log =
      deps.openLog?.(job.id, context.fence) ?? createBuildLog(deps, job.id, context.fence, deps.logLimits);
    const recorder = createBuildRecorder(
      { details: createBuildDetails(deps.store), log: deps.log },
      job,
      context.fence,
    );
    let end = true;
    let outcome: AttemptDetail['outcome'] = 'succeeded';
    let reason: string | undefined;
    const closing: Promise<void>[] = [];
    try {
      const outcomes = await runBuild(deps, request, job, context, {
        log: counted(log, recorder),
        closing,
        recorder,
      });
      end = !(context.signal.reason instanceof LeaseLost);
      return toResult(outcomes);
    } catch (error) {
      const failure = classify(error, context.signal);
      const cancelled = context.signal.reason instanceof JobCancelled;
      // A build that was taken from this worker goes on elsewhere, and whoever follows the log is to hear it.
      end = cancelled || (failure instanceof JobFailed && !context.signal.aborted);
      outcome = outcomeOf(failure, context.signal);
      reason = failure instanceof Error ? failure.message : String(failure);
      if (cancelled) log.line('\n  ✗ stopped');
      else if (context.signal.aborted)
        log.line('\n  ! this worker lets go of the build; it is taken up again');
      else if (failure instanceof JobFailed) log.line(`\n  ✗ ${failure.message}`);
      else if (failure instanceof BaseImageGone) {
        deps.log.warn({ err: failure, build: job.id }, 'base image went away during a build');
        log.line(`\n  ! ${failure.message}; the next attempt takes what is there then`);
      } else {
        deps.log.error({ err: error, build: job.id }, 'build failed by a fault of the farm');
        log.line('\n  ! the build farm had a fault of its own; the build is tried again');
      }
      throw failure;
    } finally {
      await Promise.all([log.close({ end }), recorder.save(outcome, reason), ...closing]);
    }
  };
}

async function runBuild(
  deps: BuildRunnerDeps,
  request: BuildRequest,
  job: JobRecord,
  context: JobContext,
  /** `closing`: what goes on in the background; the pusher waits for the end of the log, not for git's. */
  { log, closing, recorder }: { log: BuildLogWriter; closing: Promise<void>[]; recorder: BuildRecorder },
): Promise<readonly AppBuildOutcome[]> {
  log.line(`build ${job.id}`);
  if (job.attempts > 1) log.line(`  (taken up again, attempt ${job.attempts})`);
  const opening = performance.now();
  const source = await deps.git.openTree(request.team, request.app, request.commit);
  recorder.phase('source', performance.now() - opening);
  try {
    await reportPackage(request.package, source, (line) => log.line(line));
    // A package is one application, whatever lies in its depths.
    const directories = request.package === undefined ? await findApps(source, log) : [''];
    const common = {
      request,
      job,
      context,
      commit: source,
      taken: new Map<string, string>(),
      artifacts: createArtifactStore(deps.store).writer(job.id),
    };
    const [only] = directories;
    if (only === '' && directories.length === 1) {
      const write = (line: string): void => log.line(line);
      const record = recorder.app('');
      const input = { ...common, source, directory: '', defaultName: request.app, write, record };
      return [await buildApp(deps, input)].flatMap((outcome) => outcome ?? []);
    }
    const outcomes: AppBuildOutcome[] = [];
    const failures: string[] = [];
    for (const directory of directories) {
      const shown = directory === '' ? 'top' : directory;
      const write = prefixed(log, `${shown} │ `);
      try {
        const own = directory === '' ? source : await sourceSubtree(source, directory);
        const defaultName = directory === '' ? request.app : directory.slice(directory.lastIndexOf('/') + 1);
        const record = recorder.app(directory);
        const outcome = await buildApp(deps, {
          ...common,
          source: own,
          directory,
          defaultName,
          write,
          record,
        });
        if (outcome !== undefined) outcomes.push(outcome);
      } catch (error) {
        const failure = classify(error, context.signal);
        if (!(failure instanceof JobFailed) || context.signal.aborted) throw error;
        // The others are no worse for it.
        write(`  ✗ ${failure.message}`);
        failures.push(`${shown} (${failure.message})`);
      }
    }
    // A wave asked for one of them, and has it.
    if (failures.length > 0 && (request.wave === undefined || outcomes.length === 0)) {
      throw new JobFailed(
        `${failures.length} of ${directories.length} applications failed: ${failures.join('; ')}`,
      );
    }
    return outcomes;
  } finally {
    closing.push(source.close());
  }
}

/** Folders of the applications; the top alone where there is no App.yaml at all, so that one is proposed. Errors: JobFailed for too many. */
async function findApps(source: CommitTree, log: BuildLogWriter): Promise<readonly string[]> {
  const { directories, tooDeep } = findAppFiles((await source.entries()).map(({ path }) => pathText(path)));
  for (const path of tooDeep.slice(0, maxAppFiles)) {
    log.line(`  ! ${path} lies more than ${maxAppFileDepth} folders deep and is not built`);
  }
  if (directories.length > maxAppFiles) {
    throw new JobFailed(
      `the repository holds ${directories.length} App.yaml, and at most ${maxAppFiles} are built: divide it, or rename those of examples`,
    );
  }
  return directories.length === 0 ? [''] : directories;
}

function outcomeOf(failure: unknown, signal: AbortSignal): AttemptDetail['outcome'] {
  if (signal.aborted) return 'stopped';
  return failure instanceof JobFailed ? 'failed' : 'fault';
}

function counted(log: BuildLogWriter, recorder: BuildRecorder): BuildLogWriter {
  return {
    line(text) {
      recorder.logged(Buffer.byteLength(text) + 1);
      log.line(text);
    },
    close: (options) => log.close(options),
  };
}

function prefixed(log: BuildLogWriter, prefix: string): (text: string) => void {
  return (text) => {
    for (const line of text.split('\n')) log.line((prefix + line).trimEnd());
  };
}

function toResult(outcomes: readonly AppBuildOutcome[]): { readonly [name: string]: JsonValue } {
  const images = outcomes.map(({ directory, engine, tags, ...outcome }) => ({
    ...outcome,
    ...(directory === '' ? {} : { directory }),
    ...(engine === undefined ? { unchanged: true } : {}),
    tags: [...tags],
    mountedBytes: engine?.mountedBytes ?? 0,
    skippedBytes: engine?.skippedBytes ?? 0,
    storedBytes: engine?.storedBytes ?? 0,
  }));
  const [first] = images;
  return { ...first, ...(images.length > 1 ? { images } : {}) };
}

/** Faults of the commit are final; the rest is the farm's and is tried again. */
function classify(error: unknown, signal: AbortSignal): unknown {
  if (error instanceof JobFailed || signal.aborted) return error;
  if (error instanceof UserError) return new JobFailed(error.message, { cause: error });
  return error;
}
