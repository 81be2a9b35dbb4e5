import { describe, expect, it } from 'vitest';
import { compileGlob } from '../../../../builder/plan/glob.ts';

describe('a glob', () => {
  it.each([
    ['**', 'a/b/c', true],
    ['*', 'a', true],
    ['*', 'a/b', true],
    ['*.js', 'a.js', true],
    ['*.js', 'lib/a.js', false],
    ['**/*.js', 'a.js', true],
    ['**/*.js', 'x/y/a.js', true],
    ['src/**', 'src/a/b', true],
    ['src/**', 'srcs/a', false],
    ['src', 'src/a/b', true],
    ['src/', 'src/a', true],
    ['./src', 'src/a', true],
    ['src/a', 'src', false],
    ['a/**/b', 'a/b', true],
    ['a/**/b', 'a/x/y/b/z', true],
    ['a/**/b', 'a/x/y', false],
    ['a?c', 'abc', true],
    ['a?c', 'a/c', false],
    ['?', '🚀', true],
    ['?', '店', true],
    ['[a-c]x', 'bx', true],
    ['[!a-c]x', 'bx', false],
    ['[^a-c]x', 'dx', true],
    ['[]]', ']', true],
    ['[a-]', '-', true],
    ['\\*', '*', true],
    ['\\*', 'a', false],
    ['a*b*c', 'aXbXbc', true],
    ['a*b*c', 'aXbXb', false],
    ['.*', '.env', true],
    ['a.b', 'axb', false],
    ['(a+)+$', '(a+)+$', true],
  ])('%j on %j is %j', (pattern, path, expected) => {
    expect(compileGlob(pattern).matches(path)).toBe(expected);
  });

  it.each(['[a', 'x/[', '[!', 'a'.repeat(1_025)])('%j is refused', (pattern) => {
    expect(() => compileGlob(pattern)).toThrow(RangeError);
  });

  it.each([
    ['**/'.repeat(80), 'a/'.repeat(2_000)],
    [`${'**/a/'.repeat(60)}b`, `${'a/'.repeat(2_000)}c`],
    [`${'*a'.repeat(200)}b`, 'a'.repeat(4_000)],
    [`${'?*'.repeat(100)}x`, 'a'.repeat(4_000)],
  ])('%.20s… takes bounded time on a hostile path', (pattern, path) => {
    const started = performance.now();

    compileGlob(pattern).matches(path);

    expect(performance.now() - started).toBeLessThan(2_000);
  });
});
