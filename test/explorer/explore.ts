import type { Ending, PendingCall } from './actor.ts';
import { createIndependence } from './independence.ts';
import { isFinished, type Machine, type Place } from './machine.ts';
import { type Answer, type Call, failed, isWrite, type StoreState, type World } from './world.ts';

/** What may go wrong with one call. A 409 reaches the registry as "not applied": the driver cannot tell either. */
export type Fault = 'refused' | 'applied' | 'late';

export interface Situation {
  readonly store: StoreState;
  /** By actor: how it ended, or undefined when it has not, be it dead or slow. */
  readonly endings: Readonly<Record<string, Ending | undefined>>;
  readonly allFinished: boolean;
  /** No call failed on the way. */
  readonly undisturbed: boolean;
}

export interface ExploreOptions {
  readonly world: World;
  readonly machines: readonly Machine[];
  readonly initial: StoreState;
  /** Faults injected in one run at most. Default 0. */
  readonly faults?: number;
  readonly faultKinds?: readonly Fault[];
  /** Only schedules in which somebody who could have gone on is stopped so often at most. Default: all. */
  readonly maxPreemptions?: number;
  /** Calls of uploads may land late too, as on S3. */
  readonly lateUploads?: boolean;
  /** The search is cut, and says so, after so many states. */
  readonly maxStates: number;
  /** Looked at in every situation: whoever has not finished there may be dead. A text is a violation. */
  readonly check: (situation: Situation) => Promise<readonly string[]>;
  /** Looked at for every step that somebody takes. */
  readonly checkStep?: ((from: StoreState, to: StoreState, actor: string) => readonly string[]) | undefined;
}

export interface Exploration {
  readonly states: number;
  /** Situations in which everybody has finished. */
  readonly ends: number;
  /** False: cut by `maxStates`. */
  readonly complete: boolean;
  /** Steps of real code that were executed for it. */
  readonly executed: number;
  readonly violation: { readonly texts: readonly string[]; readonly schedule: readonly string[] } | undefined;
}

interface State {
  readonly store: StoreState;
  readonly places: readonly Place[];
  /** Writes whose sender gave up on them and that may still land. */
  readonly late: readonly Call[];
  readonly faults: number;
  /** Who took the last step, and how often somebody was stopped who could have gone on. */
  readonly actor: number;
  readonly preemptions: number;
  readonly from: State | undefined;
  readonly step: string;
}

/**
 * Every interleaving of the actors' calls, each situation once. A crash needs no steps of its own: a dead actor is one that
 * never goes on, and every situation is checked as if all that have not finished were dead.
 *
 * Reduction (`independence.ts`): a call that nobody else can tell the moment of is taken first and alone. Who reads and writes
 * what is learned on the way; the search starts over when it turns out that it knew too little.
 */
export async function explore(options: ExploreOptions): Promise<Exploration> {
  const { machines } = options;
  for (;;) {
    const before = knownKeys(machines);
    const found = await search(options);
    if (found.violation !== undefined || !found.complete || knownKeys(machines) === before) return found;
  }
}

function knownKeys(machines: readonly Machine[]): number {
  return machines.reduce((sum, { writes, reads, lists }) => sum + writes.size + reads.size + lists.size, 0);
}

async function search(options: ExploreOptions): Promise<Exploration> {
  const { world, machines, maxStates, check } = options;
  const kinds = options.faultKinds ?? ['refused', 'applied', 'late'];
  const seen = new Set<string>();
  const queue = createQueue();
  const independent = createIndependence(machines);
  let states = 0;
  let ends = 0;
  const { maxPreemptions } = options;
  const visit = (state: State): void => {
    if (maxPreemptions !== undefined && state.preemptions > maxPreemptions) return;
    // Where preemptions are counted it matters who would be stopped.
    const name = maxPreemptions === undefined ? nameOf(state) : `${state.actor} ${nameOf(state)}`;
    if (seen.has(name)) return;
    seen.add(name);
    queue.push(state);
  };
  const result = (complete: boolean, violation: Exploration['violation']): Exploration => ({
    states,
    ends,
    complete,
    executed: machines.reduce((sum, { executed }) => sum + executed(), 0),
    violation,
  });

  visit({
    store: options.initial,
    places: machines.map(({ start }) => start),
    late: [],
    faults: options.faults ?? 0,
    actor: -1,
    preemptions: 0,
    from: undefined,
    step: 'start',
  });
  for (let state = queue.pop(); state !== undefined; state = queue.pop()) {
    if (states === maxStates) return result(false, undefined);
    states++;
    const allFinished = state.places.every(isFinished);
    if (allFinished) ends++;
    const texts = await check({
      store: state.store,
      endings: endingsOf(machines, state.places),
      allFinished,
      undisturbed: state.faults === (options.faults ?? 0),
    });
    if (texts.length > 0) return result(false, { texts, schedule: scheduleOf(state) });

    const first = independent(state.places, state.late);
    for (const [index, place] of state.places.entries()) {
      if (first !== undefined && first.actor !== index) continue;
      for (const pending of place.pending) {
        if (first !== undefined && first.pending !== pending) continue;
        for (const next of await outcomes(state, index, pending)) {
          const name = machines[index]?.actor.name ?? '';
          const wrong = options.checkStep?.(state.store, next.store, name) ?? [];
          if (wrong.length > 0) return result(false, { texts: wrong, schedule: scheduleOf(next) });
          visit(next);
        }
      }
    }
    if (first !== undefined) continue;
    for (const call of state.late) {
      const { state: store } = world.apply(state.store, call);
      const late = state.late.filter((other) => other !== call);
      visit({ ...state, store, late, from: state, step: `late: ${call.sig}` });
    }
  }
  return result(true, undefined);

  async function outcomes(state: State, index: number, pending: PendingCall): Promise<State[]> {
    const { call } = pending;
    const stopped = state.actor !== index && (state.places[state.actor]?.pending.length ?? 0) > 0;
    const preemptions = state.preemptions + (stopped ? 1 : 0);
    const applied = world.apply(state.store, call);
    const next: State[] = [await answered(applied.state, applied.answer, state.late, '')];
    if (state.faults === 0 || call.op === 'wait') return next;
    const unavailable = failed('ObjectStoreUnavailable');
    for (const kind of kinds) {
      if (kind !== 'refused' && !isWrite(call)) continue;
      // Files have no requests that arrive late.
      if (kind === 'late' && 'holder' in call && options.lateUploads !== true) continue;
      const store = kind === 'applied' ? applied.state : state.store;
      const late =
        kind === 'late' ? [...state.late, call].sort((a, b) => (a.sig < b.sig ? -1 : 1)) : state.late;
      next.push(await answered(store, unavailable, late, kind));
    }
    return next;

    async function answered(
      store: StoreState,
      answer: Answer,
      late: readonly Call[],
      fault: string,
    ): Promise<State> {
      const machine = machines[index] as Machine;
      const from = state.places[index] as Place;
      const to = machine.known(from, pending, answer) ?? (await machine.learn(from, pending, answer));
      const step = `${machine.actor.name}: ${pending.token}${fault === '' ? '' : ` [${fault}]`} → ${answer.sig}`;
      const faults = fault === '' ? state.faults : state.faults - 1;
      const places = state.places.with(index, to);
      return { store, places, late, faults, actor: index, preemptions, from: state, step };
    }
  }
}

/** Those with few preemptions first: nearly every fault needs one or two, and its schedule reads easily then. */
function createQueue(): { push(state: State): void; pop(): State | undefined } {
  const byPreemptions: State[][] = [];
  return {
    push(state) {
      const states = byPreemptions[state.preemptions];
      if (states === undefined) byPreemptions[state.preemptions] = [state];
      else states.push(state);
    },
    pop: () => byPreemptions.find((states) => states !== undefined && states.length > 0)?.pop(),
  };
}

function nameOf({ store, places, late, faults }: State): string {
  const lateNames = late.length === 0 ? '' : late.map(({ sig }) => sig).join();
  return `${store.id} ${places.map(({ id }) => id).join(' ')} ${faults} ${lateNames}`;
}

function endingsOf(
  machines: readonly Machine[],
  places: readonly Place[],
): Record<string, Ending | undefined> {
  return Object.fromEntries(machines.map(({ actor }, index) => [actor.name, places[index]?.ending]));
}

function scheduleOf(state: State): string[] {
  const steps: string[] = [];
  for (let at: State | undefined = state; at !== undefined; at = at.from) steps.push(at.step);
  return steps.reverse();
}
