import type { Logger } from '../../core/log.ts';
import { JobFailed, type JobHandler } from '../../core/queue/job-queue.ts';
import { createLimit } from '../../oci/copy/limit.ts';
import type { BuildService } from '../farm/build-service.ts';
import { type FetchedRef, type FetchLimits, FetchRefused, type FetchSource } from '../git/fetch-target.ts';
import type { GitHost } from '../git/git-host.ts';
import { type DeliveryRequest, parseDeliveryRequest, type RefOutcome, triggerOf } from './delivery.ts';
import { gitAccess } from './git-access.ts';
import { createRefFilter } from './ref-filter.ts';
import { HostRefused, type Lookup } from './resolve-host.ts';
import type { StatusReports } from './status-reports.ts';
import { repositoryOfTrigger, type Trigger } from './trigger.ts';

export interface DeliveryRunnerDeps {
  readonly git: Pick<GitHost, 'fetchRefs'>;
  readonly builds: Pick<BuildService, 'get'>;
  readonly triggers: readonly Trigger[];
  readonly statuses: Pick<StatusReports, 'follow'>;
  readonly log: Logger;
  readonly limits: FetchLimits;
  readonly lookup?: Lookup;
}

/** Records that are read at once. */
const readAtOnce = 16;

/**
 * Works one delivery off: asks the repository itself what its refs are, takes that over, and leaves the rest to the builds that
 * follow. May run twice: a ref that was moved already is `unchanged`, with the build that it got then.
 */
export function createDeliveryRunner(deps: DeliveryRunnerDeps): JobHandler {
  const { git, triggers, statuses } = deps;
  return async (job, context) => {
    const request = parseDeliveryRequest(job.payload);
    const trigger = triggerOf(request, triggers);
    if (trigger === undefined) {
      throw new JobFailed(
        `${request.team}/${request.app} no longer has this ${request.provider} trigger (builder.triggers)`,
      );
    }
    const passes = createRefFilter(trigger);
    const wanted = request.refs.filter(({ from }) => passes(from));
    const skipped = request.refs
      .filter(({ from }) => !passes(from))
      .map(
        ({ from }): RefOutcome => ({
          ref: from,
          outcome: 'skipped',
          detail: 'not among the branches and tags of the trigger',
        }),
      );
    const fetched = wanted.length === 0 ? [] : await fetch(request, trigger, wanted, context.signal);
    const limit = createLimit(readAtOnce);
    const outcomes = await Promise.all(fetched.map((ref) => limit(() => outcomeOf(ref, trigger))));
    return { refs: [...outcomes, ...skipped].map((outcome) => ({ ...outcome })) };
  };

  async function fetch(
    { team, app, pusher, skip }: DeliveryRequest,
    trigger: Trigger,
    refs: DeliveryRequest['refs'],
    signal: AbortSignal,
  ): Promise<readonly FetchedRef[]> {
    try {
      const { lookup, limits } = deps;
      const source: FetchSource = {
        ...(await gitAccess(trigger.remote, lookup === undefined ? {} : { lookup })),
        limits,
      };
      // Nobody waits for the log of these builds at the end of a push.
      const options = ['build.nowait', ...(skip ? ['build.skip'] : [])];
      return await git.fetchRefs({ team, app, pusher, options, refs }, source, signal);
    } catch (error) {
      if (signal.aborted) throw error;
      if (error instanceof HostRefused || error instanceof FetchRefused) {
        throw new JobFailed(`${repositoryOfTrigger(trigger)}: ${error.message}`, { cause: error });
      }
      deps.log.warn(
        { err: error, repository: repositoryOfTrigger(trigger) },
        'repository of a trigger could not be fetched',
      );
      throw error;
    }
  }

  async function outcomeOf(fetched: FetchedRef, trigger: Trigger): Promise<RefOutcome> {
    const { from, outcome, detail, update, id, tip } = fetched;
    const build = await buildOf(update?.id ?? id);
    const common = {
      ref: from,
      ...(detail === undefined ? {} : { detail }),
      ...(build === undefined ? {} : { build }),
    };
    if (build !== undefined && tip !== undefined)
      await statuses.follow(trigger, { build, commit: tip, ref: fetched.to });
    return { ...common, outcome: outcome === 'moved' && build !== undefined ? 'queued' : outcome };
  }

  async function buildOf(id: string | undefined): Promise<string | undefined> {
    return id === undefined ? undefined : (await deps.builds.get(id))?.id;
  }
}
