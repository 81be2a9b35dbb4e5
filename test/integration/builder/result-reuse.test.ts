import { join } from 'node:path';
import { Readable } from 'node:stream';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Sandbox } from '../../../builder/engines/engine.ts';
import { commitFiles, createWork, type Farm, pushBase, startFarm } from './farm-fixture.ts';
import { createWorkshop, gitOk, git as runGit } from './git-fixture.ts';

const appYaml = `appname: app
base: nodejs:26
build: make
test: make check
entrypoints:
  web:
    cmd: node server.js
`;

/** Says what it was asked to run, and waits while `gate` is not open; the image then holds the source alone. */
function createCountingSandbox() {
  const ran: string[] = [];
  const gate = { open: Promise.resolve() };
  const sandbox: Sandbox = {
    name: 'counting',
    async run({ step, test }, { signal }) {
      ran.push([...(step?.commands ?? []), ...(test?.commands ?? [])].join(', '));
      await gate.open;
      signal.throwIfAborted();
      return Readable.from([Buffer.alloc(1024)], { objectMode: false });
    },
    runScript: () => Promise.reject(new Error('there is no static script')),
  };
  return { ran, gate, sandbox };
}

describe('an image whose commands have run over the same files', () => {
  const { ran, gate, sandbox } = createCountingSandbox();
  let shop: Awaited<ReturnType<typeof createWorkshop>>;
  let farm: Farm;
  let work: string;

  beforeAll(async () => {
    shop = await createWorkshop();
    farm = await startFarm({ ...shop, sandbox });
    await pushBase(farm.registry);
    work = await createWork(join(shop.path, 'work'), { 'App.yaml': appYaml, 'server.js': 'one\n' });
  });
  afterAll(async () => {
    await farm.close();
    await shop[Symbol.asyncDispose]();
  });

  const push = async (...args: string[]): Promise<string> =>
    (await runGit(work, 'push', `${farm.url}/git/team/app.git`, ...args)).stderr;
  const digestOfTag = async (tag: string, repository = 'team/app'): Promise<string> =>
    (await farm.registry.resolveManifest(repository, tag)).digest;

  it('is not made again for another branch, a git tag or a revert, and is for what differs', async () => {
    await push('main');
    expect(ran).toEqual(['make, make check']);
    const first = await digestOfTag('main');

    const branch = await push('main:refs/heads/release');
    await gitOk(work, 'tag', 'v1');
    await push('v1');
    await commitFiles(work, { 'server.js': 'two\n' });
    await push('main');
    expect(ran).toHaveLength(2);
    const second = await digestOfTag('main');
    await gitOk(work, 'revert', '--no-edit', 'HEAD');
    await push('main');

    expect(branch).toMatch(/= build \S+ ran the same commands over the same files: nothing to make/);
    expect(await digestOfTag('release')).toBe(first);
    expect(await digestOfTag('v1')).toBe(first);
    expect(second).not.toBe(first);
    expect(await digestOfTag('main')).toBe(first);
    expect(ran).toHaveLength(2);
  });

  it('is tested again when only the tests were changed', async () => {
    ran.length = 0;
    await commitFiles(work, { 'App.yaml': appYaml.replace('make check', 'make check-all') });

    await push('main');

    expect(ran).toEqual(['make, make check-all']);
  });

  it('is made again when somebody repeats a build that succeeded, and then no other', async () => {
    ran.length = 0;
    const [newest] = await farm.builder.builds.list({ limit: 1 });
    const again = await farm.builder.builds.retry(newest?.id ?? '');
    for await (const _ of farm.builder.builds.log(again?.id ?? '').lines(AbortSignal.timeout(60_000)));

    await push('main:refs/heads/after');

    expect(ran).toHaveLength(1);
  });

  it('is nobody else’s: another team with the same files runs its own commands', async () => {
    ran.length = 0;

    await runGit(work, 'push', `${farm.url}/git/other/app.git`, 'main');

    expect(ran).toHaveLength(1);
    expect(await digestOfTag('main', 'other/app')).toMatch(/^sha256:/);
  });

  it('is waited for while another build is just making it', async () => {
    ran.length = 0;
    await commitFiles(work, { 'server.js': 'three\n' });
    let open: () => void = () => {};
    gate.open = new Promise((resolve) => {
      open = resolve;
    });
    const pushes = [push('main'), push('main:refs/heads/twin')];
    // One of them is in its commands, the other says that it waits.
    const waiting = (async () => {
      for (;;) {
        const builds = await farm.builder.builds.list({ limit: 2 });
        for (const { id } of builds) {
          for await (const line of farm.builder.builds.log(id).stored(AbortSignal.timeout(60_000))) {
            if (/is just making the same: waiting for it/.test(line)) return;
          }
        }
      }
    })();
    await waiting;
    open();
    await Promise.all(pushes);

    expect(ran).toHaveLength(1);
    expect(await digestOfTag('twin')).toBe(await digestOfTag('main'));
  });
});
