import type { ActorTools } from './actor.ts';
import type { Product } from './product.ts';
import { createProxyStore, storeTime } from './proxy-store.ts';
import type { StoreState, World } from './world.ts';

/** Runs code on a state as one who is alone there, and tells the state it leaves. */
export async function runAlone(
  product: Product,
  world: World,
  from: StoreState,
  work: (tools: ActorTools) => Promise<unknown>,
  /** A hex digit that begins what is drawn here: nobody else may begin with it. */
  fill: string,
): Promise<StoreState> {
  let state = from;
  const store = createProxyStore(
    product,
    { actor: `alone ${fill}`, exclusive: world.exclusive },
    async (call) => {
      const outcome = world.apply(state, call);
      state = outcome.state;
      return outcome.answer;
    },
  );
  let drawn = 0;
  let now = storeTime;
  const options = {
    store,
    clock: () => now,
    random: () => `f${(++drawn).toString(16).padStart(5, '0')}`.padStart(32, fill),
    wait: async (milliseconds: number) => {
      now += milliseconds;
    },
  };
  await work({
    product,
    store,
    registry: product.createStoredRegistry(options),
    context: product.createStoreContext(options),
  });
  return state;
}
