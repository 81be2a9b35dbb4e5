import type { StoreContext } from '../store/context.ts';
import { leaseKey } from '../store/paths.ts';
import { buryRecord, type RecordHeader, readRecord, replaceRecord, type Versioned } from '../store/record.ts';
import { timeLeft } from './store-time.ts';

/** Who collects at the moment. Only spares work: two collectors at once do no harm. */
interface LeaseHeader extends RecordHeader {
  readonly state: 'held';
  /** For people: host and process. */
  readonly holder: string;
}

export interface Lease {
  /** Aborted once another one may have taken the lease. */
  readonly signal: AbortSignal;
  release(): Promise<void>;
}

export interface LeaseOptions {
  readonly holder: string;
  /** Milliseconds after which a holder who says nothing is taken to be dead, by the store's clock. Default a minute. */
  readonly ttlMs?: number;
}

/** `heldBy`: another one has it, for `waitMs` more unless he renews it. Errors: ObjectStoreUnavailable. */
export async function takeLease(
  context: StoreContext,
  options: LeaseOptions,
): Promise<{ lease: Lease } | { heldBy: string; waitMs: number }> {
  const ttlMs = options.ttlMs ?? 60_000;
  const header = { state: 'held', holder: options.holder } as const;
  for (;;) {
    const seen = await readRecord<LeaseHeader>(context, leaseKey);
    if (seen.header !== undefined) {
      const waitMs = await timeLeft(context, seen.modified, ttlMs, {});
      if (waitMs > 0) return { heldBy: seen.header.holder, waitMs };
    }
    const held = await write(context, seen, header);
    if (held !== undefined) return { lease: keepLease(context, held, header, ttlMs) };
  }
}

function write(
  context: StoreContext,
  seen: Versioned<LeaseHeader>,
  header: Omit<LeaseHeader, 'nonce'>,
): Promise<Versioned<LeaseHeader> | undefined> {
  return replaceRecord<LeaseHeader>(context, leaseKey, seen, header, { durability: 'process' });
}

function keepLease(
  context: StoreContext,
  taken: Versioned<LeaseHeader>,
  header: Omit<LeaseHeader, 'nonce'>,
  ttlMs: number,
): Lease {
  const lost = new AbortController();
  let held = taken;
  let renewed = performance.now();
  let renewing: Promise<void> = Promise.resolve();
  const renew = async (): Promise<void> => {
    try {
      const written = await write(context, held, header);
      if (written === undefined) {
        lost.abort(new LeaseLost());
        return;
      }
      held = written;
      renewed = performance.now();
    } catch {
      // The store does not answer; others may think us dead after a while.
      if (performance.now() - renewed > ttlMs) lost.abort(new LeaseLost());
    }
  };
  const timer = setInterval(() => {
    renewing = renewing.then(renew);
  }, ttlMs / 3);
  timer.unref();
  return {
    signal: lost.signal,
    async release() {
      clearInterval(timer);
      await renewing;
      if (!lost.signal.aborted) await buryRecord(context, leaseKey, held);
    },
  };
}

/** Another collector took over. */
export class LeaseLost extends Error {
  override readonly name = 'LeaseLost';
  constructor() {
    super('another collector took over');
  }
}
