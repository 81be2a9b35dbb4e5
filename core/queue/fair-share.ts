import type { DispatchPolicy, LanePolicy } from './dispatch-policy.ts';
import { type Placeable, placeJob, type WorkerRoom } from './place-job.ts';

export interface WaitingJob extends Placeable {
  readonly id: string;
  readonly tenant: string;
  /** Of the policy's. */
  readonly lane: string;
  /** Milliseconds since it was seen first. */
  readonly waitedMs: number;
}

export interface DispatchState {
  readonly policy: DispatchPolicy;
  /** Oldest first; what may not begin yet is not among them. */
  readonly waiting: readonly WaitingJob[];
  /** What runs, and what was released and has not begun. */
  readonly active: readonly { readonly tenant: string; readonly lane: string }[];
  readonly workers: readonly WorkerRoom[];
  /** What the last choice left, or an empty map. */
  readonly turns: ReadonlyMap<string, number>;
}

export interface DispatchChoice {
  /** In the order in which they are to begin. */
  readonly releases: readonly { readonly id: string; readonly worker: string }[];
  /** Ids of jobs whose turn it was, and which wait a moment for their favourite worker. */
  readonly held: readonly string[];
  readonly turns: ReadonlyMap<string, number>;
}

/** Jobs of one tenant in one lane, the oldest first. */
interface Flow {
  readonly tenant: string;
  readonly turn: string;
  readonly jobs: WaitingJob[];
}

interface LaneFlows {
  readonly lane: LanePolicy;
  /** The first lane's weight for what has waited for too long. */
  readonly weight: number;
  readonly turn: string;
  readonly flows: Map<string, Flow>;
}

/** Jobs of a flow that are tried where the ones before wait for their favourite. */
const mostHeld = 20;
/** Tenants of a lane that are remembered although they have nothing to do. */
const mostTurns = 10_000;

/**
 * Which jobs begin next, and where. Pure: the same state gives the same choice.
 *
 * Lanes take turns by their weights (stride scheduling: whoever has had the least of what it is entitled to is next), and within a lane tenants do: first
 * whoever holds the fewest slots, then whoever was served longest ago, so a thousand jobs of one tenant delay another's only by those that run.
 * A lane or tenant that had nothing to do begins beside the others, with neither credit nor debt. Nobody starves: every turn comes, and what has waited
 * for `ageMs` takes turns with the first lane's weight.
 */
export function chooseReleases({ policy, waiting, active, workers, turns }: DispatchState): DispatchChoice {
  const lanes = flowsOf(policy, waiting);
  const next = startTurns(lanes, turns);
  const rooms = workers.map((worker) => ({ ...worker }));
  const slots = workers.reduce((sum, worker) => sum + worker.slots, 0);
  const limits = createLimits(policy, slots, active);
  const releases: { id: string; worker: string }[] = [];
  const held = new Set<string>();

  /** Begins one job of the flow if one can; false: none can until something ends. */
  function release(flow: Flow, lane: LanePolicy): boolean {
    for (const [index, job] of flow.jobs.slice(0, mostHeld).entries()) {
      if (held.has(job.id)) continue;
      const worker = placeJob(job, rooms, policy.preferMs);
      if (worker === undefined) return false;
      if (worker === 'hold') {
        held.add(job.id);
        continue;
      }
      const room = rooms.find(({ id }) => id === worker.id);
      if (room !== undefined) Object.assign(room, { room: room.room - 1, load: room.load + 1 });
      flow.jobs.splice(index, 1);
      limits.begin(flow.tenant, lane);
      releases.push({ id: job.id, worker: worker.id });
      return true;
    }
    return false;
  }

  /** What cannot begin is left out for the rest of the round: nothing that follows makes room. */
  function fill(within: (lane: LanePolicy) => boolean): void {
    const stuck = new Set<Flow>();
    for (;;) {
      if (!rooms.some(({ room }) => room > 0)) return;
      const open = lanes.filter(
        ({ lane, flows }) =>
          within(lane) &&
          [...flows.values()].some((flow) => canTry(flow, stuck) && limits.tenant(flow.tenant)),
      );
      const lane = least(open, ({ turn }) => next.get(turn) ?? 0);
      if (lane === undefined) return;
      const flow = least(
        [...lane.flows.values()].filter((each) => canTry(each, stuck) && limits.tenant(each.tenant)),
        ({ tenant }) => limits.held(tenant),
        ({ turn }) => next.get(turn) ?? 0,
      );
      if (flow === undefined) return;
      if (!release(flow, lane.lane)) {
        stuck.add(flow);
        continue;
      }
      next.set(lane.turn, (next.get(lane.turn) ?? 0) + 1 / lane.weight);
      next.set(flow.turn, (next.get(flow.turn) ?? 0) + 1);
    }
  }

  fill((lane) => limits.share(lane) && limits.reserve(lane));
  // An idle slot helps nobody: shares count only while others want them.
  fill((lane) => limits.reserve(lane));
  return { releases, held: [...held], turns: next };
}

function canTry(flow: Flow, stuck: ReadonlySet<Flow>): boolean {
  return flow.jobs.length > 0 && !stuck.has(flow);
}

function flowsOf(policy: DispatchPolicy, waiting: readonly WaitingJob[]): LaneFlows[] {
  const [first] = policy.lanes;
  const lanes = new Map<string, LaneFlows>();
  // Aged ones first: of equal turns the earlier in this order is next.
  for (const aged of [true, false]) {
    for (const lane of policy.lanes) {
      const weight = aged ? (first?.weight ?? lane.weight) : lane.weight;
      const key = laneKey(lane.name, aged);
      lanes.set(key, { lane, weight, turn: `lane ${key}`, flows: new Map() });
    }
  }
  for (const job of waiting) {
    const found = lanes.get(laneKey(job.lane, job.waitedMs >= policy.ageMs));
    if (found === undefined) continue;
    const flow = found.flows.get(job.tenant) ?? {
      tenant: job.tenant,
      turn: `tenant ${job.lane}\n${job.tenant}`,
      jobs: [],
    };
    flow.jobs.push(job);
    found.flows.set(job.tenant, flow);
  }
  return [...lanes.values()].filter(({ flows }) => flows.size > 0);
}

function laneKey(name: string, aged: boolean): string {
  return aged ? `${name} aged` : name;
}

/**
 * The turns with which a choice begins. Newcomers begin where the least served of those that wait is. Whoever was ahead of that stays so while it has nothing
 * to do: a lane whose jobs come one by one would otherwise be a newcomer each time, and always first.
 */
function startTurns(lanes: readonly LaneFlows[], turns: ReadonlyMap<string, number>): Map<string, number> {
  const started = new Map<string, number>();
  const start = (scope: string, keys: readonly string[]): void => {
    const before = [...turns].filter(([key]) => key.startsWith(scope));
    const waiting = keys.flatMap((key) => turns.get(key) ?? []);
    const base = waiting.length > 0 ? Math.min(...waiting) : Math.min(0, ...before.map(([, turn]) => turn));
    // From 0 on: numbers that grow for years would lose their fractions.
    for (const key of keys) started.set(key, (turns.get(key) ?? base) - base);
    for (const [key, turn] of before.slice(0, mostTurns)) {
      if (turn > base && !started.has(key)) started.set(key, turn - base);
    }
  };
  start(
    'lane ',
    lanes.map(({ turn }) => turn),
  );
  for (const lane of new Set(lanes.map(({ lane: { name } }) => name))) {
    const own = lanes.filter((each) => each.lane.name === lane);
    const keys = own.flatMap(({ flows }) => [...flows.values()].map(({ turn }) => turn));
    start(`tenant ${lane}\n`, [...new Set(keys)]);
  }
  return started;
}

function createLimits(policy: DispatchPolicy, slots: number, active: DispatchState['active']) {
  const lanes = new Map<string, number>();
  const tenants = new Map<string, number>();
  const background = new Set(policy.lanes.flatMap((lane) => (lane.background ? [lane.name] : [])));
  let backgroundHeld = 0;
  const add = (tenant: string, lane: string): void => {
    lanes.set(lane, (lanes.get(lane) ?? 0) + 1);
    tenants.set(tenant, (tenants.get(tenant) ?? 0) + 1);
    if (background.has(lane)) backgroundHeld++;
  };
  for (const { tenant, lane } of active) add(tenant, lane);
  const mostBackground = slots < 2 ? slots : slots - Math.max(1, Math.ceil(policy.reserve * slots));

  return {
    begin: (tenant: string, lane: LanePolicy): void => add(tenant, lane.name),
    held: (tenant: string): number => tenants.get(tenant) ?? 0,
    tenant: (tenant: string): boolean =>
      policy.tenantSlots === 0 || (tenants.get(tenant) ?? 0) < policy.tenantSlots,
    share: (lane: LanePolicy): boolean =>
      (lanes.get(lane.name) ?? 0) < Math.max(1, Math.floor(lane.share * slots)),
    reserve: (lane: LanePolicy): boolean => !lane.background || backgroundHeld < mostBackground,
  };
}

/** The first with the smallest value; of equal ones that with the smallest further value. */
function least<T>(items: readonly T[], ...by: readonly ((item: T) => number)[]): T | undefined {
  let best: T | undefined;
  for (const item of items) {
    if (best === undefined || isLess(item, best, by)) best = item;
  }
  return best;
}

function isLess<T>(a: T, b: T, by: readonly ((item: T) => number)[]): boolean {
  for (const value of by) {
    const difference = value(a) - value(b);
    if (difference !== 0) return difference < 0;
  }
  return false;
}
