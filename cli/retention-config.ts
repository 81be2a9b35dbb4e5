import { Type } from '../core/type.ts';

const days = (description: string, byDefault: number) =>
  Type.Integer({ default: byDefault, minimum: 0, maximum: 36_500, description });

/** How long builds and what belongs to them are kept; the part `builder.retention` of `brickyard.yaml`. */
export const retentionSchema = Type.Object({
  logs: days('Days that logs of builds are kept; 0 = for ever.', 90),
  builds: days(
    'Days that records of builds are kept, and at most as long all that belongs to them; 0 = for ever.',
    365,
  ),
  artifacts: days('Days that what tests of builds left is kept; 0 = for ever.', 30),
  perApp: Type.Integer({
    default: 2_000,
    minimum: 0,
    maximum: 1_000_000,
    description:
      'Builds of one git repository that are kept, the newest ones; 0 = any number. The newest build of each branch and tag always is.',
  }),
});
