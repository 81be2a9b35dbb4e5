import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { LRUCache } from 'lru-cache';
import type { ObjectStore } from '../../core/object-store/object-store.ts';
import type { StoreContext, StoreLog } from './context.ts';

export interface StoreContextOptions {
  readonly store: ObjectStore;
  /** Milliseconds since the epoch; default Date.now. */
  readonly clock?: () => number;
  readonly wait?: (milliseconds: number) => Promise<void>;
  /** 32 fresh lower-case hex digits; default from the system's random source. */
  readonly random?: () => string;
  readonly log?: StoreLog;
  /**
   * Accept manifests whose layers or config are not in the repository; default false: MANIFEST_BLOB_UNKNOWN.
   * Such a manifest is served, and what is missing stays missing until somebody pushes it.
   */
  readonly allowMissingBlobs?: boolean;
  /** Manifests that may have lost their last tag are hinted at, for a policy that removes them; default false. */
  readonly hintUntagged?: boolean;
}

/** Each holds up to 8 KiB of a small blob. */
const rememberedSessions = 500;

/** For whatever works on the registry's objects: the stored registry, its collector, its verification. */
export function createStoreContext(options: StoreContextOptions): StoreContext {
  return {
    store: options.store,
    clock: options.clock ?? Date.now,
    wait: options.wait ?? ((milliseconds) => sleep(milliseconds)),
    random: options.random ?? (() => randomBytes(16).toString('hex')),
    log: options.log ?? { warn: () => {} },
    records: new WeakMap(),
    sessions: new LRUCache({ max: rememberedSessions }),
    allowMissingBlobs: options.allowMissingBlobs ?? false,
    hintUntagged: options.hintUntagged ?? false,
  };
}
