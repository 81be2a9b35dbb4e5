import { randomBytes } from 'node:crypto';
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createGitHost } from '../../../builder/git/create-git-host.ts';
import { gitKeys } from '../../../builder/git/git-keys.ts';
import { restorePack } from '../../../builder/git/restore-pack.ts';
import { createSilentLogger } from '../../../core/log.ts';
import { commitFiles, createWork } from './farm-fixture.ts';
import { createRecorder, createWorkshop, gitOk, serveGit } from './git-fixture.ts';

const name = { team: 'team', app: 'app' };
const packPrefix = 'git/team/app/packs/';

describe('a repository that another machine has to bring back from the store', () => {
  let shop: Awaited<ReturnType<typeof createWorkshop>>;
  let commit: string;
  let packs: string[];

  /** Two pushes: the second pack is made of differences to objects of the first. */
  beforeAll(async () => {
    shop = await createWorkshop();
    await using server = await serveGit({ ...shop, listener: createRecorder() });
    const work = await createWork(join(shop.path, 'work'));
    await writeFile(join(work, 'large.bin'), randomBytes(300_000));
    await commitFiles(work, { 'long.txt': 'line\n'.repeat(20_000) });
    await gitOk(work, 'push', '-q', `${server.url}/git/team/app.git`, 'main');
    commit = await commitFiles(work, { 'long.txt': `${'line\n'.repeat(20_000)}one more\n` });
    await gitOk(work, 'push', '-q', `${server.url}/git/team/app.git`, 'main');
    const { objects } = await shop.store.list({ prefix: packPrefix });
    packs = objects.map(({ key }) => key.slice(packPrefix.length));
  });

  afterAll(() => shop[Symbol.asyncDispose]());

  it('gets packs and indexes as they are, and they are whole', async () => {
    const folder = await mkdtemp(join(shop.path, 'bare-'));
    await gitOk(folder, 'init', '-q', '--bare', '.');

    const restored = await Promise.all(
      packs.map((id) => restorePack(shop.store, name, id, join(folder, 'objects/pack'))),
    );

    expect(restored).toEqual([true, true]);
    await gitOk(folder, 'fsck', '--full', '--strict');
    expect(await gitOk(folder, 'cat-file', '-p', `${commit.trim()}:long.txt`)).toContain('one more');
  });

  it('is pushed to after all repositories were removed from the disk of a running server', async () => {
    await using server = await serveGit({ ...shop, listener: createRecorder() });
    const work = join(shop.path, 'work');
    await rm(join(shop.cacheDir, 'repositories'), { recursive: true });
    const next = await commitFiles(work, { 'more.txt': 'more' });

    await gitOk(work, 'push', '-q', `${server.url}/git/team/app.git`, 'main:next');

    const tree = await server.host.openTree('team', 'app', next.trim());
    expect((await tree.entries()).map(({ path }) => path)).toContain('more.txt');
    await tree.close();
  });

  it.each<[string, (id: string) => string, ((body: Buffer) => Buffer) | undefined, 'read' | 'refused']>([
    ['an index that is missing', (id) => gitKeys.packIndex('team', 'app', id), undefined, 'read'],
    ['an index that is damaged', (id) => gitKeys.packIndex('team', 'app', id), flipped, 'read'],
    [
      'an index that is cut short',
      (id) => gitKeys.packIndex('team', 'app', id),
      (b) => b.subarray(0, 1080),
      'read',
    ],
    ['a pack that is damaged', (id) => gitKeys.pack('team', 'app', id), flipped, 'refused'],
    [
      'a pack that is cut short',
      (id) => gitKeys.pack('team', 'app', id),
      (b) => b.subarray(0, -30),
      'refused',
    ],
  ])('does not trust %s', async (_, keyOf, change, outcome) => {
    const { store } = shop;
    const [id = ''] = packs;
    const key = keyOf(id);
    const original = (await store.get(key))?.body ?? Buffer.alloc(0);
    if (change === undefined) await store.delete(key);
    else await store.put(key, change(Buffer.from(original)));
    const cacheDir = await mkdtemp(join(shop.path, 'cache-'));
    const host = await createGitHost({
      store,
      cacheDir,
      listener: createRecorder(),
      log: createSilentLogger(),
    });
    try {
      const folder = await mkdtemp(join(shop.path, 'packs-'));

      const restored = await restorePack(store, name, id, folder);
      const opening = host.openTree('team', 'app', commit.trim());

      expect(restored).toBe(false);
      expect(await readdir(folder)).toEqual([]);
      if (outcome === 'refused') await expect(opening).rejects.toThrow(`pack ${id} is damaged`);
      else {
        const tree = await opening;
        expect((await tree.entries()).map(({ path }) => path)).toContain('long.txt');
        await tree.close();
      }
    } finally {
      await host.close();
      await store.put(key, original);
    }
  });
});

function flipped(body: Buffer): Buffer {
  const at = body.length >> 1;
  body[at] = (body[at] ?? 0) ^ 1;
  return body;
}
