import type { Exploration } from './explore.ts';

/** A violation as a person reads it: what is wrong, then the schedule that leads there, one call a line. */
export function describeViolation({ violation }: Pick<Exploration, 'violation'>): string {
  if (violation === undefined) return 'nothing is wrong';
  return [...violation.texts, '', ...violation.schedule]
    .join('\n')
    .replaceAll(/([0-9a-f]{6})[0-9a-f]{58}\b/g, '$1…');
}
