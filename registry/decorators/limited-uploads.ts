import { createBoundedCache } from '../../core/bounded-cache.ts';
import { OciError } from '../../oci/errors.ts';
import type { Registry } from '../../oci/registry.ts';

export interface UploadLimit {
  /** Unfinished upload sessions of one owner; everybody without an account is one owner. */
  readonly max: number;
  /** How many unfinished sessions an owner has, up to `limit`; see `countUploads`. */
  readonly count: (owner: string | undefined, limit: number) => Promise<number>;
  /** Milliseconds since the epoch; default Date.now. */
  readonly clock?: () => number;
}

/** What this process saw of one owner's sessions. */
interface Seen {
  /** Opened less ended since the last look into the store. */
  balance: number;
  /** So many more may be opened before the next look. */
  credit: number;
  /** Until then the last look's answer stands. */
  fullUntil: number;
  looking: Promise<void> | undefined;
}

/** Owners whose balance is remembered; whoever falls out begins anew. */
const owners = 10_000;
/** After a refusal the store is asked again no sooner. */
const refusedMilliseconds = 10_000;
/** Of what is left, one process may give out so much without a look. */
const share = 8;

/** Too many upload sessions of one owner are unfinished. */
export class TooManyUploads extends OciError {
  /** Seconds. */
  readonly retryAfter: number;
  constructor(max: number, retryAfter: number) {
    super('TOOMANYREQUESTS', {
      message: `more than ${max} uploads are unfinished; finish or cancel some`,
      detail: { max },
    });
    this.retryAfter = retryAfter;
  }
}

/**
 * Bounds the unfinished upload sessions of one owner, without a shared counter and without asking the store as long as sessions
 * end as they begin: each process keeps a balance of what it saw, and only where that has grown counts in the store.
 *
 * The bound is loose: every process gives out up to an eighth of what is left between two looks, so with P processes an owner
 * reaches at most `max` × (1 + P/8). It bounds sessions, not bytes, and does nothing against many accounts or against uploads in
 * one request, which leave no session. Errors: TOOMANYREQUESTS from `startUpload`.
 */
export function limitedUploads(registry: Registry, limit: UploadLimit): Registry {
  const { max, clock = Date.now } = limit;
  const seen = createBoundedCache<string, Seen>(owners);

  function entryOf(owner: string | undefined): Seen {
    const key = owner === undefined ? '' : `=${owner}`;
    let entry = seen.get(key);
    if (entry === undefined) {
      entry = { balance: 0, credit: creditFor(max), fullUntil: 0, looking: undefined };
      seen.set(key, entry);
    }
    return entry;
  }

  async function look(entry: Seen, owner: string | undefined): Promise<void> {
    try {
      const open = await limit.count(owner, max);
      if (open >= max) {
        entry.fullUntil = clock() + refusedMilliseconds;
        return;
      }
      entry.balance = 0;
      entry.credit = creditFor(max - open);
    } finally {
      entry.looking = undefined;
    }
  }

  function ended(owner: string | undefined): void {
    const entry = entryOf(owner);
    entry.balance = Math.max(0, entry.balance - 1);
  }

  return {
    ...registry,
    async startUpload(repository, options = {}) {
      const entry = entryOf(options.owner);
      while (entry.balance >= entry.credit) {
        const left = entry.fullUntil - clock();
        if (left > 0) throw new TooManyUploads(max, Math.ceil(left / 1000));
        entry.looking ??= look(entry, options.owner);
        await entry.looking;
      }
      entry.balance++;
      return registry.startUpload(repository, options);
    },
    async finishUpload(repository, id, digest, body, options = {}) {
      const descriptor = await registry.finishUpload(repository, id, digest, body, options);
      ended(options.owner);
      return descriptor;
    },
    async cancelUpload(repository, id, options = {}) {
      await registry.cancelUpload(repository, id, options);
      ended(options.owner);
    },
  };
}

function creditFor(left: number): number {
  return Math.max(1, Math.floor(left / share));
}
