import { copyFile, mkdir, readdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { run } from '../../helpers/process.ts';
import { createTempDirectory, type TempDirectory } from '../../helpers/temp.ts';

const source = resolve(import.meta.dirname, '../../../deploy/systemd');
const shipped = await readdir(source);

let folder: TempDirectory;

/** The unit under the name that systemd starts it by. */
const unitOf = (file: string): string => join(folder.path, file.replace('@', '@rack-4'));

beforeAll(async () => {
  folder = await createTempDirectory('units');
  await mkdir(join(folder.path, 'bin'));
  // systemd asks whether the programs and the user are there: what matters here is everything else.
  await symlink('/bin/true', join(folder.path, 'bin/brickyard'));
  for (const file of shipped) {
    await copyFile(join(source, file), unitOf(file));
    const text = await readFile(unitOf(file), 'utf8');
    const here = text.replaceAll('/usr/bin/brickyard', join(folder.path, 'bin/brickyard'));
    await writeFile(unitOf(file), here.replace('User=brickyard', 'User=daemon'));
  }
});

afterAll(async () => {
  await folder.remove();
});

it.each(shipped)('systemd understands every line of %s', async (file) => {
  const verify = ['verify', '--man=no', '--recursive-errors=no', unitOf(file)];
  const checked = await run('systemd-analyze', verify);

  expect(checked.stderr + checked.stdout).toBe('');
  expect(checked.code).toBe(0);
});

it.each(shipped)('%s gives away next to nothing: its exposure is at most 2.0 of 10', async (file) => {
  const options = ['security', '--offline=true', '--no-pager', '--threshold=20', unitOf(file)];
  const checked = await run('systemd-analyze', options);

  expect(checked.code, checked.stdout.split('\n').at(-2)).toBe(0);
});
