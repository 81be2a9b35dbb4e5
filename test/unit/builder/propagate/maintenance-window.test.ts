import { describe, expect, it } from 'vitest';
import {
  isOpen,
  type MaintenanceWindow,
  nextOpening,
} from '../../../../builder/propagate/maintenance-window.ts';

const night: MaintenanceWindow = { repositories: ['**'], days: ['mon', 'fri'], from: '22:00', to: '04:00' };
const at = (text: string): number => Date.parse(text);

describe('a maintenance window', () => {
  // 2 November 2026 is a Monday.
  it.each([
    ['2026-11-02T21:59:59Z', false],
    ['2026-11-02T22:00:00Z', true],
    ['2026-11-03T03:59:59Z', true],
    ['2026-11-03T04:00:00Z', false],
    ['2026-11-03T22:30:00Z', false],
    ['2026-11-02T03:00:00Z', false],
    ['2026-11-07T03:00:00Z', true],
  ])('over midnight belongs to the day on which it opens: %s', (time, open) => {
    expect(isOpen([night], at(time))).toBe(open);
  });

  it('goes by the clock of its place, also over a change of summer time', () => {
    const window: MaintenanceWindow = {
      repositories: ['**'],
      from: '02:00',
      to: '05:00',
      timezone: 'Europe/Berlin',
    };

    expect(isOpen([window], at('2026-11-02T01:00:00Z'))).toBe(true);
    expect(isOpen([window], at('2026-07-02T00:30:00Z'))).toBe(true);
    expect(isOpen([window], at('2026-11-02T00:30:00Z'))).toBe(false);
  });

  it('is open all day where both ends are equal', () => {
    const window: MaintenanceWindow = { repositories: ['**'], days: ['sun'], from: '00:00', to: '00:00' };

    expect(isOpen([window], at('2026-11-01T23:59:00Z'))).toBe(true);
    expect(isOpen([window], at('2026-11-02T00:00:00Z'))).toBe(false);
  });

  it('says when it opens next', () => {
    expect(nextOpening([night], at('2026-11-03T05:01:00Z'))).toBe(at('2026-11-06T22:00:00Z'));
    expect(nextOpening([night], at('2026-11-06T23:01:00Z'))).toBe(at('2026-11-06T23:05:00Z'));
    expect(nextOpening([], 0)).toBeUndefined();
  });
});
