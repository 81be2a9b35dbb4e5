import { defaultDispatch } from '../builder/farm/dispatch-settings.ts';
import { Type } from '../core/type.ts';

const weight = (byDefault: number, description: string) =>
  Type.Integer({ default: byDefault, minimum: 1, maximum: 1000, description });

const { lanes, tenantSlots, reserve } = defaultDispatch;

/** How workers are shared out among builds; parts of `builder` of `brickyard.yaml`. */
export const dispatchSchema = {
  lanes: Type.Object({
    interactive: weight(
      lanes.interactive,
      'Share of builds that somebody waits for, relative to the other lanes while those have work as well.',
    ),
    branch: weight(lanes.branch, 'Share of builds of pushes that nobody waits for.'),
    rebuild: weight(lanes.rebuild, 'Share of builds because of a changed base image.'),
    rebase: weight(lanes.rebase, 'Share of jobs that only put images on another base.'),
  }),
  tenantSlots: Type.Integer({
    default: tenantSlots,
    minimum: 0,
    maximum: 100_000,
    description: 'Builds of one team at the same time, even while workers are idle; 0 = no limit.',
  }),
  reserve: Type.Integer({
    default: reserve,
    minimum: 0,
    maximum: 90,
    description:
      'Per cent of all workers’ slots that rebuilds and rebases leave free; at least one slot, where there are two.',
  }),
};
