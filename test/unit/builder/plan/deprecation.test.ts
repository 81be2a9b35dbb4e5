import { expect, it } from 'vitest';
import { levelOn, parseDeprecation } from '../../../../builder/plan/deprecation.ts';

it('a deprecation is read from its annotation', () => {
  const text = '{"level":"block-new","since":"2026-01-01","replacement":"nodejs:26"}';

  expect(parseDeprecation(text)).toEqual({
    level: 'block-new',
    since: '2026-01-01',
    replacement: 'nodejs:26',
  });
});

it.each([
  undefined,
  1,
  '',
  '{',
  'null',
  '[]',
  '{"level":"never"}',
  '{"level":1}',
  `{"level":"warn","x":"${'x'.repeat(5000)}"}`,
])('case %#: what cannot be understood is none', (annotation) => {
  expect(parseDeprecation(annotation)).toBeUndefined();
});

it('texts that could be anything else are left out', () => {
  const text = JSON.stringify({ level: 'warn', since: 'x\nRUN id', sunset: 5, replacement: '\u001B[2J' });

  expect(parseDeprecation(text)).toEqual({ level: 'warn' });
});

it.each([
  ['2025-12-31', undefined],
  ['2026-01-01', 'warn'],
  ['2026-12-30', 'warn'],
  ['2026-12-31', 'block'],
])('on %s the level is %s', (day, level) => {
  expect(levelOn(day, { level: 'warn', since: '2026-01-01', sunset: '2026-12-31' })).toBe(level);
});
