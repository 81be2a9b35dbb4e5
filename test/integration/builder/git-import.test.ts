import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { createGitHost } from '../../../builder/git/create-git-host.ts';
import type { CommitWriter } from '../../../builder/git/fast-import.ts';
import type { GitHost, RefUpdate } from '../../../builder/git/git-host.ts';
import type { ImportTarget } from '../../../builder/git/import-commit.ts';
import { createSilentLogger } from '../../../core/log.ts';
import { createWork } from './farm-fixture.ts';
import { createRecorder, createWorkshop, gitOk, serveGit } from './git-fixture.ts';

type Files = Readonly<Record<string, string | Buffer>>;

async function* once(bytes: Buffer): AsyncGenerator<Buffer> {
  for (let at = 0; at < bytes.length; at += 65_536) yield bytes.subarray(at, at + 65_536);
}

function importFiles(
  host: GitHost,
  files: Files,
  more: Partial<ImportTarget> & { id?: string; kinds?: Record<string, 'executable' | 'symlink'> } = {},
): Promise<RefUpdate> {
  const { id = 'one', kinds = {}, ...target } = more;
  return host.importCommit(
    { team: 'team', app: 'app', ref: `refs/brickyard/${id}`, pusher: 'dev', message: 'package', ...target },
    async (commit: CommitWriter) => {
      for (const [path, text] of Object.entries(files)) {
        const bytes = Buffer.from(text as string);
        commit.place(path, kinds[path] ?? 'file', await commit.content(bytes.length, once(bytes)));
      }
      return { options: ['tag=1.2'] };
    },
  );
}

async function packsOf(store: Awaited<ReturnType<typeof createWorkshop>>['store']): Promise<number[]> {
  return (await store.list({ prefix: 'git/team/app/packs/' })).objects.map(({ size }) => size);
}

describe('files that did not come by git become a commit', () => {
  it('with their kinds, odd names and large contents, and are announced as a push is', async () => {
    await using shop = await createWorkshop();
    const listener = createRecorder();
    await using git = await serveGit({ ...shop, listener });
    const large = Buffer.alloc(3_000_000, 'large');
    const files = {
      'bin/run': '#!/bin/sh\n',
      'bin/link': 'run',
      'quote"back\\slash\nline\x01': 'odd',
      'raw\xff': 'no UTF-8',
      empty: '',
      'lib/large': large,
    };

    const update = await importFiles(git.host, files, {
      kinds: { 'bin/run': 'executable', 'bin/link': 'symlink' },
    });

    expect(update).toMatchObject({
      team: 'team',
      app: 'app',
      ref: 'refs/brickyard/one',
      pusher: 'dev',
      sequence: 1,
      pushOptions: ['tag=1.2'],
    });
    expect(listener.updates).toEqual([update]);
    const tree = await git.host.openTree('team', 'app', update.commit);
    expect((await tree.entries()).map(({ path, kind }) => `${kind} ${path}`)).toEqual([
      'symlink bin/link',
      'executable bin/run',
      'file empty',
      'file lib/large',
      'file quote"back\\slash\nline\x01',
      'file raw\xff',
    ]);
    expect((await tree.readFile('lib/large', 4_000_000))?.equals(large)).toBe(true);
    await tree.close();
  });

  it('that is the same for the same files, stores nothing twice, and knows what was pushed by git', async () => {
    await using shop = await createWorkshop();
    const listener = createRecorder();
    await using git = await serveGit({ ...shop, listener });
    const bytes = Buffer.alloc(200_000);
    for (let at = 0; at < bytes.length; at += 1) bytes[at] = (at * at * 31) >> 7;
    const work = await createWork(join(shop.path, 'work'), { 'lib/known.txt': bytes.toString('latin1') });
    await gitOk(work, 'push', '-q', `${git.url}/git/team/app.git`, 'main');
    const before = await packsOf(shop.store);

    const known = Buffer.from(bytes.toString('latin1'));
    const first = await importFiles(git.host, { 'other/place': known, small: 'new' });
    const second = await importFiles(git.host, { small: 'new', 'other/place': known }, { id: 'two' });

    expect(second.commit).toBe(first.commit);
    const packs = await packsOf(shop.store);
    expect(packs.length).toBe(before.length + 1);
    expect(Math.min(...packs)).toBeLessThan(2000);
    expect(second.sequence).toBe(3);
  });

  it('is not made twice while its build is open', async () => {
    await using shop = await createWorkshop();
    const listener = createRecorder();
    await using git = await serveGit({ ...shop, listener });
    const asked: string[] = [];
    const open = async ({ id }: { id: string }): Promise<boolean> => asked.push(id) > 0;

    const first = await importFiles(git.host, { a: 'A' }, { reuse: open });
    const again = await importFiles(git.host, { a: 'A' }, { id: 'two', reuse: open });
    const other = await importFiles(git.host, { a: 'B' }, { id: 'three', reuse: open });

    expect(again).toEqual(first);
    expect(other.commit).not.toBe(first.commit);
    expect(asked).toEqual([first.id]);
    expect(listener.updates).toEqual([first, other]);
    // Of the files alone: on every machine, on every day.
    expect(first.commit).toBe('50e0db2c6464c4f347532b892af2fa01c7c7f23a');
  });

  it('leaves nothing behind when its files end early', async () => {
    await using shop = await createWorkshop();
    const listener = createRecorder();
    await using git = await serveGit({ ...shop, listener });
    const failing = git.host.importCommit(
      { team: 'team', app: 'app', ref: 'refs/brickyard/one', pusher: 'dev', message: 'package' },
      async (commit) => {
        commit.place('a', 'file', await commit.content(10, once(Buffer.from('short'))));
        return { options: [] };
      },
    );

    await expect(failing).rejects.toThrow('a content is not 10 bytes long');
    expect(listener.updates).toEqual([]);
    expect(await git.host.resolveRef('team', 'app', 'refs/brickyard/one')).toBeUndefined();
    expect(await packsOf(shop.store)).toEqual([]);
  });

  it('is announced later when the queue does not answer', async () => {
    await using shop = await createWorkshop();
    const listener = createRecorder();
    let fails = true;
    const host = await createGitHost({
      ...shop,
      log: createSilentLogger(),
      listener: {
        ...listener,
        accepted: async (updates) => {
          if (fails) throw new Error('the queue does not answer');
          await listener.accepted(updates);
        },
      },
    });

    const update = await importFiles(host, { a: 'A' });
    fails = false;
    await host.recover();
    await host.close();

    expect(listener.updates).toEqual([update]);
  });
});
