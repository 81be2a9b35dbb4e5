import { setImmediate as nextTurn } from 'node:timers/promises';
import type { ObjectStore } from '../../../../core/object-store/object-store.ts';

/** Makes calls of several actors to one store happen one at a time, in an order that a seed decides. */
export interface Stepper {
  /** The store as one actor sees it. */
  storeFor(actor: string): ObjectStore;
  /** A pause of that actor: others may go first. */
  pause(actor: string): Promise<void>;
  /** Runs until every actor has ended or died. `crash` names an actor and after how many of its steps it dies. */
  run(
    actors: Readonly<Record<string, () => Promise<unknown>>>,
    crash?: { actor: string; steps: number },
  ): Promise<void>;
}

export function createStepper(store: ObjectStore, random: () => number): Stepper {
  let waiting: { actor: string; go: () => void }[] = [];
  const pause = (actor: string): Promise<void> => new Promise((go) => waiting.push({ actor, go }));

  function wrap<T extends object>(target: T, actor: string): T {
    return new Proxy(target, {
      get(of, name, receiver) {
        const value: unknown = Reflect.get(of, name, receiver);
        if (typeof value !== 'function') {
          return typeof value === 'object' && value !== null ? wrap(value, actor) : value;
        }
        return async (...args: unknown[]) => {
          await pause(actor);
          return (value as (...given: unknown[]) => unknown).apply(of, args);
        };
      },
    });
  }

  return {
    pause,
    storeFor: (actor) => wrap(store, actor),
    async run(actors, crash) {
      const alive = new Set(Object.keys(actors));
      const failures: unknown[] = [];
      for (const [actor, act] of Object.entries(actors)) {
        act()
          .catch((error: unknown) => failures.push(error))
          .finally(() => alive.delete(actor));
      }
      let steps = 0;
      while (alive.size > 0) {
        await nextTurn();
        if (waiting.length === 0) continue;
        const [next] = waiting.splice(Math.floor(random() * waiting.length), 1);
        if (next === undefined) continue;
        if (next.actor === crash?.actor && steps++ === crash.steps) {
          alive.delete(crash.actor);
          waiting = waiting.filter(({ actor }) => actor !== crash.actor);
          continue;
        }
        if (alive.has(next.actor)) next.go();
      }
      waiting = [];
      if (failures.length > 0) throw failures[0];
    },
  };
}

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
