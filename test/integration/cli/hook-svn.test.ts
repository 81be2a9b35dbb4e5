import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { run, runOk } from '../../helpers/process.ts';
import { appYaml } from '../builder/farm-fixture.ts';
import { type HookWorkshop, openHookWorkshop, untilBuilt, useShell } from './hook-fixture.ts';

let shop: HookWorkshop;
let repository: string;
let work: string;

beforeAll(async () => {
  shop = await openHookWorkshop();
  repository = join(shop.folder, "svn of o'neil");
  work = join(shop.folder, 'work');
  await runOk('svnadmin', ['create', repository]);
  await svn('checkout', '-q', `file://${repository}`, work);
});
afterAll(() => shop?.close());

const svn = (...args: string[]): Promise<string> =>
  runOk('svn', ['--non-interactive', '--config-dir', join(shop.folder, 'svn-config'), ...args]);
const digestOf = async (tag: string): Promise<string> =>
  (await shop.registry.resolveManifest('shop/app', tag)).digest;

async function commit(files: Readonly<Record<string, string>>): Promise<string> {
  for (const [name, text] of Object.entries(files)) {
    await mkdir(join(work, name, '..'), { recursive: true });
    await writeFile(join(work, name), text);
  }
  await svn('add', '-q', '--force', '--parents', work);
  // The hook's words come on standard error, as a warning.
  const done = await run('svn', [
    'commit',
    '-m',
    'change',
    '--config-dir',
    join(shop.folder, 'svn-config'),
    work,
  ]);
  expect(done.code).toBe(0);
  return done.stdout + done.stderr;
}

it('commits of a Subversion repository become images, by trunk, branches and tags, and none is lost while the farm is away', async () => {
  const installed = await shop.command(
    'hook',
    'install',
    repository,
    '--svn',
    '--app',
    'shop/web',
    '--map',
    'trunk=latest',
    '--map',
    'branches/*=*',
    '--map',
    'tags/*=v*',
  );
  expect(installed.stderr).toContain('every commit goes to shop/web');
  await useShell(repository, '/bin/busybox sh');

  await commit({ 'trunk/App.yaml': appYaml, 'trunk/server.js': '1', 'notes/a.txt': 'not built' });
  await untilBuilt(shop, () => true, 1);
  const first = await digestOf('latest');

  const comeBack = await shop.leave();
  await commit({ 'trunk/server.js': '2' });
  await svn(
    'copy',
    '-q',
    '-m',
    'branch',
    `file://${repository}/trunk`,
    `file://${repository}/branches/new cart`,
    '--parents',
  );
  await svn(
    'copy',
    '-q',
    '-m',
    'tag',
    `file://${repository}/trunk`,
    `file://${repository}/tags/1.2`,
    '--parents',
  );
  await commit({ 'notes/a.txt': 'again' });
  expect(JSON.parse((await shop.command('hook', 'status', repository, '--json')).stdout)).toMatchObject({
    way: 'svn',
    waiting: 3,
  });
  await comeBack();

  await untilBuilt(shop, () => true, 4);
  expect(await digestOf('latest')).not.toBe(first);
  expect(await digestOf('new-cart')).toBe(await digestOf('latest'));
  expect(await digestOf('v1.2')).toBe(await digestOf('latest'));
  expect(await readdir(join(repository, 'brickyard/spool'))).toEqual([]);

  await svn('delete', '-q', '-m', 'gone', `file://${repository}/branches/new cart`);
  await runOk(join(repository, 'brickyard/deliver'), []);
  expect(await readdir(join(repository, 'brickyard/refused'))).toEqual([]);
  expect((await shop.command('hook', 'uninstall', repository)).code).toBe(0);
  expect(await readdir(join(repository, 'hooks'))).not.toContain('post-commit');
}, 240_000);

it('a folder that can be no image is refused once and for all, and said so', async () => {
  await shop.command('hook', 'install', repository, '--app', 'shop/web');
  await useShell(repository, '/bin/dash');
  await svn('update', '-q', work);

  const told = await commit({ 'branches/odd/readme.txt': 'no App.yaml' });

  expect(told).toMatch(/branches\/odd@\d+: refused: /);
  expect(await readdir(join(repository, 'brickyard/refused'))).toHaveLength(1);
});
