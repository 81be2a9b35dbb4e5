import { createHash } from 'node:crypto';
import { type Actor, type ActorRun, type Ending, type PendingCall, startActor } from './actor.ts';
import type { Product } from './product.ts';
import { type Answer, isWrite, type World, writtenKeys } from './world.ts';

/** Where an actor stands: what it was answered so far, and with that what it waits for and everything it will do. */
export interface Place {
  readonly id: number;
  readonly pending: readonly PendingCall[];
  /** Its calls may outlive it: it is finished when nothing is pending either. */
  readonly ending: Ending | undefined;
}

/**
 * An actor as an automaton that is learned on the way: its code is deterministic, so it has to run only for answers that it
 * never got before, and a place that was reached once is known for good.
 */
export interface Machine {
  readonly actor: Actor;
  readonly start: Place;
  /** The place behind one answer; undefined = not known yet, `learn` it. */
  known(from: Place, call: PendingCall, answer: Answer): Place | undefined;
  learn(from: Place, call: PendingCall, answer: Answer): Promise<Place>;
  /** Keys that the actor was ever seen to write, each with the different calls that do. Grows. */
  readonly writes: ReadonlyMap<string, ReadonlySet<string>>;
  /** Keys that it was seen to read, and prefixes that it listed. Grow. */
  readonly reads: ReadonlySet<string>;
  readonly lists: ReadonlySet<string>;
  /** Steps of real code that were executed. */
  readonly executed: () => number;
}

interface LearnedPlace extends Place {
  readonly way: { readonly from: LearnedPlace; readonly token: string; readonly answer: Answer } | undefined;
  /** Calls and their answers, as a set: parallel calls lead to one place in whatever order they were answered. */
  readonly facts: readonly number[];
  readonly next: Map<string, LearnedPlace>;
  /** Code that stopped right here and may be used to go on, once. */
  run: ActorRun | undefined;
}

/** Runs kept for going on; a lost one is executed again from the start. */
const keptRuns = 2_000;

export async function createMachine(
  product: Product,
  world: Pick<World, 'exclusive'>,
  actor: Actor,
  index: number,
): Promise<Machine> {
  const places = new Map<string, LearnedPlace>();
  const factIds = new Map<string, number>();
  const kept: LearnedPlace[] = [];
  const writes = new Map<string, Set<string>>();
  const reads = new Set<string>();
  const lists = new Set<string>();
  let executed = 0;

  function enter(run: ActorRun, way: LearnedPlace['way'], facts: readonly number[]): LearnedPlace {
    const pending = [...run.pending.values()].sort((a, b) => (a.token < b.token ? -1 : 1));
    const told = [facts.join(), ...pending.map(({ token }) => token), run.used, JSON.stringify(run.ending)];
    const name = createHash('sha1').update(told.join('\n')).digest('base64');
    let place = places.get(name);
    if (place === undefined) {
      for (const { call } of pending) {
        for (const key of writtenKeys(call)) {
          const calls = writes.get(key);
          if (calls === undefined) writes.set(key, new Set([call.sig]));
          else calls.add(call.sig);
        }
        if (call.op === 'list') lists.add(call.key);
        else if (!isWrite(call)) reads.add(call.key);
      }
      place = {
        id: places.size,
        pending: pending.map(({ call, token }) => ({ call, token })),
        ending: run.ending,
        way,
        facts,
        next: new Map(),
        run: undefined,
      };
      places.set(name, place);
    }
    if (place.run === undefined && pending.length > 0) {
      place.run = run;
      kept.push(place);
      const oldest = kept.length > keptRuns ? kept.shift() : undefined;
      if (oldest !== undefined) oldest.run = undefined;
    }
    return place;
  }

  async function replay(place: LearnedPlace): Promise<ActorRun> {
    const answers: { token: string; answer: Answer }[] = [];
    for (let at = place; at.way !== undefined; at = at.way.from) answers.push(at.way);
    const run = await startActor(product, world, actor, index);
    for (const { token, answer } of answers.reverse()) {
      executed++;
      await run.answer(token, answer);
    }
    return run;
  }

  const factId = (fact: string): number => {
    const known = factIds.get(fact);
    if (known !== undefined) return known;
    factIds.set(fact, factIds.size);
    return factIds.size - 1;
  };

  const start = enter(await startActor(product, world, actor, index), undefined, []);
  return {
    actor,
    start,
    writes,
    reads,
    lists,
    executed: () => executed,
    known: (from, { token }, answer) => (from as LearnedPlace).next.get(`${token}=${answer.sig}`),
    async learn(place, { token }, answer) {
      const from = place as LearnedPlace;
      const run = from.run ?? (await replay(from));
      from.run = undefined;
      executed++;
      await run.answer(token, answer);
      const fact = `${token}=${answer.sig}`;
      const facts = [...from.facts, factId(fact)].sort((a, b) => a - b);
      const to = enter(run, { from, token, answer }, facts);
      from.next.set(fact, to);
      return to;
    },
  };
}

export function isFinished(place: Place): boolean {
  return place.pending.length === 0;
}
