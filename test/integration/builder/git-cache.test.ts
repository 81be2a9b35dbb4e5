import { randomBytes } from 'node:crypto';
import { chmod, open, readdir, stat, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { clearRepositoryCache } from '../../../builder/git/clear-cache.ts';
import type { GitHost } from '../../../builder/git/git-host.ts';
import { UserError } from '../../../core/user-error.ts';
import { commitFiles, createWork } from './farm-fixture.ts';
import { createRecorder, createWorkshop, type GitServer, gitOk, serveGit } from './git-fixture.ts';

describe('the copies of repositories on a worker’s disk', () => {
  let shop: Awaited<ReturnType<typeof createWorkshop>>;
  let server: GitServer;
  let commit: string;

  beforeAll(async () => {
    shop = await createWorkshop();
    server = await serveGit({ ...shop, listener: createRecorder() });
    const work = await createWork(join(shop.path, 'work'));
    commit = await commitFiles(work, { 'large.bin': randomBytes(200_000).toString('base64') });
    for (const app of ['one', 'two', 'three']) {
      await gitOk(work, 'push', '-q', `${server.url}/git/team/${app}.git`, 'main');
    }
  });
  afterAll(async () => {
    await server.close();
    await shop[Symbol.asyncDispose]();
  });

  const folderOf = (app: string): string => join(shop.cacheDir, 'repositories/team', `${app}.git`);

  async function readAll(host: GitHost, app: string): Promise<number> {
    const tree = await host.openTree('team', app, commit);
    try {
      let size = 0;
      for await (const { body } of tree.read(await tree.entries())) {
        for await (const part of body as AsyncIterable<Buffer>) size += part.length;
      }
      return size;
    } finally {
      await tree.close();
    }
  }

  it('are thrown away and made anew when a file in them cannot be read: the farm’s fault, once', async () => {
    const whole = await readAll(server.host, 'one');
    const packs = join(folderOf('one'), 'objects/pack');
    const [pack = ''] = (await readdir(packs)).filter((name) => name.endsWith('.pack'));
    await chmod(join(packs, pack), 0o644);
    const file = await open(join(packs, pack), 'r+');
    // In the middle of the one large file: commit, tree and App.yaml can still be read.
    await file.write(Buffer.alloc(4096), 0, 4096, Math.floor((await file.stat()).size / 2));
    await file.close();

    const failed = await readAll(server.host, 'one').catch((error: unknown) => error);

    expect(failed).toBeInstanceOf(Error);
    expect(failed).not.toBeInstanceOf(UserError);
    expect(await readAll(server.host, 'one')).toBe(whole);
  });

  it('go when room is needed, the longest unused first, and those in use stay', async () => {
    const hoursAgo = (hours: number): Date => new Date(Date.now() - hours * 3_600_000);
    await utimes(folderOf('two'), hoursAgo(5), hoursAgo(5));
    await utimes(folderOf('three'), hoursAgo(3), hoursAgo(3));
    let asked = 0;

    await server.host.clearCache(async () => ++asked > 1);

    expect((await readdir(join(shop.cacheDir, 'repositories/team'))).toSorted()).toEqual([
      'one.git',
      'three.git',
    ]);
    // To build from it is to use it.
    await (await server.host.openTree('team', 'three', commit)).close();
    await server.host.clearCache(async () => false);
    expect((await stat(folderOf('three'))).isDirectory()).toBe(true);
    expect(await readAll(server.host, 'two')).toBeGreaterThan(200_000);
  });

  it('go with what a killed process left half made or half removed', async () => {
    const folders: string[] = [];
    const root = join(shop.path, 'left');
    const team = join(root, 'team');
    await gitOk(shop.path, 'init', '-q', '--bare', join(team, 'app.git.gone-0123456789ab'));
    await utimes(join(team, 'app.git.gone-0123456789ab'), new Date(0), new Date(0));

    const removed = await clearRepositoryCache(
      {
        async discardUnused(_, app) {
          folders.push(app);
          return true;
        },
      },
      { root, now: Date.now(), enough: async () => true },
    );

    expect([removed, folders, await readdir(team)]).toEqual([0, [], []]);
  });
});
