import type { DispatchPolicy } from './dispatch-policy.ts';
import type { WaitingJob } from './fair-share.ts';
import type { Waiting } from './job-queue.ts';
import type { JobHints } from './queue-event.ts';

/** An open job as the dispatcher knows it. Times are milliseconds of a clock that is never set back. */
export interface OpenJob {
  readonly id: string;
  readonly tenant: string;
  readonly lane: string;
  readonly group?: string;
  readonly sequence?: number;
  readonly affinity?: string;
  /** `ending`: somebody is writing that it has ended. */
  state: 'queued' | 'released' | 'running' | 'ending';
  /** It was released to that one, or runs there. */
  worker?: string;
  readonly seenAt: number;
  /** When its state was last made sure of. */
  lookedAt: number;
  /** Not to be released before. */
  notBefore?: number;
  /** Since when its favourite is waited for. */
  heldSince?: number;
  /** A worker where it went wrong, or that did not take it. */
  avoid?: string;
  /** A worker did not take it, so it goes to any. */
  ignored?: boolean;
}

/** The open jobs that a dispatcher keeps in mind. */
export interface OpenJobs {
  readonly size: number;
  get(id: string): OpenJob | undefined;
  /** Adds it, or changes what is known of it; undefined: there is no room, and the job is found again later. */
  note(id: string, hints: JobHints, change: Partial<OpenJob> & Pick<OpenJob, 'state'>): OpenJob | undefined;
  remove(id: string): void;
  clear(): void;
  all(): Iterable<OpenJob>;
  /** Jobs of a group that wait and for which there is a newer one in it, with that one's id. */
  outdated(group: string): { readonly old: OpenJob; readonly by: string }[];
  /** Those that may be released at `now`, the oldest first. */
  waiting(now: number): WaitingJob[];
  /** Those that hold a slot, or soon will. */
  active(): OpenJob[];
  summary(now: number): Waiting;
}

/** About 500 bytes each. */
const mostOpen = 20_000;
const mostFlows = 100;

export function createOpenJobs(policy: DispatchPolicy, most = mostOpen): OpenJobs {
  const jobs = new Map<string, OpenJob>();
  const groups = new Map<string, Set<OpenJob>>();
  const active = new Set<OpenJob>();
  const lanes = new Set(policy.lanes.map(({ name }) => name));
  const defaultLane = policy.lanes[0]?.name ?? '';

  function remove(id: string): void {
    const job = jobs.get(id);
    if (job === undefined) return;
    jobs.delete(id);
    active.delete(job);
    const group = job.group === undefined ? undefined : groups.get(job.group);
    group?.delete(job);
    if (group?.size === 0) groups.delete(job.group ?? '');
  }

  function add(id: string, hints: JobHints, state: OpenJob['state'], now: number): OpenJob {
    const { tenant = '', lane = defaultLane, group, sequence, affinity } = hints;
    const job: OpenJob = {
      id,
      tenant,
      lane: lanes.has(lane) ? lane : defaultLane,
      ...(group === undefined ? {} : { group }),
      ...(sequence === undefined ? {} : { sequence }),
      ...(affinity === undefined ? {} : { affinity }),
      state,
      seenAt: now,
      lookedAt: now,
    };
    jobs.set(id, job);
    if (group !== undefined) groups.set(group, (groups.get(group) ?? new Set()).add(job));
    return job;
  }

  /** A flood of one tenant must not keep the dispatcher from seeing the others' jobs: it forgets the newest of the one that has the most. */
  function makeRoom(tenant: string): boolean {
    const counts = Map.groupBy(jobs.values(), (job) => job.tenant);
    const [largest] = [...counts].sort(([, a], [, b]) => b.length - a.length);
    if (largest === undefined || largest[0] === tenant) return false;
    const queued = largest[1].filter(({ state }) => state === 'queued').map(({ id }) => id);
    // Many at a time, as counting costs a walk through all of them.
    for (const id of queued.sort().slice(-Math.ceil(most / 100))) remove(id);
    return queued.length > 0;
  }

  return {
    get size() {
      return jobs.size;
    },
    get: (id) => jobs.get(id),
    note(id, hints, change) {
      const now = change.lookedAt ?? performance.now();
      let job = jobs.get(id);
      if (job === undefined) {
        if (jobs.size >= most && change.state === 'queued' && !makeRoom(hints.tenant ?? '')) return undefined;
        job = add(id, hints, change.state, now);
      }
      if (change.state !== job.state) {
        delete job.worker;
        delete job.notBefore;
        delete job.heldSince;
      }
      Object.assign(job, change, { lookedAt: now });
      if (job.state === 'running' || job.state === 'released') active.add(job);
      else active.delete(job);
      return job;
    },
    remove,
    clear() {
      jobs.clear();
      groups.clear();
      active.clear();
    },
    all: () => jobs.values(),
    outdated(group) {
      const members = [...(groups.get(group) ?? [])].filter(({ sequence }) => sequence !== undefined);
      const [newest] = members.toSorted((a, b) => (b.sequence ?? 0) - (a.sequence ?? 0));
      if (newest === undefined) return [];
      return members
        .filter(
          ({ state, sequence = 0 }) =>
            (state === 'queued' || state === 'released') && sequence < (newest.sequence ?? 0),
        )
        .map((old) => ({ old, by: newest.id }));
    },
    waiting(now) {
      return [...jobs.values()]
        .filter((job) => job.state === 'queued' && (job.notBefore ?? 0) <= now)
        .sort((a, b) => (a.id < b.id ? -1 : 1))
        .map((job) => ({
          id: job.id,
          tenant: job.tenant,
          lane: job.lane,
          ...(job.affinity === undefined || job.ignored === true ? {} : { affinity: job.affinity }),
          ...(job.avoid === undefined ? {} : { avoid: job.avoid }),
          waitedMs: now - job.seenAt,
          heldMs: job.heldSince === undefined ? 0 : now - job.heldSince,
        }));
    },
    active: () => [...active],
    summary(now) {
      const waiting = [...jobs.values()].filter(({ state }) => state === 'queued' || state === 'released');
      const flows = [...Map.groupBy(waiting, ({ tenant, lane }) => `${lane}\n${tenant}`).values()].flatMap(
        (some) => {
          const [one] = some;
          if (one === undefined) return [];
          const oldestMs = Math.round(now - Math.min(...some.map(({ seenAt }) => seenAt)));
          return [{ tenant: one.tenant, lane: one.lane, jobs: some.length, oldestMs }];
        },
      );
      return {
        flows: flows.sort((a, b) => b.jobs - a.jobs).slice(0, mostFlows),
        jobs: waiting.length,
        running: [...active].filter(({ state }) => state === 'running').length,
      };
    },
  };
}
