import type { Outcome } from './simulate.ts';

export function outcomeTable(outcomes: readonly Outcome[]): string {
  const percent = (share: number): string => `${(share * 100).toFixed(1)} %`;
  const gigabytes = (bytes: number): string => `${(bytes / 1e9).toFixed(1)} GB`;
  const seconds = (value: number): string => `${value.toFixed(value < 10 ? 2 : 1)} s`;
  const pulls = outcomes[0]?.pulls ?? 0;
  const firsts = outcomes[0]?.firsts ?? 0;
  return [
    `${pulls} pulls, ${firsts} of them the first of their image in the pool.`,
    '',
    '| prewarming | hits by bytes | by requests | first pull p50 | p95 | all pulls p95 | link, nodes waiting | link, prewarming | of that used |',
    '|---|---|---|---|---|---|---|---|---|',
    ...outcomes.map(
      (outcome) =>
        `| ${outcome.policy} | ${percent(outcome.hitBytes)} | ${percent(outcome.hitRequests)} | ${seconds(outcome.firstP50)} | ${seconds(outcome.firstP95)} | ${seconds(outcome.allP95)} | ${gigabytes(outcome.demandBytes)} | ${gigabytes(outcome.prewarmBytes)} | ${percent(outcome.usedRatio)} |`,
    ),
  ].join('\n');
}
