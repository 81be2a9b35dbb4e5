import { cpus } from 'node:os';
import { type Comparison, median } from './measure.ts';

/** A comparison as the table's row: medians, their ratio (above 1 = we are better), CPU seconds of the servers. */
export function row(comparison: Comparison): string {
  const ours = median(comparison.ours.map((sample) => sample.value));
  const peer = median(comparison.peer.map((sample) => sample.value));
  const ratio = comparison.better === 'lower' ? peer / ours : ours / peer;
  const verdict =
    comparison.target === undefined
      ? (comparison.note ?? '')
      : `≥ ${comparison.target}× ${ratio >= comparison.target ? 'reached' : 'missed'}`;
  const cpu = (samples: Comparison['ours']): string =>
    median(samples.map((sample) => sample.cpuSeconds)).toFixed(2);
  return `| ${comparison.name} | ${number(ours)} ${comparison.unit} | ${number(peer)} ${comparison.unit} (${comparison.peerName}) | ${ratio.toFixed(2)}× | ${cpu(comparison.ours)} / ${cpu(comparison.peer)} s | ${verdict} |`;
}

export function table(comparisons: readonly Comparison[], pairs: number): string {
  return [
    `Node ${process.versions.node}, ${cpus().length} cores (${cpus()[0]?.model ?? 'unknown'}), ${pairs} alternating pairs, medians; ratio above 1 = Brickyard is better.`,
    '',
    '| what | Brickyard | peer | ratio | server CPU, ours / peer | promise |',
    '|---|---|---|---|---|---|',
    ...comparisons.map(row),
  ].join('\n');
}

function number(value: number): string {
  return value >= 100 ? value.toFixed(0) : value.toFixed(3);
}
