import { cpus } from 'node:os';
import { median } from '../measure.ts';
import type { Observation } from './observe.ts';
import { type RequestCounts, total } from './request-log.ts';

/** What one case found out, for every side. */
export interface S3Case {
  readonly name: string;
  readonly unit: string;
  readonly better: 'lower' | 'higher';
  /** By the side's name, ours first: all ratios are over its median. */
  readonly results: ReadonlyMap<string, readonly Observation[]>;
  /** What the project promises of the ratio to the side `over`, or of anything else in words. */
  readonly promise?: { readonly over: string; readonly ratio: number };
  readonly notes?: readonly string[];
}

export function s3Report(cases: readonly S3Case[]): string {
  const lines = [
    `Node ${process.versions.node}, ${cpus().length} cores (${cpus()[0]?.model ?? 'unknown'}). Medians (lowest to highest); ratio above 1 = Brickyard is better.`,
    'CPU seconds and S3 requests are for one operation; "whole" is registry and store together, without the client.',
  ];
  for (const each of cases) lines.push('', ...section(each));
  return lines.join('\n');
}

function section({ name, unit, better, results, promise, notes = [] }: S3Case): string[] {
  const [first] = results.values();
  const ours = median((first ?? []).map(({ value }) => value));
  const rows = [...results].map(([side, observations]) => {
    const values = observations.map(({ value }) => value);
    const middle = median(values);
    const ratio = better === 'lower' ? middle / ours : ours / middle;
    const each = (of: (observation: Observation) => number): number =>
      median(observations.map((observation) => of(observation) / observation.operations));
    const verdict =
      promise?.over === side ? `≥ ${promise.ratio}× ${ratio >= promise.ratio ? 'reached' : 'missed'}` : '';
    return `| ${side} | ${number(middle)} ${unit} (${number(Math.min(...values))}–${number(Math.max(...values))}) | ${
      observations === first ? '' : `${ratio.toFixed(2)}×`
    } | ${number(each((o) => o.registryCpu))} / ${number(each((o) => o.wholeCpu))} | ${number(
      each((o) => total(o.requests)),
    )} (${requestsOf(observations.at(-1))}) | ${verdict} |`;
  });
  return [
    `**${name}** (${first?.length ?? 0} rounds)`,
    '',
    '| | median | ratio | CPU s, registry / whole | S3 requests | promise |',
    '|---|---|---|---|---|---|',
    ...rows,
    ...notes.map((note) => `\n${note}`),
  ];
}

/** What the last round asked of the store, per operation. */
function requestsOf(observation: Observation | undefined): string {
  if (observation === undefined) return '';
  const { requests, operations } = observation;
  const parts = Object.entries(requests as RequestCounts).sort(([a], [b]) => (a < b ? -1 : 1));
  return parts.map(([method, count]) => `${method} ${number(count / operations)}`).join(', ');
}

export function number(value: number): string {
  if (value >= 100) return value.toFixed(0);
  return value >= 1 ? value.toFixed(2) : value.toFixed(3);
}
