import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { Sandbox } from '../../../builder/engines/engine.ts';
import { run } from '../../../cli/main.ts';
import { JobFailed } from '../../../core/queue/job-queue.ts';
import { waitFor } from '../../helpers/process.ts';
import { appYaml, createWork, pushBase, startFarm } from './farm-fixture.ts';
import { createWorkshop, git, gitOk } from './git-fixture.ts';

async function brickyard(
  home: string,
  server: string,
  ...args: string[]
): Promise<{ code: number; stdout: string; stderr: string }> {
  let stdout = '';
  let stderr = '';
  const code = await run(args, {
    stdout: (text) => void (stdout += text),
    stderr: (text) => void (stderr += text),
    cwd: home,
    env: { PATH: process.env['PATH'], HOME: home, BRICKYARD_SERVER: server },
  });
  return { code, stdout, stderr };
}

describe('brickyard build and builds', () => {
  it('builds a working tree with uncommitted changes and leaves its repository alone', async () => {
    await using shop = await createWorkshop();
    await using farm = await startFarm(shop);
    await pushBase(farm.registry);
    const work = await createWork(join(shop.path, 'work'));
    await writeFile(join(work, 'extra.txt'), 'not committed');
    const before = await gitOk(work, 'status', '--porcelain');

    const built = await brickyard(
      shop.path,
      farm.url,
      'build',
      work,
      '--repository',
      'team/app',
      '-t',
      'try',
    );

    expect(built.stderr).toContain('✓ image');
    expect(built.code).toBe(0);
    const { digest } = await farm.registry.resolveManifest('team/app', 'try');
    expect(built.stdout).toBe(`${farm.host}/team/app:try@${digest}\n`);
    expect(await gitOk(work, 'status', '--porcelain')).toBe(before);
    expect(await gitOk(work, 'ls-remote', `${farm.url}/git/team/app.git`)).toBe('');
  });

  it('fails with the reason when App.yaml is broken, in a folder that is no git repository', async () => {
    await using shop = await createWorkshop();
    await using farm = await startFarm(shop);
    await writeFile(join(shop.path, 'App.yaml'), appYaml.replace('base:', 'bsae:'));

    const built = await brickyard(shop.path, farm.url, 'build', '--repository', 'team/app');

    expect(built.code).toBe(1);
    expect(built.stderr).toMatch(/App\.yaml:2:1 error/);
    expect(built.stderr).toContain('did you mean "base"');
  });

  it('lists builds, prints a log, cancels what waits and repeats what ended', async () => {
    await using shop = await createWorkshop();
    const work = await createWork(join(shop.path, 'work'));
    let id: string;
    {
      await using farm = await startFarm({ ...shop, work: false });
      await git(work, 'push', '-q', '-o', 'build.nowait', `${farm.url}/git/team/app.git`, 'main');
      const listed = await brickyard(shop.path, farm.url, 'builds', 'ls', '--json');
      const [build] = JSON.parse(listed.stdout) as { id: string; state: string; repository: string }[];
      expect(build).toMatchObject({ state: 'queued', repository: 'team/app' });
      id = build?.id ?? '';

      const cancelled = await brickyard(shop.path, farm.url, 'builds', 'cancel', id);

      expect(cancelled.stdout).toContain('cancelled');
    }
    await using farm = await startFarm(shop);
    await pushBase(farm.registry);
    const retried = await brickyard(shop.path, farm.url, 'builds', 'retry', id, '--json');
    const again = (JSON.parse(retried.stdout) as { id: string }).id;
    const followed = await brickyard(shop.path, farm.url, 'builds', 'logs', '-f', again);
    const read = await brickyard(shop.path, farm.url, 'builds', 'logs', again);
    const shown = await brickyard(shop.path, farm.url, 'builds', 'show', again);
    const dockerfile = await brickyard(shop.path, farm.url, 'builds', 'show', '--dockerfile', again);
    const record = await brickyard(shop.path, farm.url, 'builds', 'show', '--json', again);
    const ended = await brickyard(
      shop.path,
      farm.url,
      'builds',
      'ls',
      '--ref',
      'main',
      '--state',
      'succeeded',
    );
    const elsewhere = await brickyard(shop.path, farm.url, 'builds', 'ls', '--team', 'others');

    expect(followed.stdout).toContain('✓ tags      main, latest');
    expect(read.stdout).toBe(followed.stdout);
    expect(again).not.toBe(id);
    expect(shown.stdout).toMatch(/^state {7}succeeded$/m);
    expect(shown.stdout).toMatch(/^attempt 1 on \S+, succeeded\n {2}queue/m);
    expect(shown.stdout).toMatch(/^ {2}base {5}baseimages\/nodejs@sha256:[0-9a-f]{64}$/m);
    expect(dockerfile.stdout).toMatch(/^FROM baseimages\/nodejs@sha256:/m);
    expect(JSON.parse(record.stdout)).toMatchObject({
      id: again,
      record: [
        {
          outcome: 'succeeded',
          phases: { assemble: expect.any(Number) },
          apps: [{ repository: 'team/app' }],
        },
      ],
    });
    expect(ended.stdout.trim().split('\n')).toHaveLength(1);
    expect(ended.stdout).toContain(again);
    expect(elsewhere.stdout).toBe('');
    const counted = async (): Promise<boolean> =>
      (await farm.builder.figures.totals()).attempts.succeeded === 1;
    await waitFor(counted, { what: 'the totals of this worker' });
    const { phases, layers } = await farm.builder.figures.totals();
    expect(phases.assemble?.count).toBe(1);
    expect(layers.miss).toBeGreaterThan(0);
    expect(await farm.builder.figures.workers()).toMatchObject([{ busy: 0 }]);
  });

  it('tags nothing when a test fails, and hands out what the tests left', async () => {
    await using shop = await createWorkshop();
    await using farm = await startFarm({ ...shop, sandbox: failingTests });
    await pushBase(farm.registry);
    await writeFile(
      join(shop.path, 'App.yaml'),
      `${appYaml}test: {commands: [make check], artifacts: [r/*]}\n`,
    );

    const built = await brickyard(shop.path, farm.url, 'build', '--repository', 'team/app');
    const id = /build ([0-9a-f-]{36})/.exec(built.stderr)?.[1] ?? '';
    const fetched = await brickyard(shop.path, farm.url, 'builds', 'artifacts', id, '-o', 'reports');

    expect(built.code).toBe(1);
    expect(built.stderr).toContain('✗ test command 1 of 1 ended with exit code 2');
    await expect(farm.registry.resolveManifest('team/app', 'local')).rejects.toThrow();
    expect(fetched.stdout).toBe('     3 B  r/a b.xml\n');
    expect(await readFile(join(shop.path, 'reports/r/a b.xml'), 'utf8')).toBe('bad');
  });
});

/** Its tests leave a report and fail. */
const failingTests: Sandbox = {
  name: 'failing tests',
  async run({ keep }) {
    await keep?.([{ path: 'r/a b.xml', content: Buffer.from('bad') }]);
    throw new JobFailed('test command 1 of 1 ended with exit code 2');
  },
  runScript: () => Promise.reject(new Error('there is no script')),
};
