import { cpus } from 'node:os';
import { frameOverhead } from '../../helpers/network-lab.ts';
import { median } from '../measure.ts';
import type { ClientKind } from './clients.ts';
import type { Observation } from './observe-pull.ts';

/** Rounds of one side with one kind of client. */
export interface PoolRow {
  readonly side: string;
  readonly clients: ClientKind;
  readonly observations: readonly Observation[];
  /** Of a warm pull: the static files' in the same pairs. */
  readonly statics?: readonly Observation[];
  /** What the issue promises is asked of this side. */
  readonly promised: boolean;
}

export interface PoolReport {
  readonly nodes: number;
  readonly linkMbps: number;
  readonly nodeMbps: number;
  readonly layerBytes: readonly number[];
  readonly cold: readonly PoolRow[];
  readonly warm: readonly PoolRow[];
}

/** What the link alone takes for one image's bytes, without any header. */
export function linkFloor({ layerBytes, linkMbps }: PoolReport): number {
  return (sum(layerBytes) * 8) / (linkMbps * 1e6);
}

/** Markdown: two tables, and what was promised. */
export function poolReport(report: PoolReport): string {
  const floor = linkFloor(report);
  const megabytes = report.layerBytes.map((bytes) => Math.round(bytes / 1e6)).join(' + ');
  return [
    `Node ${process.versions.node}, ${cpus().length} cores (${cpus()[0]?.model ?? 'unknown'}) for origin, proxy and all clients; ${report.nodes} nodes at once, an image of ${megabytes} MB, link ${report.linkMbps} Mbit/s, each node ${report.nodeMbps} Mbit/s. Medians (lowest to highest).`,
    `The floor is the image's bytes over the link without any header: ${floor.toFixed(1)} s; with those of Ethernet, IP and TCP it is ${(floor * frameOverhead).toFixed(1)} s (${frameOverhead.toFixed(3)}×).`,
    ...(report.cold.length === 0 ? [] : ['', ...coldTable(report)]),
    ...(report.warm.length === 0 ? [] : ['', ...warmTable(report)]),
  ].join('\n');
}

function coldTable(report: PoolReport): string[] {
  const floor = linkFloor(report);
  const image = sum(report.layerBytes);
  const expected = report.nodes * report.layerBytes.length;
  return [
    '| cold | clients | rounds | last node | × floor | origin sent ÷ image: link, log | requests for layers | first byte p50, p95 | layers right | proxy CPU | promise |',
    '|---|---|---|---|---|---|---|---|---|---|---|',
    ...report.cold.map(({ side, clients, observations, promised }) => {
      const last = observations.map(({ lastSeconds }) => lastSeconds);
      const times = median(last) / floor;
      const link = median(observations.map(({ linkBytes }) => linkBytes / image));
      const log = median(observations.map(({ logBytes }) => logBytes / image));
      const first = observations.flatMap(({ herd }) => herd.firstByteSeconds ?? []);
      const right = observations.map(({ herd }) => herd.correctLayers);
      const verdicts = [
        verdict('≤ 1.10× floor', times <= 1.1),
        verdict('≤ 1.01× bytes', Math.max(link, log) <= 1.01),
        ...(first.length === 0 ? [] : [verdict('first byte ≤ 1.5 s', percentile(first, 0.95) <= 1.5)]),
        verdict('all right', Math.min(...right) === expected),
        verdict(
          'no redirect',
          observations.every(({ redirects }) => redirects === 0),
        ),
      ];
      return cells([
        side,
        clients,
        String(observations.length),
        spread(last, 's'),
        `${times.toFixed(2)}×`,
        `${link.toFixed(3)}, ${log.toFixed(3)}`,
        String(median(observations.map(({ layerRequests }) => layerRequests))),
        firstBytes(first),
        `${Math.min(...right)} of ${expected}`,
        cpu(observations),
        promised ? verdicts.join('; ') : '',
      ]);
    }),
  ];
}

function warmTable(report: PoolReport): string[] {
  const expected = report.nodes * report.layerBytes.length;
  return [
    '| warm | clients | pairs | last node | static files | ratio, median of pairs | requests for layers, link bytes | first byte p50, p95 | layers right | proxy CPU, static | promise |',
    '|---|---|---|---|---|---|---|---|---|---|---|',
    ...report.warm.map(({ side, clients, observations, statics = [], promised }) => {
      const last = observations.map(({ lastSeconds }) => lastSeconds);
      const ratios = observations.map(
        ({ lastSeconds }, index) => lastSeconds / (statics[index]?.lastSeconds ?? Number.NaN),
      );
      const requests = Math.max(...observations.map(({ layerRequests }) => layerRequests));
      const right = Math.min(...observations.map(({ herd }) => herd.correctLayers));
      const first = observations.flatMap(({ herd }) => herd.firstByteSeconds ?? []);
      const verdicts = [
        verdict('≤ 1.2× static', median(ratios) <= 1.2),
        verdict('no layer from the origin', requests === 0),
        verdict('all right', right === expected),
      ];
      return cells([
        side,
        clients,
        String(observations.length),
        spread(last, 's'),
        statics.length === 0
          ? ''
          : spread(
              statics.map(({ lastSeconds }) => lastSeconds),
              's',
            ),
        statics.length === 0 ? '' : `${median(ratios).toFixed(2)}×`,
        `${requests}, ${median(observations.map(({ linkBytes }) => linkBytes)).toFixed(0)}`,
        firstBytes(first),
        `${right} of ${expected}`,
        `${cpu(observations)}${statics.length === 0 ? '' : `, ${cpu(statics)}`}`,
        promised ? verdicts.join('; ') : '',
      ]);
    }),
  ];
}

function verdict(what: string, reached: boolean): string {
  return reached ? `${what} reached` : `${what} **missed**`;
}

function cells(values: readonly string[]): string {
  return `| ${values.join(' | ')} |`;
}

function cpu(observations: readonly Observation[]): string {
  return `${median(observations.map(({ cpuSeconds }) => cpuSeconds)).toFixed(2)} s`;
}

function firstBytes(seconds: readonly number[]): string {
  if (seconds.length === 0) return '–';
  return `${percentile(seconds, 0.5).toFixed(2)}, ${percentile(seconds, 0.95).toFixed(2)} s`;
}

function spread(values: readonly number[], unit: string): string {
  const middle = median(values).toFixed(2);
  if (values.length === 1) return `${middle} ${unit}`;
  return `${middle} ${unit} (${Math.min(...values).toFixed(2)}–${Math.max(...values).toFixed(2)})`;
}

/** The smallest of `values` that at least the share `part` of them does not exceed. */
export function percentile(values: readonly number[], part: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(sorted.length * part) - 1)] ?? Number.NaN;
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
