import { expect, it } from 'vitest';
import { judgePull } from '../../../cli/commands/doctor-pool.ts';

it.each([
  ['that the pool served', { served: 2, refused: 1, failed: 0 }, 'ok', 'came through the pool (2 requests)'],
  ['whose account the pool refused', { served: 0, refused: 2, failed: 0 }, 'bad', 'refused 2 requests'],
  ['that the pool failed at', { served: 0, refused: 0, failed: 3 }, 'bad', 'failed at 3 requests'],
  ['that never asked the pool', { served: 0, refused: 0, failed: 0 }, 'bad', 'was not asked at all'],
])('a pull %s is told by what the pool counted meanwhile', (_, counted, state, text) => {
  expect(judgePull('registry.test/team/app:1', counted)).toEqual({
    state,
    text: expect.stringContaining(text),
  });
});
