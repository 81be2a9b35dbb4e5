/**
 * Where a build's time goes, in the order in which it goes there. `queue`: until a worker took it up. `source`: the commit's files are found.
 * `plan`: App.yaml is read and planned. `sandbox`: containers, and files into and out of them. `restore`: dependency caches. `build`, `test`, `static`:
 * the commands. `assemble`: layers are made and stored, which is one stream. `tags`: the image gets its names.
 */
export const buildPhases = [
  'queue',
  'source',
  'plan',
  'sandbox',
  'restore',
  'build',
  'test',
  'static',
  'assemble',
  'tags',
] as const;

export type BuildPhase = (typeof buildPhases)[number];

/** Adds to the time of a phase. Milliseconds. */
export type PhaseTimer = (phase: BuildPhase, milliseconds: number) => void;
