import type { SoakOptions } from './run-soak.ts';

type Mode = Pick<SoakOptions, 'mode' | 'graceMs' | 'sendAgain' | 'realClients'>;

/** Longer than any push: nobody is ever told that a blob which he saw a moment ago is gone. */
export const modeA = {
  mode: 'A',
  graceMs: 60_000,
  sendAgain: false,
  realClients: ['skopeo'],
} as const satisfies Mode;

/** No grace at all: whoever is told that a blob is gone sends it, and nothing that was acknowledged is lost. */
export const modeB = { mode: 'B', graceMs: 0, sendAgain: true, realClients: [] } as const satisfies Mode;
