import { formatBytes } from '../../../cli/text.ts';
import type { SoakResult } from './run-soak.ts';

/** The runs side by side, as docs/benchmarks.md shows them. */
export function soakTable(results: readonly SoakResult[]): string {
  const rows: [string, (result: SoakResult) => string | number][] = [
    ['store, replicas', ({ options }) => `${options.store}, 3`],
    ['grace', ({ options }) => `${options.graceMs / 1000} s`],
    ['duration', ({ options }) => `${options.seconds} s`],
    ['clients', ({ options }) => [`${options.clients} synthetic`, ...options.realClients].join(', ')],
    ['replicas killed', ({ counts }) => counts.replicasKilled],
    ['collectors killed', ({ counts }) => counts.collectorsKilled],
    ['requests sent again by clients', ({ counts }) => counts.transportRetries],
    ['pushes, synthetic', ({ counts }) => counts.pushes],
    ['pushes and pulls, real programs', ({ counts }) => `${counts.realPushes} / ${counts.realPulls}`],
    ['slowest push', ({ counts }) => `${(counts.slowestPushMs / 1000).toFixed(1)} s`],
    [
      'operations',
      ({ counts }) => [...counts.operations].map(([name, count]) => `${count} ${name}`).join(', '),
    ],
    ['collections', ({ counts }) => counts.collections],
    ['blobs deleted', ({ counts }) => counts.deletedBlobs],
    ['bytes reclaimed', ({ counts }) => formatBytes(counts.deletedBytes)],
    ['blobs condemned and needed again', ({ counts }) => counts.revivedBlobs],
    ['references of dead pushes dropped', ({ counts }) => counts.droppedReferences],
    ['blobs sent again as the registry asked', ({ counts }) => counts.askedAgain],
    ['pushes refused by a repository delete', ({ counts }) => counts.refusedByDelete],
    ['**failed pushes**', ({ counts }) => `**${counts.failedPushes.length}**`],
    ['**losses**', ({ counts }) => `**${counts.losses.length}**`],
    ['other faults', ({ counts }) => counts.faults.length],
    [
      'verify: damage / garbage / notes',
      ({ verify }) => `${verify.damage} / ${verify.garbage} / ${verify.notes}`,
    ],
  ];
  const head = `| | ${results.map(({ options }) => `mode ${options.mode}`).join(' | ')} |`;
  const line = `|---|${results.map(() => '---').join('|')}|`;
  return [head, line, ...rows.map(([name, cell]) => `| ${name} | ${results.map(cell).join(' | ')} |`)].join(
    '\n',
  );
}

/** Everything that should not have happened, with what else may explain it; empty when nothing did. */
export function describeFaults({ options, counts, verify, output }: SoakResult): string {
  const damage = verify.findings
    .filter(({ severity }) => severity === 'damage')
    .map(({ kind, key, detail }) => `damage: ${kind} ${key} ${detail}`);
  const lines = [
    ...counts.failedPushes.map((text) => `failed push: ${text}`),
    ...counts.losses.map((text) => `lost: ${text}`),
    ...counts.faults.map((text) => `fault: ${text}`),
    ...damage,
  ];
  if (lines.length === 0) return '';
  return [`mode ${options.mode}, seed ${options.seed}`, ...lines.slice(0, 60), output.slice(-6000)].join(
    '\n',
  );
}
