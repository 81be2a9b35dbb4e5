import type { ObjectStore } from '../../core/object-store/object-store.ts';
import type { Registry } from '../../oci/registry.ts';
import type { StoreContext } from '../../registry/store/context.ts';
import type { Product } from './product.ts';
import { createProxyStore, storeTime } from './proxy-store.ts';
import type { Answer, Call, World } from './world.ts';

/** What an actor is given. Nothing else may tell one run of it from another. */
export interface ActorTools {
  readonly product: Product;
  readonly store: ObjectStore;
  readonly registry: Registry;
  readonly context: StoreContext;
}

/** Somebody who uses the store: a request of a client, a collector. What it returns is what it acknowledged, and is JSON-safe. */
export interface Actor {
  readonly name: string;
  readonly run: (tools: ActorTools) => Promise<unknown>;
}

/** How an actor ended. `failed` is an error's code; anything that is no answer of a registry begins with `bug`. */
export type Ending = { readonly value: unknown } | { readonly failed: string };

export interface PendingCall {
  readonly call: Call;
  /** Tells the call from all other calls of this run. */
  readonly token: string;
}

/** One execution of an actor's code: it runs until it can only wait for the store. */
export interface ActorRun {
  readonly pending: ReadonlyMap<string, PendingCall>;
  readonly ending: Ending | undefined;
  /** Randomness and time used up so far: with the answers, all that the rest of the run depends on. */
  readonly used: string;
  /** Answers one call and runs on. */
  answer(token: string, answer: Answer): Promise<void>;
}

/**
 * Time for one actor. A claim of another push looks young at first and, after one wait or a second look, abandoned: both ways
 * through step 2 of a push are walked, and every push ends after a few rounds.
 */
function createClock(): { now: () => number; waited: () => void; used: () => string } {
  let looks = 0;
  let waits = 0;
  return {
    now() {
      looks++;
      return storeTime + 4_000 * Math.min(looks, 2) + 20_000 * Math.max(0, looks - 2) + 10_000 * waits;
    },
    waited() {
      waits++;
    },
    used: () => `${looks} ${waits}`,
  };
}

export async function startActor(
  product: Product,
  { exclusive }: Pick<World, 'exclusive'>,
  actor: Actor,
  index: number,
): Promise<ActorRun> {
  const pending = new Map<string, PendingCall & { settle: (answer: Answer) => void }>();
  const occurrences = new Map<string, string[]>();
  const ambiguous = new Set<string>();
  let answered = '';
  let ending: Ending | undefined;
  let drawn = 0;
  const clock = createClock();
  const issue = (call: Call): Promise<Answer> =>
    new Promise((settle) => {
      // Equal calls of parallel branches have the same name in another order: then it matters what led to each of them.
      const causes = occurrences.get(call.sig) ?? [];
      occurrences.set(call.sig, [...causes, answered]);
      if (causes.length > 0 && pending.size > 0)
        ambiguous.add(`${call.sig}: ${[...causes, answered].join()}`);
      const token = causes.length === 0 ? call.sig : `${call.sig} #${causes.length + 1}`;
      pending.set(token, { call, token, settle });
    });
  const store = createProxyStore(product, { actor: actor.name, exclusive }, issue);
  const options = {
    store,
    clock: clock.now,
    random: () => `${index}${(++drawn).toString(16).padStart(4, '0')}`.padStart(32, '0'),
    wait: async () => {
      await issue({ op: 'wait', key: '', sig: 'wait' });
      clock.waited();
    },
  };
  const tools: ActorTools = {
    product,
    store,
    registry: product.createStoredRegistry(options),
    context: product.createStoreContext(options),
  };
  actor.run(tools).then(
    (value) => {
      ending = { value };
    },
    (error: unknown) => {
      ending = { failed: nameOf(product, error) };
    },
  );
  // Work that leaves the thread (WebAssembly) is only seen to be under way by there being nothing else.
  const settleDown = async (): Promise<void> => {
    do await new Promise((resolve) => setImmediate(resolve));
    while (pending.size === 0 && ending === undefined);
  };
  await settleDown();
  return {
    pending,
    get ending() {
      return ending;
    },
    get used() {
      return [drawn, clock.used(), ...[...ambiguous].sort()].join('\n');
    },
    async answer(token, answer) {
      const call = pending.get(token);
      if (call === undefined) throw new Error(`${actor.name} is not waiting for ${token}`);
      pending.delete(token);
      answered = token;
      call.settle(answer);
      await settleDown();
    },
  };
}

function nameOf(product: Product, error: unknown): string {
  if (product.errors.isOciError(error)) return error.code;
  if (error instanceof product.objectStore.ObjectStoreUnavailable) return 'UNAVAILABLE';
  return `bug: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`;
}
