import { cpus } from 'node:os';
import { median } from '../measure.ts';

export interface Measured {
  readonly seconds: number;
  /** Of the registry, the side's daemon and its programs together. */
  readonly cpuSeconds: number;
}

export type Samples = ReadonlyMap<string, readonly Measured[]>;

/**
 * Runs all sides in turn, each round beginning with another one, so that a slow phase of the machine hits all of them. `warmUp` rounds
 * come first and do not count.
 */
export async function rounds(
  sides: readonly { readonly name: string; readonly run: (version: string) => Promise<Measured> }[],
  {
    pairs,
    warmUp,
    say,
  }: { readonly pairs: number; readonly warmUp: number; readonly say: (line: string) => void },
): Promise<Samples> {
  const samples = new Map<string, Measured[]>(sides.map(({ name }) => [name, []]));
  for (let round = 0; round < warmUp + pairs; round++) {
    for (const [turn] of sides.entries()) {
      const side = sides[(turn + round) % sides.length];
      if (side === undefined) continue;
      const sample = await side.run(`round ${round}`);
      say(
        `  ${round < warmUp ? 'warm up' : `round ${round - warmUp + 1}`} ${side.name}: ${sample.seconds.toFixed(3)} s`,
      );
      if (round >= warmUp) samples.get(side.name)?.push(sample);
    }
  }
  return samples;
}

/** Medians, the first side's beside each; a ratio above 1 means that the side takes longer than the first one. */
export function table(
  title: string,
  samples: Samples,
  options: { readonly judge: (name: string) => string },
): string {
  const rows = [...samples].map(([name, list]) => ({
    name,
    seconds: median(list.map(({ seconds }) => seconds)),
    least: Math.min(...list.map(({ seconds }) => seconds)),
    cpuSeconds: median(list.map(({ cpuSeconds }) => cpuSeconds)),
    count: list.length,
  }));
  const [first] = rows;
  if (first === undefined) return '';
  return [
    `**${title}** (Node ${process.versions.node}, ${cpus().length} cores, ${first.count} rounds in turn, medians)`,
    '',
    '| | seconds | least | ratio | CPU seconds, all programs | promise |',
    '|---|---|---|---|---|---|',
    ...rows.map(
      (row, index) =>
        `| ${row.name} | ${row.seconds.toFixed(3)} | ${row.least.toFixed(3)} | ${(row.seconds / first.seconds).toFixed(2)}× | ${row.cpuSeconds.toFixed(2)} | ${index === 0 ? '' : options.judge(row.name)} |`,
    ),
  ].join('\n');
}
