import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { waitFor } from '../helpers/process.ts';
import { startServer, type TestServer } from '../helpers/server.ts';
import { createWork } from '../integration/builder/farm-fixture.ts';
import {
  createRecorder,
  createWorkshop,
  type GitServer,
  gitOk,
  serveGit,
} from '../integration/builder/git-fixture.ts';
import { github, githubPush } from '../unit/builder/triggers/payloads.ts';

const secret = '0123456789abcdef0123456789abcdef';
let shop: Awaited<ReturnType<typeof createWorkshop>>;
let elsewhere: GitServer;
let server: TestServer;
let source: string;

beforeAll(async () => {
  shop = await createWorkshop();
  elsewhere = await serveGit({ ...shop, listener: createRecorder() });
  source = `${elsewhere.url}/git/example/web.git`;
  await writeFile(join(shop.path, 'secret'), `${secret}\n`);
  server = await startServer({ env: environment() });
});

function environment(): Record<string, string> {
  const trigger = {
    app: 'shop/web',
    provider: 'github',
    url: source,
    secretFiles: [join(shop.path, 'secret')],
    insecureHttp: true,
    privateNetwork: true,
  };
  return {
    BRICKYARD_PROCESSES: '2',
    BRICKYARD_BUILDER_ENGINE: 'none',
    BRICKYARD_BUILDER_TRIGGERS: JSON.stringify([trigger]),
  };
}

afterAll(async () => {
  await server.remove();
  await elsewhere.close();
  await shop[Symbol.asyncDispose]();
});

describe('a server with a trigger', () => {
  it('takes a webhook in one process, works it off in another, and queues the build', async () => {
    const work = await createWork(join(shop.path, 'work'));
    await gitOk(work, 'push', '-q', source, 'main');
    const commit = (await gitOk(work, 'rev-parse', 'HEAD')).trim();
    const { headers, body } = github('push', { ...githubPush, after: commit }, secret);

    const taken = await fetch(`${server.url}/hooks/github`, {
      method: 'POST',
      headers,
      body: new Uint8Array(body),
    });
    const { url } = (await taken.json()) as { url: string };
    const over = await waitFor(
      async () => {
        const delivery = (await (await fetch(url)).json()) as {
          finishedAt?: string;
          state: string;
          refs: { build: string }[];
        };
        return delivery.finishedAt === undefined ? undefined : delivery;
      },
      { what: 'the delivery', timeoutMs: 60_000 },
    );

    expect(taken.status).toBe(202);
    expect(over).toMatchObject({ state: 'succeeded', refs: [{ ref: 'refs/heads/main', outcome: 'queued' }] });
    const build = await fetch(`${server.url}/api/v1/builds/${over.refs[0]?.build}`);
    expect(await build.json()).toMatchObject({ repository: 'shop/web', commit, pusher: 'github:octocat' });
  });

  it('does not start with a git that could be led elsewhere by a name server', async () => {
    const bin = join(shop.path, 'bin');
    await mkdir(bin);
    await writeFile(join(bin, 'git'), '#!/bin/sh\necho git version 2.30.2\n', { mode: 0o755 });

    const starting = startServer({
      data: bin,
      env: { ...environment(), PATH: `${bin}:${process.env['PATH']}` },
    });

    await expect(starting).rejects.toThrow(/builder\.triggers needs git 2\.37 or newer.*2\.30\.2/);
  });
});
