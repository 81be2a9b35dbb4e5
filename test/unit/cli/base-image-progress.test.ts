import { expect, it } from 'vitest';
import { showBaseImages } from '../../../cli/base-image-progress.ts';
import { lineProgress } from '../../../cli/progress.ts';

it('ends each step of a base image when the next one begins, also where nothing had to be fetched', () => {
  const lines: string[] = [];
  const show = showBaseImages(lineProgress((line) => lines.push(line)));

  show({ name: 'base', step: 'download', done: 2, total: 10 });
  show({ name: 'nodejs', step: 'download', done: 0, total: 1 });
  show({ name: 'base', step: 'unpack', done: 0, total: 4 });
  show({ name: 'base', step: 'unpack', done: 4, total: 4 });
  show({ name: 'base', step: 'push', done: 0, total: 0 });
  show({ name: 'base', step: 'done', done: 1, total: 1 });
  show({ name: 'left-alone', step: 'done', done: 1, total: 1 });

  expect(lines).toEqual([
    'base: fetching packages …',
    'nodejs: fetching packages …',
    'base: fetching packages: done',
    'base: laying out files …',
    'base: laying out files 75 %',
    'base: laying out files: done',
    'base: pushing …',
    'base: pushing: done',
  ]);
});
