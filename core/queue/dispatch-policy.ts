/** How the slots of all workers are shared out. Shares are parts of all slots, from 0 to 1. */
export interface DispatchPolicy {
  /** In the order of their importance; the first is the default. */
  readonly lanes: readonly LanePolicy[];
  /** Jobs of one tenant at once, even while slots are free; 0: as many as there are slots. */
  readonly tenantSlots: number;
  /** What background lanes together leave free, at least one slot where there are two; with a single slot nothing. */
  readonly reserve: number;
  /** A job that has waited for so long counts as one of the first lane. Milliseconds. */
  readonly ageMs: number;
  /** How long a job waits for the worker that it likes best, while others could take it. Milliseconds. */
  readonly preferMs: number;
}

export interface LanePolicy {
  readonly name: string;
  /** Its part of what is begun while other lanes wait as well, relative to theirs; above 0. */
  readonly weight: number;
  /** What it holds at most, always one slot; more only while nothing else waits that could begin. */
  readonly share: number;
  /** Nobody waits for it: it leaves the reserve alone. */
  readonly background: boolean;
}

/** One lane, first come first served among tenants that take turns. */
export const plainPolicy: DispatchPolicy = {
  lanes: [{ name: 'default', weight: 1, share: 1, background: false }],
  tenantSlots: 0,
  reserve: 0,
  ageMs: 600_000,
  preferMs: 3_000,
};
