import { expect, it } from 'vitest';
import { editDistance, suggest } from '../../../../core/document/suggest.ts';

it.each([
  ['entrypoint', 'entrypoints'],
  ['bse', 'base'],
  ['Base', 'base'],
  ['lables', 'labels'],
  ['zzzz', undefined],
  ['x'.repeat(10_000), undefined],
])('suggest(%j) is %j', (word, expected) => {
  expect(suggest(word, ['base', 'entrypoints', 'labels'])).toBe(expected);
});

it('editDistance counts a swap of neighbours once', () => {
  expect(editDistance('lables', 'labels')).toBe(1);
  expect(editDistance('', 'abc')).toBe(3);
});
