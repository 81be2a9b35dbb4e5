import type { ObjectStore, StoredObject } from '../../core/object-store/object-store.ts';
import type { RecordHeader, Versioned } from './record.ts';
import type { Session } from './upload-session.ts';

/** The part of a logger that the stored registry needs; a pino logger is one. */
export interface StoreLog {
  warn(fields: Record<string, unknown>, message: string): void;
}

/** What every part of the stored registry is given: the store, and the two things tests replace (time and randomness). */
export interface StoreContext {
  readonly store: ObjectStore;
  /** Milliseconds since the epoch. Only liveness hangs on it, never safety. */
  readonly clock: () => number;
  readonly wait: (milliseconds: number) => Promise<void>;
  /** 128 fresh random bits as 32 lower-case hex digits: nonces, generations, attempts, ids. */
  readonly random: () => string;
  readonly log: StoreLog;
  /** Manifests may name layers and configs that the repository does not have (yet); see `putManifest`. */
  readonly allowMissingBlobs: boolean;
  /** Leave a hint for every manifest that may have lost its last tag: a policy removes untagged ones. Default false. */
  readonly hintUntagged?: boolean;
  /** Records by the object that they were decoded from. Default: decoded each time. */
  readonly records?: WeakMap<StoredObject, Versioned<RecordHeader>>;
  /** Upload sessions as this process last wrote them, by id: a guess at what the store holds. Default: none is remembered. */
  readonly sessions?: SessionMemory;
}

/** Bounded; may forget at any time. */
export interface SessionMemory {
  get(id: string): Session | undefined;
  set(id: string, session: Session): unknown;
  delete(id: string): unknown;
}
