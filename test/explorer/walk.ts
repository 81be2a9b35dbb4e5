import { type ActorRun, type PendingCall, startActor } from './actor.ts';
import type { Product } from './product.ts';
import type { PreparedScenario, Scenario } from './scenario.ts';
import { type Answer, type Call, failed, isWrite } from './world.ts';

/** mulberry32: small, seeded, good enough to shuffle. */
export function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

export interface WalkResult {
  readonly steps: number;
  readonly texts: readonly string[];
  readonly schedule: readonly string[];
}

/** One run, chosen by a seed: who goes on, who dies and when, which calls fail and how. */
export async function walk(
  product: Product,
  scenario: Scenario,
  prepared: PreparedScenario,
  seed: number,
): Promise<WalkResult> {
  const { world, check, checkMoment } = prepared;
  const random = seeded(seed);
  const pick = <T>(from: readonly T[]): T => from[Math.floor(random() * from.length)] as T;
  const { actors } = scenario;
  const runs = await Promise.all(actors.map((actor, index) => startActor(product, world, actor, index + 1)));
  const schedule: string[] = [];
  let store = prepared.initial;
  let late: readonly Call[] = [];
  // Every other run is one of long stretches and few changes, which finds what needs one unlucky moment.
  const changeRate = seed % 2 === 0 ? 1 : 0.05 + random() * 0.2;
  const budget = seed % 3 === 0 ? 0 : 1 + (seed % 2);
  let faults = budget;
  const faultRate = 0.01 + random() * 0.05;
  const lifetimes = new Map<number, number>();
  if (random() < 0.4) lifetimes.set(Math.floor(random() * actors.length), Math.floor(random() * 50));
  let current: number | undefined;

  const situation = () => ({
    store,
    endings: Object.fromEntries(actors.map(({ name }, index) => [name, runs[index]?.ending])),
    allFinished: runs.every(({ pending }) => pending.size === 0),
    undisturbed: faults === budget,
  });
  const land = (call: Call): void => {
    store = world.apply(store, call).state;
    late = late.filter((other) => other !== call);
    schedule.push(`late: ${call.sig}`);
  };
  for (;;) {
    const alive = [...runs.keys()].filter(
      (index) => (runs[index]?.pending.size ?? 0) > 0 && lifetimes.get(index) !== 0,
    );
    if (alive.length === 0) break;
    if (late.length > 0 && random() < 0.1) land(pick(late));
    if (current === undefined || !alive.includes(current) || random() < changeRate) current = pick(alive);
    const life = lifetimes.get(current);
    if (life !== undefined) lifetimes.set(current, life - 1);
    const run = runs[current] as ActorRun;
    const pending = pick([...run.pending.values()]);
    await run.answer(pending.token, take(actors[current]?.name ?? '', pending));
    const wrong = checkMoment(store);
    if (wrong.length > 0) return { steps: schedule.length, texts: wrong, schedule };
  }
  const texts = [...(await check(situation()))];
  while (texts.length === 0 && late.length > 0) {
    land(pick(late));
    texts.push(...(await check(situation())));
  }
  return { steps: schedule.length, texts, schedule };

  function take(actor: string, { call, token }: PendingCall): Answer {
    const { state, answer } = world.apply(store, call);
    const fault = chooseFault(call);
    if (fault === undefined || fault === 'applied') store = state;
    if (fault === 'late') late = [...late, call];
    const told = fault === undefined ? answer : failed('ObjectStoreUnavailable');
    schedule.push(`${actor}: ${token}${fault === undefined ? '' : ` [${fault}]`} → ${told.sig}`);
    return told;
  }

  function chooseFault(call: Call): 'refused' | 'applied' | 'late' | undefined {
    if (faults === 0 || call.op === 'wait' || random() >= faultRate) return undefined;
    faults--;
    if (!isWrite(call)) return 'refused';
    const lateAllowed = !('holder' in call) || scenario.store?.uploads === 'open';
    return pick(lateAllowed ? ['refused', 'applied', 'late'] : ['refused', 'applied']);
  }
}
