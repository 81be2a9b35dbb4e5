import type { VersionedJob } from './stored-job.ts';

/** Leases that are watched at once; no farm runs so many jobs, and those that were looked at longest ago are forgotten. */
const mostWatched = 10_000;

/** Says which leases have run out. */
export interface LeaseWatch {
  /** True once the same write of the lease has been seen, again and again, for its whole length. */
  ranOut(found: VersionedJob): boolean;
  /** Not to be watched any more. */
  forget(id: string): void;
}

/**
 * Only standing still counts: clocks of machines differ by hours, and whoever believed the time that a lease names would take running jobs from
 * their workers. So each worker needs one whole `leaseMs` of its own to see that another has died.
 */
export function createLeaseWatch({
  leaseMs,
  elapsed = () => performance.now(),
}: {
  readonly leaseMs: number;
  /** Milliseconds since any moment; never set back. */
  readonly elapsed?: () => number;
}): LeaseWatch {
  const seen = new Map<string, { nonce: string; since: number }>();
  return {
    ranOut({ job, nonce }) {
      const before = seen.get(job.id);
      if (before?.nonce === nonce) return elapsed() - before.since >= leaseMs;
      seen.delete(job.id);
      seen.set(job.id, { nonce, since: elapsed() });
      const oldest = seen.size > mostWatched ? seen.keys().next().value : undefined;
      if (oldest !== undefined) seen.delete(oldest);
      return false;
    },
    forget(id) {
      seen.delete(id);
    },
  };
}
