import { expect, it } from 'vitest';
import { parseBuildRequest } from '../../../../builder/farm/build-request.ts';

const payload = { version: 1, team: 't', app: 'a', commit: 'c', pusher: 'p', sequence: 1 };

it('row 24: a pull request of a fork is never trusted, whatever its payload says', () => {
  const ref = 'refs/brickyard/pr-7';

  expect(parseBuildRequest({ ...payload, ref }).trusted).toBe(false);
  expect(parseBuildRequest({ ...payload, ref, trusted: true }).trusted).toBe(false);
});

it('other refs are trusted unless their payload says no', () => {
  const ref = 'refs/heads/main';

  expect(parseBuildRequest({ ...payload, ref }).trusted).toBeUndefined();
  expect(parseBuildRequest({ ...payload, ref, trusted: false }).trusted).toBe(false);
});
