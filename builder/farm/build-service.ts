import type { EventBus } from '../../core/events.ts';
import type { ObjectStore } from '../../core/object-store/object-store.ts';
import type { JobQueue, JobRecord } from '../../core/queue/job-queue.ts';
import type { PushListener, RefUpdate } from '../git/git-host.ts';
import { timeOrderedId } from '../git/time-ordered-id.ts';
import type { PackageNote } from '../package/package-note.ts';
import { type ArtifactStore, createArtifactStore } from './artifact-store.ts';
import { type BuildDetails, createBuildDetails } from './build-detail.ts';
import { buildJob } from './build-job.ts';
import { type BuildRequest, parseBuildRequest, toPayload } from './build-request.ts';
import { cleanLine } from './clean-line.ts';
import type { BuildLane } from './dispatch-settings.ts';
import { followLog, type LogFollower } from './follow-log.ts';
import type { LogPosition } from './log-chunks.ts';
import { parsePushOptions } from './push-options.ts';

/** Builds as people and programs see them. */
export interface BuildService extends PushListener {
  get(id: string): Promise<Build | undefined>;
  /** Newest first. */
  list(options?: { limit?: number; before?: string }): Promise<Build[]>;
  cancel(id: string, by: string): Promise<Build | undefined>;
  /** The same commit once more, as a new build, which newer pushes do not make needless. Undefined: there is no such build. */
  retry(id: string): Promise<Build | undefined>;
  /** The log from its start, or from behind `after`, as long as it grows. */
  log(id: string, after?: LogPosition): LogFollower;
  /** What the tests of builds left for people. */
  readonly artifacts: Pick<ArtifactStore, 'list' | 'get'>;
  /** What they were made of. */
  readonly details: Pick<BuildDetails, 'list' | 'get'>;
}

export interface Build extends Omit<JobRecord, 'payload'> {
  readonly request: BuildRequest;
}

/** A push that moves more branches and tags than this builds the default branch only: nobody waits for a thousand builds. */
const mostBuilds = 20;
/** How long live lines are kept for a pusher whose git has not asked for them yet. Milliseconds. */
const unheardMs = 60_000;

export function createBuildService(deps: {
  store: ObjectStore;
  queue: JobQueue;
  events: EventBus;
}): BuildService {
  const { queue } = deps;
  /** Followers of builds that were just queued: they hear from the first line on. */
  const heard = new Map<string, LogFollower>();

  function listen(id: string): void {
    if (heard.has(id)) return;
    const follower = followLog(deps, id, { fresh: true });
    heard.set(id, follower);
    setTimeout(() => {
      if (heard.delete(id)) follower.close();
    }, unheardMs).unref();
  }

  function takeFollower(id: string): LogFollower {
    const follower = heard.get(id);
    heard.delete(id);
    return follower ?? followLog(deps, id);
  }

  return {
    async accepted(updates) {
      const builds = chooseBuilds(updates);
      await Promise.all(
        builds.map(async ({ update, ours, nowait }) => {
          if (!nowait) listen(update.id);
          await queue.add(
            buildJob(update.id, toPayload(update, ours), laneOf(update, ours, nowait, builds.length)),
          );
        }),
      );
    },
    async follow(updates, write, signal) {
      const first = updates[0];
      if (first === undefined) return;
      const options = parsePushOptions(first.pushOptions);
      for (const complaint of options.complaints) write(`brickyard: ${complaint}`);
      const candidates = updates.filter(({ ref }) => isBuilt(ref));
      if (candidates.length === 0) return;
      if (options.skip) return write('brickyard: no build, as asked (-o build.skip)');
      const builds = chooseBuilds(updates);
      if (builds.length < candidates.length) {
        write(
          `brickyard: ${candidates.length} refs at once: ${describeFew(builds.map(({ update }) => update))}`,
        );
      }
      if (options.nowait) {
        for (const { update } of builds)
          write(`brickyard: build ${update.id} is queued for ${shortName(update.ref)}`);
        return;
      }
      const width = Math.max(...builds.map(({ update }) => shortName(update.ref).length), 0);
      await Promise.all(
        builds.map(async ({ update }) => {
          const prefix = builds.length > 1 ? `${shortName(update.ref).padEnd(width)} │ ` : '';
          let silent = true;
          for await (const line of takeFollower(update.id).lines(signal)) {
            silent = false;
            write(prefix + cleanLine(line));
          }
          // Only a build that never began has an empty log, and a look at its record costs time.
          const job = silent && !signal.aborted ? await queue.get(update.id) : undefined;
          if (job?.error !== undefined) write(`${prefix}brickyard: build ${update.id}: ${job.error}`);
        }),
      );
    },
    async get(id) {
      const job = await queue.get(id);
      return job === undefined ? undefined : toBuild(job);
    },
    list: async (options) => (await queue.list(options)).map(toBuild),
    async cancel(id, by) {
      const job = await queue.cancel(id, `cancelled by ${by}`);
      return job === undefined ? undefined : toBuild(job);
    },
    async retry(id) {
      const job = await queue.get(id);
      if (job === undefined) return undefined;
      // A wave that asked for it is over: this time the tags are the build's own.
      const { wave: _, ...payload } = job.payload;
      // What succeeded, or is about to (its pusher knows before its record does), is only repeated to have it made again.
      const fresh = job.state === 'succeeded' || job.state === 'running' ? { fresh: true } : {};
      const again = buildJob(timeOrderedId(), { ...payload, ...fresh }, 'interactive', { alone: true });
      return toBuild(await queue.add(again));
    },
    log: (id, after) => followLog(deps, id, after === undefined ? {} : { after }),
    artifacts: createArtifactStore(deps.store),
    details: createBuildDetails(deps.store),
  };
}

function toBuild({ payload, ...job }: JobRecord): Build {
  return { ...job, request: parseBuildRequest(payload) };
}

function isBuilt(ref: string): boolean {
  return /^refs\/(?:heads|tags|brickyard)\//.test(ref);
}

function chooseBuilds(
  updates: readonly RefUpdate[],
): { update: RefUpdate; ours: { tag?: string; note?: PackageNote }; nowait: boolean }[] {
  const candidates = updates.filter(({ ref }) => isBuilt(ref));
  const chosen =
    candidates.length <= mostBuilds ? candidates : candidates.filter(({ defaultBranch }) => defaultBranch);
  return chosen.flatMap((update) => {
    const { skip, nowait, tag, package: note } = parsePushOptions(update.pushOptions);
    if (skip) return [];
    // Branches and git tags name their image's tags themselves.
    const named = update.ref.startsWith('refs/brickyard/');
    const ours = {
      ...(named && tag !== undefined ? { tag } : {}),
      ...(named && note !== undefined ? { note } : {}),
    };
    return [{ update, nowait, ours }];
  });
}

/**
 * Somebody looks at a push that waits for its build, and at a package, whose log is asked for by its id. Of many refs at once only the default branch is
 * looked at so: a push of twenty branches must not delay other people's.
 */
function laneOf(
  { defaultBranch }: RefUpdate,
  { note }: { note?: PackageNote },
  nowait: boolean,
  together: number,
): BuildLane {
  if (nowait) return note === undefined ? 'branch' : 'interactive';
  return together === 1 || defaultBranch ? 'interactive' : 'branch';
}

function describeFew(built: readonly RefUpdate[]): string {
  const what = built.length === 0 ? 'none is built' : `only ${shortName(built[0]?.ref ?? '')} is built`;
  return `${what}; push up to ${mostBuilds} at a time to build each`;
}

function shortName(ref: string): string {
  return ref.replace(/^refs\/(?:heads\/|tags\/|(?=brickyard))/, '');
}
