/** How much is explored, for whoever has more time than a test run: docs/protocol-checks.md. */
export interface Depth {
  /** Added to every bound on preemptions. */
  readonly preemptions: number;
  /** Random runs of each crowd. */
  readonly runs: number;
  /** The first run's seed. */
  readonly seed: number;
}

export function readDepth(environment: NodeJS.ProcessEnv): Depth {
  const number = (name: string, otherwise: number): number => {
    const value = environment[name];
    if (value === undefined || value === '') return otherwise;
    if (!/^\d{1,9}$/.test(value)) throw new Error(`${name} must be a number`);
    return Number(value);
  };
  const seed = number('EXPLORER_SEED', 0);
  return {
    preemptions: number('EXPLORER_DEPTH', 0),
    // A seed is given to see one run again.
    runs: number('EXPLORER_RUNS', seed === 0 ? 300 : 1),
    seed: seed === 0 ? 1 : seed,
  };
}
