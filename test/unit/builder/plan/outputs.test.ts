import { expect, it } from 'vitest';
import { createOutputMatcher } from '../../../../builder/plan/outputs.ts';

it.each<[string, string, string, 'file' | 'directory', string | undefined]>([
  ['target/a.war', '/home/x/ROOT.war', 'target/a.war', 'file', '/home/x/ROOT.war'],
  ['target/a.war', '/home/x/lib/', 'target/a.war', 'file', '/home/x/lib/a.war'],
  ['target/a.war', '/home/x/ROOT.war', 'target/b.war', 'file', undefined],
  ['dist', '/home/x/public', 'dist', 'directory', '/home/x/public'],
  ['dist', '/home/x/public', 'dist/a/b.js', 'file', '/home/x/public/a/b.js'],
  ['dist/', '/home/x/public/', 'dist/a', 'file', '/home/x/public/a'],
  ['dist', '/home/x/public', 'distance/a', 'file', undefined],
  ['target/*.jar', '/home/x/lib/', 'target/a.jar', 'file', '/home/x/lib/a.jar'],
  ['target/*.jar', '/home/x/lib/', 'target/deep/a.jar', 'file', undefined],
  ['target/*', '/home/x/lib/', 'target/deep', 'directory', '/home/x/lib'],
  ['target/*', '/home/x/lib/', 'target/deep/a.jar', 'file', '/home/x/lib/a.jar'],
  ['build/**', '/home/x/', 'build/a/b', 'file', '/home/x/a/b'],
  ['**', '/home/x/', 'a/b', 'file', '/home/x/a/b'],
  ['.', '/home/x', 'a', 'file', '/home/x/a'],
  ['./a', '/home/x/b', 'a', 'file', '/home/x/b'],
])('output %j: %s takes %s (%s) to %s', (pattern, target, path, kind, expected) => {
  expect(createOutputMatcher({ [pattern]: target }).target(path, kind)).toBe(expected);
});

it('the later of two outputs wins, and unused ones are missing', () => {
  const matcher = createOutputMatcher({ a: '/home/x/1', 'a/b': '/home/x/2', c: '/home/x/3' });

  expect(matcher.target('a/b', 'file')).toBe('/home/x/2');
  expect(matcher.missing()).toEqual(['c']);
});
