import { expect, it } from 'vitest';
import { parseStatistics, statisticsBetween } from '../../../../cache-proxy/clients/pool-statistics.ts';

const text = (tags: number, refused: number): string =>
  [
    '# TYPE brickyard_pool_requests_total counter',
    `brickyard_pool_requests_total{kind="tag",cache="hit",status="2xx"} ${tags}`,
    `brickyard_pool_requests_total{kind="tag",cache="bypass",status="4xx"} ${refused}`,
    'brickyard_pool_requests_total{kind="blob",cache="miss",status="5xx"} 1',
    'brickyard_pool_requests_total{kind="other",cache="bypass",status="2xx"} 99',
    'brickyard_pool_client_bytes_total{kind="tag"} 5',
    '',
  ].join('\n');

it('what a pool served, refused and failed at is read from its metrics; what only passes through is told apart', () => {
  expect(parseStatistics(text(7, 2))).toEqual({ served: 7, refused: 2, failed: 1, other: 99 });
});

it('what was counted meanwhile is the difference', () => {
  const counted = statisticsBetween(parseStatistics(text(7, 2)), parseStatistics(text(9, 5)));

  expect(counted).toEqual({ served: 2, refused: 3, failed: 0, other: 0 });
});
