import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { createStoredRegistry } from '../../../registry/stored-registry.ts';
import { startProcess, waitFor } from '../../helpers/process.ts';
import { appYaml, commitFiles, createWork, pushBase } from './farm-fixture.ts';
import { createWorkshop, git, gitOk } from './git-fixture.ts';

const rounds = 12;

interface KillableFarm {
  readonly url: string;
  readonly process: ChildProcess;
  kill(): Promise<void>;
}

async function startKillable(
  shop: { storeRoot: string; cacheDir: string },
  work: boolean,
): Promise<KillableFarm> {
  const script = join(import.meta.dirname, 'git-server-process.ts');
  const child = spawn(process.execPath, [script, shop.storeRoot, shop.cacheDir, work ? 'work' : 'idle'], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const [url] = (await once(createInterface({ input: child.stdout }), 'line')) as [string];
  return {
    url,
    process: child,
    async kill() {
      if (child.exitCode !== null || child.signalCode !== null) return;
      child.kill('SIGKILL');
      await once(child, 'exit');
    },
  };
}

describe('a git server that is killed', () => {
  it(`loses no acknowledged push, whenever it dies (${rounds} random moments)`, async () => {
    await using shop = await createWorkshop();
    const work = await createWork(join(shop.path, 'work'));
    let acknowledged = '';
    let killed = 0;
    for (let round = 0; round < rounds; round++) {
      const farm = await startKillable(shop, false);
      const url = `${farm.url}/git/team/app.git`;
      const commit = await commitFiles(work, { 'a.txt': `round ${round}` });
      const pushing = git(work, 'push', '-o', 'build.nowait', url, '+main');
      // Spread over the whole of a push, which takes about 150 ms here.
      await delay(Math.random() * 160);
      await farm.kill();
      const result = await pushing;
      // git exits with 0 only when it has read the server's report.
      if (result.code === 0) acknowledged = commit;
      else killed++;

      if (round % 3 === 2) await rm(join(shop.cacheDir, 'repositories'), { recursive: true, force: true });
      const next = await startKillable(shop, false);
      const remote = (
        await gitOk(work, 'ls-remote', `${next.url}/git/team/app.git`, 'refs/heads/main').catch(() => '')
      ).slice(0, 40);
      // An unacknowledged push may have arrived, too.
      expect([acknowledged, commit]).toContain(remote);
      if (remote !== '') {
        acknowledged = remote;
        const back = join(shop.path, `back${round}`);
        await gitOk(shop.path, 'clone', '-q', `${next.url}/git/team/app.git`, back);
        await gitOk(back, 'fsck', '--strict');
        expect((await gitOk(back, 'rev-parse', 'HEAD')).trim()).toBe(remote);
      }
      await next.kill();
    }
    expect(killed).toBeGreaterThan(0);
  });

  it('finishes a build after a restart, also one whose push it could not queue any more', async () => {
    await using shop = await createWorkshop();
    const registry = createStoredRegistry({ store: shop.store });
    await pushBase(registry);
    const work = await createWork(join(shop.path, 'work'));
    const first = await startKillable(shop, false);
    await gitOk(work, 'push', '-q', '-o', 'build.nowait', `${first.url}/git/team/app.git`, 'main');
    await first.kill();
    // As if it had died between storing the refs and queueing the build.
    const jobs = await shop.store.list({ prefix: 'builds/' });
    await shop.store.deleteMany(jobs.objects.map(({ key }) => key));
    await shop.store.put(
      'git-intents/left',
      Buffer.from(JSON.stringify({ state: 'open', team: 'team', app: 'app', refs: ['refs/heads/main'] })),
    );

    const second = await startKillable(shop, true);

    await waitFor(() => registry.resolveManifest('team/app', 'main').catch(() => undefined), {
      what: 'the image of a build that was left over',
    });
    await second.kill();
  });

  it('finishes a build that ran when it was killed', async () => {
    await using shop = await createWorkshop();
    const registry = createStoredRegistry({ store: shop.store });
    await pushBase(registry);
    const files = Object.fromEntries(
      Array.from({ length: 2000 }, (_, index) => [`lib/f${index}.js`, `${index}`]),
    );
    const work = await createWork(join(shop.path, 'work'), { 'App.yaml': appYaml, ...files });
    const first = await startKillable(shop, true);
    const pushing = await startProcess('git', ['push', `${first.url}/git/team/app.git`, 'main'], {
      cwd: work,
    });
    await waitFor(() => pushing.output().includes('✓ plan'), { what: 'the build to begin' });
    await first.kill();
    await pushing.ended;

    const second = await startKillable(shop, true);

    // The dead worker's lease has to run out first.
    await waitFor(() => registry.resolveManifest('team/app', 'main').catch(() => undefined), {
      what: 'the image of a build that was cut off',
      timeoutMs: 60_000,
    });
    await second.kill();
  });
});
