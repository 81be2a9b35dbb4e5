import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { run } from '../../../cli/main.ts';
import { createTempDirectory } from '../../helpers/temp.ts';
import { gitOk } from '../builder/git-fixture.ts';

const appYaml = 'base: nodejs:26\nentrypoints: {web: {cmd: x}}\n';
const pointer = 'version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n';

async function lint(cwd: string, ...args: string[]): Promise<{ code: number; stdout: string }> {
  let stdout = '';
  const env = { PATH: process.env['PATH'] };
  const code = await run(['lint', ...args], {
    stdout: (text) => void (stdout += text),
    stderr: () => {},
    cwd,
    env,
  });
  return { code, stdout };
}

it('lint finds submodules, files of Git LFS and the applications in folders, as a push would bring them', async () => {
  await using temp = await createTempDirectory('lint');
  const work = join(temp.path, 'shop');
  await mkdir(join(work, 'services/pay'), { recursive: true });
  await gitOk(work, 'init', '-q', '-b', 'main');
  for (const [name, text] of Object.entries({
    'App.yaml': appYaml,
    'services/pay/App.yaml': appYaml.replace('cmd', 'cmdd'),
    '.gitattributes': '*.bin filter=lfs\n',
    // As it lies in a folder where Git LFS is installed.
    'model.bin': 'the file itself',
    'pointer.txt': pointer,
  }))
    await writeFile(join(work, name), text);
  // The attribute alone counts: there is no such filter here.
  await gitOk(work, '-c', 'filter.lfs.required=false', 'add', '-A');
  await gitOk(work, 'update-index', '--add', '--cacheinfo', `160000,${'1'.repeat(40)},lib/x`);

  const { code, stdout } = await lint(temp.path, 'shop');

  expect(code).toBe(1);
  expect(stdout).toContain('shop/App.yaml:1:1 error E024 "lib/x" is a git submodule');
  expect(stdout).toContain('"model.bin" is kept by Git LFS');
  expect(stdout).toContain('"pointer.txt" is kept by Git LFS');
  expect(stdout).toContain('shop/services/pay/App.yaml:2:21 error E010');
  expect((await lint(work, 'services/pay')).stdout).toMatch(/^services\/pay\/App.yaml:2:15 error E016/);
});

it('lint looks into a folder that is in no repository too', async () => {
  await using temp = await createTempDirectory('lint');
  await mkdir(join(temp.path, 'lib/x/.git'), { recursive: true });
  await writeFile(join(temp.path, 'App.yaml'), `appname: shop\n${appYaml}`);
  await writeFile(join(temp.path, 'lib/model.bin'), pointer);

  const { stdout } = await lint(temp.path, '--json');

  expect(
    (JSON.parse(stdout) as { faults: { message: string }[] }).faults.map(({ message }) => message),
  ).toEqual([
    '"lib/x" is a git submodule, which is not fetched',
    expect.stringContaining('"lib/model.bin" is kept by Git LFS'),
  ]);
});
