import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { createTempDirectory, type TempDirectory } from '../../helpers/temp.ts';
import { appYaml } from '../builder/farm-fixture.ts';
import { createRecorder, createWorkshop, type GitServer, gitOk, serveGit } from '../builder/git-fixture.ts';
import { createBare, type HookWorkshop, openHookWorkshop, untilBuilt, useShell } from './hook-fixture.ts';

// Longer than a block of SHA-256, so that it is hashed first.
const secret = 'of more than sixty-four characters, with a % and a \\ and "quotes" in it';
let shop: HookWorkshop;
let secrets: TempDirectory;
let kept: Awaited<ReturnType<typeof createWorkshop>>;
/** The way on which the farm reaches what lies in the bare repository. */
let reachable: GitServer;

beforeAll(async () => {
  secrets = await createTempDirectory('secret');
  await writeFile(join(secrets.path, 'secret'), `${secret}\n`);
  kept = await createWorkshop();
  reachable = await serveGit({ ...kept, listener: createRecorder() });
  const trigger = {
    app: 'shop/web',
    provider: 'generic',
    url: `${reachable.url}/git/shop/web.git`,
    secretFiles: [join(secrets.path, 'secret')],
    insecureHttp: true,
    privateNetwork: true,
  };
  shop = await openHookWorkshop({ BRICKYARD_BUILDER_TRIGGERS: JSON.stringify([trigger]) });
});

afterAll(async () => {
  await shop?.close();
  await reachable?.close();
  await kept?.[Symbol.asyncDispose]();
  await secrets?.remove();
});

it('signed notes tell the farm what to fetch; what it missed is told once it is back', async () => {
  const { bare, work, commit, push } = await createBare(shop.folder, 'shop/web');
  const installed = await shop.command(
    'hook',
    'install',
    bare,
    '--secret-file',
    join(secrets.path, 'secret'),
  );
  expect(installed.stderr).toContain('every push goes to shop/web');
  const pushBoth = async (...refs: string[]) => {
    await gitOk(work, 'push', '-q', '--force', `${reachable.url}/git/shop/web.git`, ...refs);
    return push('--force', ...refs);
  };
  await useShell(bare, '/bin/dash');
  const first = await commit({ 'App.yaml': appYaml, 'server.js': '1' });

  const told = await pushBoth('main');

  expect(told.stderr).toMatch(/brickyard: http:\S+\/api\/v1\/deliveries\/\S+/);
  await untilBuilt(shop, (build) => build.commit === first, 1);
  await useShell(bare, '/bin/busybox sh');
  const comeBack = await shop.leave();
  const second = await commit({ 'server.js': '2' });
  expect((await pushBoth('main', 'main:refs/heads/odd-"name"')).stderr).toContain('kept, and sent again');
  await comeBack();

  const built = await untilBuilt(shop, (build) => build.commit === second, 2);
  expect(built.map(({ ref }) => ref).toSorted()).toEqual(['refs/heads/main', 'refs/heads/odd-"name"']);
}, 240_000);
