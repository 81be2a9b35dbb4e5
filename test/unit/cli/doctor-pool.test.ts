import { expect, it } from 'vitest';
import { judgePull } from '../../../cli/commands/doctor-pool.ts';

it.each([
  ['that the pool served', { served: 2, refused: 1 }, 'ok', 'came through the pool (2 requests)'],
  ['whose account the pool refused', { refused: 2 }, 'bad', 'refused it; it lacks the account'],
  // It asked who it is, was told nothing, and went on to the registry.
  ['that came no further than the door', { other: 2 }, 'bad', 'refused it; it lacks the account'],
  ['that the pool failed at', { failed: 3, other: 2 }, 'bad', 'failed at 3 requests'],
  ['that never asked the pool', {}, 'bad', 'was not asked at all'],
])('a pull %s is told by what the pool counted meanwhile', (_, counted, state, text) => {
  const none = { served: 0, refused: 0, failed: 0, other: 0 };

  expect(judgePull('registry.test/team/app:1', { ...none, ...counted })).toEqual({
    state,
    text: expect.stringContaining(text),
  });
});
