import { expect, it } from 'vitest';
import { findAppFiles } from '../../../../builder/appfile/find-appfiles.ts';

it('applications are found at the top and in folders, each before those below it', () => {
  const { directories } = findAppFiles(['b/App.yml', 'a/x/App.yaml', 'a/App.yaml', 'app.yml', 'a/server.js']);

  expect(directories).toEqual(['', 'a', 'a/x', 'b']);
});

it.each([
  'a/app.yaml',
  '.github/App.yaml',
  'node_modules/x/App.yaml',
  'a/vendor/App.yaml',
  'testdata/App.yaml',
  'third_party/x/App.yaml',
  'a/App.yaml.bak',
  'a/App.yaml/x',
])('%s is no application of this repository', (path) => {
  expect(findAppFiles([path])).toEqual({ directories: [], tooDeep: [] });
});

it('what lies more than four folders deep is told of', () => {
  expect(findAppFiles(['a/b/c/d/App.yaml', 'a/b/c/d/e/App.yaml'])).toEqual({
    directories: ['a/b/c/d'],
    tooDeep: ['a/b/c/d/e/App.yaml'],
  });
});
