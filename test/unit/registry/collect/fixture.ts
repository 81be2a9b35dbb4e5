import { vi } from 'vitest';
import { createMemoryStore } from '../../../../core/object-store/memory.ts';
import type { ObjectStore } from '../../../../core/object-store/object-store.ts';
import type { Digest } from '../../../../oci/digest.ts';
import type { Registry } from '../../../../oci/registry.ts';
import type { StoreContext } from '../../../../registry/store/context.ts';
import { readManifestRecord } from '../../../../registry/store/manifest-record.ts';
import { readPointer } from '../../../../registry/store/pointer.ts';
import { createStoredRegistry } from '../../../../registry/stored-registry.ts';
import { createContext } from '../store/context.ts';

export const hour = 60 * 60 * 1000;
export const day = 24 * hour;

type Call = 'get' | 'head' | 'put' | 'list' | 'delete' | 'deleteMany';

/** A store in memory whose clock stands still until it is told to go on, and which lets others act before a certain call. */
export interface CollectFixture {
  readonly store: ObjectStore;
  readonly context: StoreContext;
  readonly registry: Registry;
  /** Of the store. */
  advance(ms: number): void;
  /** Once, right before the `nth` of the calls with such a key. */
  before(call: Call, key: string, act: () => Promise<unknown>, nth?: number): void;
  /** Calls since the last question. */
  calls(): string[];
  blobState(digest: Digest): Promise<string | undefined>;
  manifestState(repository: string, digest: Digest): Promise<string | undefined>;
}

export function createFixture(overrides: Partial<StoreContext> = {}): CollectFixture {
  vi.useFakeTimers({ toFake: ['Date'], now: Date.UTC(2030, 0, 1) });
  const inner = createMemoryStore();
  const hooks: { call: Call; key: string; act: () => Promise<unknown>; left: number }[] = [];
  let calls: string[] = [];
  const watched = <K extends Call>(call: K): ObjectStore[K] => {
    const method = inner[call] as (...given: unknown[]) => Promise<unknown>;
    return (async (...given: unknown[]) => {
      const [first] = given;
      const key = typeof first === 'string' ? first : (first as { prefix?: string }).prefix;
      const text = key ?? String(first);
      const hook = hooks.find((each) => each.call === call && text.includes(each.key) && --each.left === 0);
      if (hook !== undefined) {
        hooks.splice(hooks.indexOf(hook), 1);
        await hook.act();
      }
      calls.push(`${call} ${text}`);
      return method(...given);
    }) as unknown as ObjectStore[K];
  };
  const store: ObjectStore = {
    ...inner,
    get: watched('get'),
    head: watched('head'),
    put: watched('put'),
    list: watched('list'),
    delete: watched('delete'),
    deleteMany: watched('deleteMany'),
  };
  const context = createContext(store, overrides);
  return {
    store,
    context,
    // Past the hooks: what a test lets happen in between must not wait for itself.
    registry: createStoredRegistry({ store: inner, wait: async () => {} }),
    advance: (ms) => void vi.setSystemTime(Date.now() + ms),
    before: (call, key, act, nth = 1) => void hooks.push({ call, key, act, left: nth }),
    calls() {
      const seen = calls;
      calls = [];
      return seen;
    },
    blobState: async (digest) => (await readPointer(createContext(inner), digest)).header?.state,
    manifestState: async (repository, digest) =>
      (await readManifestRecord(createContext(inner), repository, digest)).header?.state,
  };
}
