import { readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { runOk } from '../../helpers/process.ts';
import { appYaml } from '../builder/farm-fixture.ts';
import { gitOk } from '../builder/git-fixture.ts';
import { createBare, type HookWorkshop, openHookWorkshop, untilBuilt, useShell } from './hook-fixture.ts';

const files = (text: string) => ({ 'App.yaml': appYaml, 'server.js': text });
let shop: HookWorkshop;

beforeAll(async () => {
  shop = await openHookWorkshop();
});
afterAll(() => shop?.close());

const install = (repository: string, ...args: string[]) =>
  shop.command('hook', 'install', repository, ...args);

describe.each([
  ['dash', '/bin/dash'],
  ['busybox', '/bin/busybox sh'],
])('a bare repository with a hook under %s', (name, shell) => {
  it('has every push built and says where; while the farm is away pushes go through and nothing is lost', async () => {
    const { bare, commit, push, refs } = await createBare(shop.folder, `team/${name}`);
    const installed = await install(bare, '--credential-file', shop.credentialFile);
    expect(installed.stderr).toContain(`every push goes to team/${name} at ${shop.server.url}`);
    await useShell(bare, shell);

    const first = await commit(files('1'));
    const pushed = await push('main');
    expect(pushed.code).toBe(0);
    expect(pushed.stderr).toMatch(/brickyard: build of main: http:\S+\/builds\/[0-9a-f-]{36}/);
    await untilBuilt(shop, (build) => build.commit === first, 1);
    expect((await shop.registry.resolveManifest('team/app', 'main')).digest).toContain('sha256:');

    const comeBack = await shop.leave();
    const second = await commit(files('2'));
    const away = await push('main');
    expect(away.code).toBe(0);
    expect(away.stderr).toContain('brickyard: kept, and sent again by itself');
    const third = await commit(files('3'));
    await push('main', 'main:side', 'main:gone');
    const changed = await commit({ 'server.js': `${name} 4` });
    await push('--force', 'main~2:refs/heads/side', 'main', ':gone', `main:refs/tags/v1-${name}`);
    const status = await shop.command('hook', 'status', bare, '--json');
    expect(JSON.parse(status.stdout)).toMatchObject({ installed: true, way: 'push', waiting: 3 });
    await comeBack();

    // Nobody pushes and nobody asks: it goes on by itself.
    const built = await untilBuilt(
      shop,
      ({ repository, ref }) => repository === `team/${name}` && ref === 'refs/heads/main',
      4,
    );
    expect(built.map((build) => build.commit).toReversed()).toEqual([first, second, third, changed]);
    const wanted = (await refs(bare)).split('\n').filter((line) => line.includes('refs/'));
    const have = (await refs(shop.gitUrl(`team/${name}`))).split('\n');
    expect(have).toEqual(expect.arrayContaining(wanted));
    expect(have.join('\n')).not.toContain('refs/heads/gone');
    expect(await readdir(join(bare, 'brickyard/spool'))).toEqual([]);
  }, 240_000);
});

describe('hook install', () => {
  it('keeps the hooks that were there, runs them first, and uninstall puts them back', async () => {
    const { bare, commit, push } = await createBare(shop.folder, 'team/kept');
    const seen = join(shop.folder, 'seen');
    const before = `#!/bin/sh\ncat >>'${seen}'\n`;
    for (const hook of ['post-receive', 'pre-receive']) {
      await writeFile(join(bare, 'hooks', hook), before, { mode: 0o755 });
    }
    for (let time = 0; time < 2; time++) expect((await install(bare, '--lint')).code).toBe(0);
    await useShell(bare, '/bin/dash');
    const id = await commit(files('1'));

    const pushed = await push('-o', 'build.skip', 'main');

    expect(pushed.stderr).toContain('brickyard: no build, as asked');
    const line = `${'0'.repeat(40)} ${id} refs/heads/main\n`;
    expect(await readFile(seen, 'utf8')).toBe(line + line);
    expect((await stat(join(bare, 'brickyard'))).mode & 0o777).toBe(0o700);
    for (const name of ['credentials', 'curl']) {
      expect((await stat(join(bare, 'brickyard', name))).mode & 0o777).toBe(0o600);
    }
    expect((await shop.command('hook', 'uninstall', bare)).stderr).toBe('removed\n');
    for (const hook of ['post-receive', 'pre-receive']) {
      expect(await readFile(join(bare, 'hooks', hook), 'utf8')).toBe(before);
    }
    expect(await readdir(bare)).not.toContain('brickyard');
    expect(
      await gitOk(bare, 'config', '--local', '--default=', '--get', 'receive.advertisePushOptions'),
    ).toBe('\n');
    expect((await shop.builds()).filter(({ repository }) => repository === 'team/kept')).toEqual([]);
  });

  it('with --lint a push of a broken App.yaml is refused by line and column, and goes on when nobody can tell', async () => {
    const { bare, commit, push } = await createBare(shop.folder, 'team/linted');
    await install(bare, '--lint');
    await useShell(bare, '/bin/busybox sh');
    await commit({ 'services/pay/App.yaml': appYaml.replace('base:', 'bsae:'), 'x.js': '' });

    const refused = await push('main');

    expect(refused.code).not.toBe(0);
    expect(refused.stderr).toMatch(/services\/pay\/App\.yaml:2:1 error/);
    expect(refused.stderr).toContain('the push is refused: App.yaml has the errors above');
    await writeFile(join(bare, 'brickyard/curl'), 'connect-to = "::127.0.0.1:1"\n');
    const unknown = await push('main');
    expect(unknown.stderr).toContain('App.yaml could not be checked now, so the push goes on');
    expect(unknown.code).toBe(0);
  });

  it('does not lose the password that was refused once, nor what was pushed meanwhile', async () => {
    const { bare, commit, push } = await createBare(shop.folder, 'team/refused');
    const wrong = join(shop.folder, 'wrong');
    await writeFile(wrong, 'dev:not it\n');
    await install(bare, '--credential-file', wrong);
    await useShell(bare, '/bin/dash');
    const id = await commit(files('refused'));
    const pushed = await push('main');
    expect(pushed.stderr).toContain('brickyard: kept');
    expect(await readFile(join(bare, 'brickyard/credentials'), 'utf8')).toContain('password=not it');
    expect((await shop.command('hook', 'uninstall', bare)).stderr).toContain('1 entry waits');

    await install(bare, '--credential-file', shop.credentialFile);
    await runOk(join(bare, 'brickyard/deliver'), []);

    await untilBuilt(shop, (build) => build.commit === id, 1);
  });

  it('leaves every file with the owner of the repository, whoever installs', async () => {
    const { bare } = await createBare(shop.folder, 'team/owned');
    if (process.getuid?.() === 0) await runOk('chown', ['-R', '65534', bare]);
    const { uid } = await stat(bare);
    const others = (): Promise<string> => runOk('find', [bare, '!', '-uid', `${uid}`]);

    await install(bare, '--lint');

    expect(await others()).toBe('');
    await shop.command('hook', 'uninstall', bare);
    expect(await others()).toBe('');
  });

  it('says what is wrong with what it is given', async () => {
    const { bare } = await createBare(shop.folder, 'team/asked');
    const answers = [
      await install('/nowhere'),
      await install(shop.folder),
      await install(bare, '--svn'),
      await install(bare, '--app', 'Team/App'),
      await install(bare, '--map', 'trunk=x'),
      await install(bare, '--secret-file', '/nowhere'),
    ];
    await gitOk(bare, 'config', 'core.hooksPath', '/etc/hooks');
    answers.push(await install(bare));

    expect(answers.map(({ code }) => code === 0)).not.toContain(true);
    const told = answers.map(({ stderr }) => stderr).join('');
    for (const part of [
      'cannot read /nowhere',
      'no git or Subversion repository',
      'no Subversion repository',
      'invalid repository name',
      '--map is for Subversion',
      'core.hooksPath sends git to /etc/hooks',
    ]) {
      expect(told).toContain(part);
    }
  });
});
