import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { DispatchPolicy, LanePolicy } from '../../../../core/queue/dispatch-policy.ts';
import { chooseReleases, type WaitingJob } from '../../../../core/queue/fair-share.ts';
import type { WorkerRoom } from '../../../../core/queue/place-job.ts';
import { jain } from '../../../helpers/jain.ts';

const lane = (name: string, weight: number, share = 1, background = false): LanePolicy => ({
  name,
  weight,
  share,
  background,
});
const policy: DispatchPolicy = {
  lanes: [
    lane('interactive', 60),
    lane('branch', 25),
    lane('rebuild', 10, 0.5, true),
    lane('rebase', 5, 0.5, true),
  ],
  tenantSlots: 0,
  reserve: 0.2,
  ageMs: 600_000,
  preferMs: 3_000,
};
const job = (id: string, tenant: string, laneName = 'interactive', more: Partial<WaitingJob> = {}) => ({
  id,
  tenant,
  lane: laneName,
  waitedMs: 0,
  heldMs: 0,
  ...more,
});
const worker = (id: string, slots: number, load = 0): WorkerRoom => ({
  id,
  slots,
  room: Math.max(0, slots - load),
  load,
  near: false,
});

/** Runs jobs of length 1 until none is left or `rounds` are over; tells who began in which round. */
function simulate(
  jobs: readonly (WaitingJob & { readonly arrives?: number })[],
  slots: number,
  options: { policy?: DispatchPolicy; rounds?: number; length?: (index: number) => number } = {},
) {
  const began: { id: string; tenant: string; lane: string; round: number }[] = [];
  let turns: ReadonlyMap<string, number> = new Map();
  let left = [...jobs];
  let running: { tenant: string; lane: string; until: number }[] = [];
  const most = options.rounds ?? 10_000;
  for (let round = 0; round < most && left.length > 0; round++) {
    running = running.filter(({ until }) => until > round);
    const waiting = left.filter(({ arrives = 0 }) => arrives <= round);
    const choice = chooseReleases({
      policy: options.policy ?? policy,
      waiting,
      active: running,
      workers: [worker('w', slots, running.length)],
      turns,
    });
    turns = choice.turns;
    for (const { id } of choice.releases) {
      const found = left.find((each) => each.id === id);
      if (found === undefined) throw new Error(`${id} was released twice`);
      running.push({ ...found, until: round + (options.length?.(began.length) ?? 1) });
      began.push({ id, tenant: found.tenant, lane: found.lane, round });
    }
    const gone = new Set(choice.releases.map(({ id }) => id));
    left = left.filter(({ id }) => !gone.has(id));
  }
  return { began, left };
}

describe('fair shares', () => {
  it('make nine teams wait alike while a tenth submits 400 of 500 jobs', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 40 }),
        fc.infiniteStream(fc.nat()),
        fc.array(fc.integer({ min: 1, max: 4 }), { minLength: 500, maxLength: 500 }),
        (slots, order, lengths) => {
          const jobs = Array.from({ length: 500 }, (_, index) => {
            const tenant = index < 400 ? 'greedy' : `team-${index % 9}`;
            return { ...job('', tenant), at: order.next().value };
          })
            .sort((a, b) => a.at - b.at)
            .map((each, index) => ({ ...each, id: `job-${String(index).padStart(3, '0')}` }));

          const { began, left } = simulate(jobs, slots, { length: (index) => lengths[index] ?? 1 });

          expect(left).toEqual([]);
          const waits = (tenant: string): number => {
            const rounds = began.filter((each) => each.tenant === tenant).map(({ round }) => round + 1);
            return rounds.reduce((sum, round) => sum + round, 0) / rounds.length;
          };
          const others = Array.from({ length: 9 }, (_, index) => waits(`team-${index}`));
          expect(jain(others)).toBeGreaterThanOrEqual(0.9);
          // And a flood costs them no more than one more team would.
          expect(Math.max(...others)).toBeLessThan(waits('greedy'));
        },
      ),
      { numRuns: 25 },
    );
  });

  it('begin every job in the end, even where a better lane never runs dry', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 8 }),
        fc.constantFrom('branch', 'rebuild', 'rebase'),
        (slots, poor) => {
          const flood = Array.from({ length: 60 * slots }, (_, index) => ({
            ...job(`flood-${index}`, `team-${index % 3}`),
            // Exactly as many as can begin, and none waits in between.
            arrives: Math.floor(index / slots) * 2,
          }));
          const { began } = simulate([job('poor', 'poor', poor), ...flood], slots, {
            rounds: 60,
            length: () => 2,
          });
          const { round = Infinity } = began.find(({ id }) => id === 'poor') ?? {};
          expect(round).toBeLessThan(10);
        },
      ),
    );
  });

  it('keep one team from filling all slots with long jobs while another waits', () => {
    const jobs = ['a', 'b'].flatMap((tenant) =>
      Array.from({ length: 200 }, (_, index) => job(`${tenant}-${index}`, tenant)),
    );
    let turns: ReadonlyMap<string, number> = new Map();
    let running: { tenant: string; lane: string; until: number }[] = [];
    let waiting = jobs;
    for (let round = 0; round < 30; round++) {
      running = running.filter(({ until }) => until > round);
      const choice = chooseReleases({
        policy,
        waiting,
        active: running,
        workers: [worker('w', 4, running.length)],
        turns,
      });
      turns = choice.turns;
      const begun = new Set(choice.releases.map(({ id }) => id));
      running.push(
        ...waiting
          .filter(({ id }) => begun.has(id))
          .map((each) => ({ ...each, until: round + (each.tenant === 'a' ? 100 : 1) })),
      );
      waiting = waiting.filter(({ id }) => !begun.has(id));
    }
    expect(running.filter(({ tenant }) => tenant === 'a')).toHaveLength(2);
  });

  it('share by weight what lanes begin that all have enough to do', () => {
    const jobs = policy.lanes.flatMap(({ name }) =>
      Array.from({ length: 300 }, (_, index) => job(`${name}-${index}`, 'team', name)),
    );
    const { began } = simulate(jobs, 10, { rounds: 20 });
    const counts = Object.fromEntries(
      policy.lanes.map(({ name }) => [name, began.filter((each) => each.lane === name).length]),
    );
    expect(counts['interactive']).toBeCloseTo(120, -1);
    expect(counts['branch']).toBeCloseTo(50, -1);
    expect(counts['rebuild']).toBeCloseTo(20, -1);
    expect(counts['rebase']).toBeCloseTo(10, -1);
  });

  const anyJob = fc.record({
    tenant: fc.constantFrom('a', 'b', 'c', 'd'),
    lane: fc.constantFrom('interactive', 'branch', 'rebuild', 'rebase'),
    waitedMs: fc.constantFrom(0, 700_000),
  });
  const anyState = fc.record({
    waiting: fc.array(anyJob, { maxLength: 60 }),
    active: fc.array(anyJob, { maxLength: 12 }),
    slots: fc.array(fc.integer({ min: 0, max: 6 }), { minLength: 1, maxLength: 5 }),
    tenantSlots: fc.constantFrom(0, 1, 3),
  });

  it('leave no slot idle that something could use, hold the caps, and release nothing twice', () => {
    fc.assert(
      fc.property(anyState, ({ waiting, active, slots, tenantSlots }) => {
        const total = slots.reduce((sum, each) => sum + each, 0);
        const running = active.slice(0, total);
        let rest = running.length;
        const workers = slots.map((each, index) => {
          const load = Math.min(each, rest);
          rest -= load;
          return worker(`w${index}`, each, load);
        });
        const jobs = waiting.map((each, index) => job(`j${index}`, each.tenant, each.lane, each));

        const { releases } = chooseReleases({
          policy: { ...policy, tenantSlots },
          waiting: jobs,
          active: running,
          workers,
          turns: new Map(),
        });

        const released = releases.flatMap(({ id }) => jobs.filter((each) => each.id === id));
        expect(new Set(releases.map(({ id }) => id)).size).toBe(releases.length);
        for (const { id, room } of workers) {
          expect(releases.filter((each) => each.worker === id).length).toBeLessThanOrEqual(room);
        }
        const after = [...running, ...released];
        const isBackground = (each: { lane: string }): boolean =>
          each.lane === 'rebuild' || each.lane === 'rebase';
        const reserve = total < 2 ? 0 : Math.max(1, Math.ceil(0.2 * total));
        const background = after.filter(isBackground).length;
        if (released.some(isBackground)) expect(background).toBeLessThanOrEqual(total - reserve);
        for (const tenant of ['a', 'b', 'c', 'd']) {
          const held = after.filter((each) => each.tenant === tenant).length;
          const more = released.some((each) => each.tenant === tenant);
          if (tenantSlots > 0 && more) expect(held).toBeLessThanOrEqual(tenantSlots);
        }
        const left = jobs.filter(({ id }) => !releases.some((each) => each.id === id));
        const couldBegin = left.filter(
          (each) =>
            (tenantSlots === 0 ||
              after.filter(({ tenant }) => tenant === each.tenant).length < tenantSlots) &&
            (!isBackground(each) || background < total - reserve),
        );
        if (couldBegin.length > 0) expect(releases.length).toBe(total - running.length);
      }),
      { numRuns: 300 },
    );
  });

  it('keep a background lane to its share while others want the slots', () => {
    const jobs = [
      ...Array.from({ length: 50 }, (_, index) => job(`a${index}`, 'team', 'rebuild', { waitedMs: 700_000 })),
      ...Array.from({ length: 50 }, (_, index) => job(`b${index}`, 'team', 'branch')),
    ];
    const { releases } = chooseReleases({
      policy,
      waiting: jobs,
      active: [],
      workers: [worker('w', 10)],
      turns: new Map(),
    });
    expect(releases.filter(({ id }) => id.startsWith('a')).length).toBeLessThanOrEqual(5);
    expect(releases).toHaveLength(10);
  });

  it('give what has waited for too long the weight of the first lane', () => {
    const jobs = ['rebase', 'interactive'].flatMap((name) =>
      Array.from({ length: 20 }, (_, index) =>
        job(`${name}-${index}`, 'team', name, name === 'rebase' ? { waitedMs: 600_000 } : {}),
      ),
    );
    const { began } = simulate(jobs, 2, { rounds: 10 });
    expect(began.filter((each) => each.lane === 'rebase').length).toBeGreaterThanOrEqual(9);
  });

  it('order the jobs of a team by age', () => {
    const jobs = Array.from({ length: 30 }, (_, index) => job(`j${String(index).padStart(2, '0')}`, 'team'));
    expect(simulate(jobs, 3).began.map(({ id }) => id)).toEqual(jobs.map(({ id }) => id));
  });
});
