import type { DispatchPolicy } from '../../core/queue/dispatch-policy.ts';

/** Lanes of builds: somebody looks at it, a push that nobody waits for, an image that is made again on a new base, and what only moves layers. */
export type BuildLane = 'interactive' | 'branch' | 'rebuild' | 'rebase';

/** How workers are shared out among builds; `builder.lanes` and its neighbours in the configuration. */
export interface DispatchSettings {
  /** What each lane may begin while the others wait as well, relative to them. */
  readonly lanes: { readonly [lane in BuildLane]: number };
  /** Builds of one team at once, even while workers are idle; 0 = as many as there are workers. */
  readonly tenantSlots: number;
  /** Per cent of all slots that rebuilds and rebases leave free, at least one slot where there are two. */
  readonly reserve: number;
}

export const defaultDispatch: DispatchSettings = {
  lanes: { interactive: 60, branch: 25, rebuild: 10, rebase: 5 },
  tenantSlots: 0,
  reserve: 20,
};

export function dispatchPolicy({ lanes, tenantSlots, reserve }: DispatchSettings): DispatchPolicy {
  const foreground = { share: 1, background: false };
  // Half of the slots for each: a wave must not keep the other kind from beginning at all.
  const background = { share: 0.5, background: true };
  return {
    lanes: [
      { name: 'interactive', weight: lanes.interactive, ...foreground },
      { name: 'branch', weight: lanes.branch, ...foreground },
      { name: 'rebuild', weight: lanes.rebuild, ...background },
      { name: 'rebase', weight: lanes.rebase, ...background },
    ],
    tenantSlots,
    reserve: reserve / 100,
    ageMs: 600_000,
    preferMs: 3_000,
  };
}
