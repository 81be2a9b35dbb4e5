import { expect, it } from 'vitest';
import { chooseCaches } from '../../../../builder/cache/dependency-kinds.ts';
import type { SourceEntry } from '../../../../builder/plan/source-tree.ts';

function entries(...paths: string[]): SourceEntry[] {
  return paths.map((path) => ({ path, kind: 'file', id: `id of ${path}` }));
}

it.each([
  ['npm', 'package-lock.json'],
  ['npm', 'web/npm-shrinkwrap.json'],
  ['yarn', 'yarn.lock'],
  ['pnpm', 'pnpm-lock.yaml'],
  ['maven', 'pom.xml'],
  ['gradle', 'build.gradle.kts'],
  ['pip', 'requirements-dev.txt'],
  ['pip', 'poetry.lock'],
  ['go', 'go.sum'],
])('%s is chosen by %s', (name, path) => {
  expect(chooseCaches(undefined, entries('README', path))).toMatchObject([
    { name, lock: [`${path} id of ${path}`] },
  ]);
});

it('what is a lockfile of nobody chooses none', () => {
  const nobodys = entries('package.json', 'requirements.md', 'xgo.sum', 'node_modules/x/package-lock.json');

  expect(chooseCaches(undefined, [...nobodys, { path: 'go.sum', kind: 'symlink', id: 'x' }])).toEqual([]);
});

it('several package managers have one each, with all of their lockfiles', () => {
  const chosen = chooseCaches(undefined, entries('a/pom.xml', 'package-lock.json', 'pom.xml'));

  expect(chosen.map(({ name, lock }) => [name, lock.length])).toEqual([
    ['npm', 1],
    ['maven', 2],
  ]);
});

it('App.yaml names paths of its own, or none', () => {
  const lock = entries('pom.xml', 'go.sum', 'x');

  expect(chooseCaches(false, lock)).toEqual([]);
  expect(chooseCaches(['~/.m2/', '~/.cache/x', '~/.m2'], lock)).toEqual([
    {
      name: 'own',
      place: 'home',
      paths: ['.cache/x', '.m2'],
      lock: ['pom.xml id of pom.xml', 'go.sum id of go.sum'],
    },
  ]);
});

it('paths without ~ lie in the workspace, and have an archive of their own', () => {
  const chosen = chooseCaches(['web/node_modules/', '~/.npm', 'node_modules'], entries('package-lock.json'));

  expect(chosen.map(({ name, place, paths }) => [name, place, ...paths])).toEqual([
    ['own', 'home', '.npm'],
    ['workspace', 'workspace', 'node_modules', 'web/node_modules'],
  ]);
});

it.each([
  ['node_modules', 'node_modules/own/index.js'],
  ['lib', 'lib'],
  ['lib/deep', 'lib'],
])('%s is refused as a cache where %s is in the source, which it would overwrite', (path, own) => {
  expect(() => chooseCaches([path], entries('README', own))).toThrow(
    `build.cache: ${path} cannot be kept from build to build, as ${own} is in the source`,
  );
  expect(() => chooseCaches([path], entries('README', `x${own}`))).not.toThrow();
});
