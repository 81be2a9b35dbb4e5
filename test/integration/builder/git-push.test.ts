import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { PushListener } from '../../../builder/git/git-host.ts';
import { createRecorder, createWorkshop, git, gitOk, serveGit } from './git-fixture.ts';

async function createWork(
  parent: string,
  files: Record<string, string> = { 'a.txt': 'one\n' },
): Promise<string> {
  const work = join(parent, `work-${Math.random().toString(16).slice(2)}`);
  await mkdir(work);
  await gitOk(work, 'init', '-q', '-b', 'main');
  for (const [name, text] of Object.entries(files)) await writeFile(join(work, name), text);
  await gitOk(work, 'add', '-A');
  await gitOk(work, 'commit', '-q', '-m', 'first');
  return work;
}

describe('git push over smart HTTP', () => {
  it('creates the repository, announces the branch and prints what the listener says', async () => {
    await using shop = await createWorkshop();
    const listener = createRecorder();
    await using server = await serveGit({ ...shop, listener });
    const work = await createWork(shop.path);
    const commit = (await gitOk(work, 'rev-parse', 'HEAD')).trim();

    const pushed = await git(work, 'push', '-o', 'build.nowait', `${server.url}/git/team/app.git`, 'main');

    expect(pushed.stderr).toContain('remote: accepted refs/heads/main');
    expect(pushed.code).toBe(0);
    expect(listener.updates).toMatchObject([
      {
        team: 'team',
        app: 'app',
        ref: 'refs/heads/main',
        commit,
        sequence: 1,
        defaultBranch: true,
        pusher: 'dev',
      },
    ]);
    expect(listener.updates[0]?.pushOptions).toEqual(['build.nowait']);
  });

  it.each(['0', '2'])(
    'can be cloned back with protocol v%s, also when the cache was wiped',
    async (version) => {
      await using shop = await createWorkshop();
      await using server = await serveGit({ ...shop, listener: createRecorder() });
      const work = await createWork(shop.path);
      const url = `${server.url}/git/team/app.git`;
      await gitOk(work, 'push', '-q', url, 'main');
      await rm(join(shop.cacheDir, 'repositories'), { recursive: true });
      await mkdir(join(shop.cacheDir, 'repositories'));

      await gitOk(shop.path, '-c', `protocol.version=${version}`, 'clone', '-q', url, 'back');

      expect(await gitOk(join(shop.path, 'back'), 'rev-parse', 'HEAD')).toBe(
        await gitOk(work, 'rev-parse', 'HEAD'),
      );
      expect((await gitOk(join(shop.path, 'back'), 'status', '-sb')).trim()).toBe('## main...origin/main');
    },
  );

  it('takes forced pushes, tags and deletions', async () => {
    await using shop = await createWorkshop();
    const listener = createRecorder();
    await using server = await serveGit({ ...shop, listener });
    const work = await createWork(shop.path);
    const url = `${server.url}/git/team/app.git`;
    await gitOk(work, 'tag', '-a', 'v1', '-m', 'one');
    await gitOk(work, 'push', '-q', url, 'main', 'v1', 'main:refs/heads/refs/heads/x');
    await gitOk(work, 'commit', '-q', '--amend', '-m', 'other');

    const refused = await git(work, 'push', url, 'main');
    const forced = await git(work, 'push', url, '+main', ':refs/heads/refs/heads/x');

    expect(refused.code).not.toBe(0);
    expect(forced.code).toBe(0);
    const refs = await gitOk(work, 'ls-remote', url);
    expect(
      refs
        .split('\n')
        .map((line) => line.slice(41))
        .filter((name) => name !== ''),
    ).toEqual(['HEAD', 'refs/heads/main', 'refs/tags/v1', 'refs/tags/v1^{}']);
    expect(listener.updates.map(({ ref, sequence }) => `${sequence} ${ref}`)).toEqual([
      '1 refs/heads/main',
      '1 refs/tags/v1',
      '1 refs/heads/refs/heads/x',
      '2 refs/heads/main',
    ]);
  });

  it('takes a push that only deletes, for which git makes no quarantine', async () => {
    await using shop = await createWorkshop();
    await using server = await serveGit({ ...shop, listener: createRecorder() });
    const work = await createWork(shop.path);
    const url = `${server.url}/git/team/app.git`;
    await gitOk(work, 'push', '-q', url, 'main', 'main:refs/heads/gone');

    await gitOk(work, 'push', '-q', url, ':refs/heads/gone');

    expect(await gitOk(work, 'ls-remote', url)).not.toContain('gone');
  });

  it('lets one of two pushes to the same ref win and tells the other to fetch', async () => {
    await using shop = await createWorkshop();
    await using server = await serveGit({ ...shop, listener: createRecorder() });
    const url = `${server.url}/git/team/app.git`;
    const first = await createWork(shop.path);
    await gitOk(first, 'push', '-q', url, 'main');
    const second = join(shop.path, 'second');
    await gitOk(shop.path, 'clone', '-q', url, second);
    for (const work of [first, second]) {
      await writeFile(join(work, 'b.txt'), work);
      await gitOk(work, 'add', '-A');
      await gitOk(work, 'commit', '-q', '-m', 'next');
    }

    const results = await Promise.all([first, second].map((work) => git(work, 'push', url, 'main')));

    expect(results.filter(({ code }) => code === 0)).toHaveLength(1);
    const winner = results[0]?.code === 0 ? first : second;
    expect((await gitOk(winner, 'ls-remote', url, 'refs/heads/main')).slice(0, 40)).toBe(
      (await gitOk(winner, 'rev-parse', 'HEAD')).trim(),
    );
    expect(results.find(({ code }) => code !== 0)?.stderr).toMatch(
      /fetch first|non-fast-forward|cannot lock/,
    );
  });

  it('moves refs of different names that are pushed at the same time', async () => {
    await using shop = await createWorkshop();
    await using server = await serveGit({ ...shop, listener: createRecorder() });
    const work = await createWork(shop.path);
    const url = `${server.url}/git/team/app.git`;

    const results = await Promise.all(
      Array.from({ length: 6 }, (_, index) => git(work, 'push', url, `main:refs/heads/b${index}`)),
    );

    expect(results.map(({ code }) => code)).toEqual([0, 0, 0, 0, 0, 0]);
    expect((await gitOk(work, 'ls-remote', '--heads', url)).trim().split('\n')).toHaveLength(6);
  });

  it('takes 1000 refs in one push', async () => {
    await using shop = await createWorkshop();
    const listener = createRecorder();
    await using server = await serveGit({ ...shop, listener });
    const work = await createWork(shop.path);
    const url = `${server.url}/git/team/app.git`;

    const refspecs = Array.from({ length: 1000 }, (_, index) => `main:refs/heads/many/${index}`);
    await gitOk(work, 'push', '-q', url, ...refspecs);

    expect(listener.updates).toHaveLength(1000);
    expect((await gitOk(work, 'ls-remote', '--heads', url)).trim().split('\n')).toHaveLength(1000);
  });

  it('announces a move that its own push could not announce before the ref moves again', async () => {
    await using shop = await createWorkshop();
    const recorder = createRecorder();
    let down = true;
    const listener: PushListener = {
      ...recorder,
      accepted: async (updates) => {
        if (down) throw new Error('the queue does not answer');
        await recorder.accepted(updates);
      },
    };
    await using server = await serveGit({ ...shop, listener });
    const work = await createWork(shop.path);
    const url = `${server.url}/git/team/app.git`;
    await gitOk(work, 'push', '-q', '-o', 'build.nowait', url, 'main', 'main:refs/heads/other');
    const first = (await gitOk(work, 'rev-parse', 'HEAD')).trim();
    await gitOk(work, 'commit', '-q', '--allow-empty', '-m', 'second');
    const second = (await gitOk(work, 'rev-parse', 'HEAD')).trim();
    down = false;

    await gitOk(work, 'push', '-q', url, 'main');

    const announced = recorder.updates.map(({ ref, commit, sequence }) => ({ ref, commit, sequence }));
    expect(announced).toEqual([
      { ref: 'refs/heads/main', commit: first, sequence: 1 },
      { ref: 'refs/heads/other', commit: first, sequence: 1 },
      { ref: 'refs/heads/main', commit: second, sequence: 2 },
    ]);
  });
});
