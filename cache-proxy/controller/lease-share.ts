/** What a pool may read from the origin in advance, until a time. */
export interface Lease {
  /** The pool, by its account and name. */
  readonly holder: string;
  /** Bits in a second: what it asked for, and what it was given. */
  readonly wanted: number;
  readonly granted: number;
  /** Milliseconds since 1970. */
  readonly until: number;
}

/**
 * A grant for `holder`, and all leases with it in place of its former one. Everybody who asks gets his fair share (max–min: nobody gets more than he wants, and
 * what small ones leave is divided among the others), but never more than others' running leases leave: those shrink when they are renewed, so that the sum
 * stays within `limit` at any time. `wanted` 0 gives a lease back.
 */
export function shareLeases(
  leases: readonly Lease[],
  ask: { readonly holder: string; readonly wanted: number; readonly until: number },
  options: { readonly limit: number; readonly now: number },
): { readonly granted: number; readonly leases: readonly Lease[] } {
  const { holder, wanted, until } = ask;
  const { limit, now } = options;
  const others = leases.filter((lease) => lease.holder !== holder && lease.until > now);
  if (wanted <= 0) return { granted: 0, leases: others };
  const taken = others.reduce((sum, { granted }) => sum + granted, 0);
  const fair = fairShare([...others.map((lease) => lease.wanted), wanted], limit);
  const granted = Math.max(0, Math.floor(Math.min(wanted, fair, limit - taken)));
  return { granted, leases: [...others, { holder, wanted, granted, until }] };
}

/** The most that anybody gets. */
function fairShare(wants: readonly number[], limit: number): number {
  let left = limit;
  const sorted = wants.toSorted((a, b) => a - b);
  for (const [index, want] of sorted.entries()) {
    const share = left / (sorted.length - index);
    if (want > share) return share;
    left -= want;
  }
  return Number.POSITIVE_INFINITY;
}
