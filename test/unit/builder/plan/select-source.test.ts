import { describe, expect, it } from 'vitest';
import { createIgnore, refusePath, selectSource } from '../../../../builder/plan/select-source.ts';
import type { SourceEntry } from '../../../../builder/plan/source-tree.ts';

const latin1 = (path: string): string => Buffer.from(path, 'utf8').toString('latin1');
const entries = (...paths: string[]): SourceEntry[] =>
  paths.map((path) => ({ path: latin1(path), kind: 'file', id: path }));

function select(
  paths: string[],
  selection: { include?: string[]; exclude?: string[] },
  ignore?: string,
): string[] {
  const { include = ['**'], exclude = [] } = selection;
  return selectSource(entries(...paths), { include, exclude }, ignore).entries.map((entry) => entry.id);
}

describe('selectSource', () => {
  it('takes everything but .git and .brickyard by default', () => {
    const paths = ['.git/config', '.GIT/x', '.brickyard/x', '.gitignore', 'a/.git/x', 'a'];

    expect(select(paths, {})).toEqual(['.gitignore', 'a/.git/x', 'a']);
  });

  it('lets exclude win over include', () => {
    expect(select(['a/x', 'a/test/y', 'b'], { include: ['a'], exclude: ['**/test'] })).toEqual(['a/x']);
  });

  it('matches names in other scripts by characters, and names that are no UTF-8 by bytes', () => {
    expect(select(['店.txt', 'x.txt'], { include: ['?.txt'] })).toEqual(['店.txt', 'x.txt']);
    const raw: SourceEntry = { path: '\xFF.txt', kind: 'file', id: 'raw' };

    expect(selectSource([raw], { include: ['?.txt'], exclude: [] }).entries).toEqual([raw]);
  });

  it.each([
    ['node_modules', ['a/node_modules/x', 'b']],
    ['**/node_modules', ['b']],
    ['# b', ['node_modules/x', 'a/node_modules/x', 'b']],
    ['*\n!b', ['b']],
    ['!b\nb', ['node_modules/x', 'a/node_modules/x']],
    ['/node_modules/\r\n', ['a/node_modules/x', 'b']],
    ['\uFEFFb', ['node_modules/x', 'a/node_modules/x']],
    ['.', ['node_modules/x', 'a/node_modules/x', 'b']],
  ])('obeys the .dockerignore %j', (ignore, expected) => {
    expect(select(['node_modules/x', 'a/node_modules/x', 'b'], {}, ignore)).toEqual(expected);
  });

  it('refuses a .dockerignore with a thousand patterns and more', () => {
    expect(() => createIgnore('a\n'.repeat(1_001))).toThrow(RangeError);
  });

  it.each(['.wh.x', '.wh..wh..opq', 'a/.wh.passwd', '.wh.dir/x'])(
    'refuses the whiteout name %s, which would delete a file of the base image',
    (path) => {
      const { entries: taken, refused } = selectSource(entries(path), { include: ['**'], exclude: [] });

      expect(taken).toEqual([]);
      expect(refused).toEqual([
        { path, reason: 'a name that begins with ".wh." deletes files of the base image' },
      ]);
    },
  );
});

describe('refusePath', () => {
  it.each([
    '',
    '/etc/passwd',
    '../x',
    'a/../../x',
    'a//b',
    './a',
    'a/.',
    'a\0b',
    `${'a'.repeat(256)}`,
    'a/'.repeat(2_100),
  ])('refuses %j', (path) => {
    expect(refusePath(path)).toBeTypeOf('string');
  });

  it.each(['a', '-rf', '.git~1', 'a\nb', '...', 'x.wh.y', '\xFF'])('accepts %j', (path) => {
    expect(refusePath(path)).toBeUndefined();
  });
});
