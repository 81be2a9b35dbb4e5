import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { createBuildLog } from '../../../builder/farm/build-log.ts';
import { timeOrderedId } from '../../../builder/git/time-ordered-id.ts';
import { run } from '../../../cli/main.ts';
import { createEventBus } from '../../../core/events.ts';
import { createSilentLogger } from '../../../core/log.ts';
import { createFilesystemStore } from '../../../core/object-store/filesystem.ts';
import { createEmbeddedQueue } from '../../../core/queue/embedded.ts';
import { commandEnvironment } from '../../helpers/brickyard-command.ts';
import { waitFor } from '../../helpers/process.ts';
import { startRouter } from '../../helpers/router.ts';
import { startServer, type TestServer } from '../../helpers/server.ts';

const payload = {
  version: 1,
  team: 't',
  app: 'a',
  ref: 'refs/heads/main',
  commit: 'c',
  pusher: 'p',
  sequence: 1,
};

it('a followed log comes whole and each line once, over kill -9 of the server that sends it, of another one, and of its worker', {
  timeout: 240_000,
}, async () => {
  const data = await mkdtemp(join(tmpdir(), 'brickyard-log-'));
  // The builds run here, as on another machine: no events reach the servers.
  const store = createFilesystemStore({ root: join(data, 'store') });
  const events = createEventBus();
  const queue = createEmbeddedQueue({ store, prefix: 'builds/', events, owner: 'test', leaseMs: 2000 });
  const id = timeOrderedId();
  await queue.add({ id, payload });
  const start = (port?: number): Promise<TestServer> =>
    startServer({
      data,
      args: ['registry', 'builder'],
      env: { BRICKYARD_PROCESSES: '1' },
      ...(port === undefined ? {} : { port }),
    });
  const servers = await Promise.all([start(), start()]);
  let alive = [0, 1];
  let lastAsked = 0;
  let requests = 0;
  const router = await startRouter(() => {
    lastAsked = alive[requests++ % alive.length] ?? 0;
    return { host: '127.0.0.1', port: servers[lastAsked]?.port ?? 0 };
  });
  let printed = '';
  let complaints = '';
  const command = run(['builds', 'logs', '-f', id], {
    stdout: (text) => void (printed += text),
    stderr: (text) => void (complaints += text),
    cwd: data,
    env: commandEnvironment({ home: data, server: router.url }),
  });
  const sees = (text: string): Promise<unknown> =>
    waitFor(() => Promise.resolve(printed.includes(text)), { what: text, timeoutMs: 100_000 });
  const expected: string[] = [];
  try {
    const deps = { store, events, log: createSilentLogger() };
    const write = (log: ReturnType<typeof createBuildLog>, fence: number, lines: number): void => {
      for (let line = 0; line < lines; line++) {
        const text = `attempt ${fence} line ${expected.length} ${'x'.repeat(60)}`;
        expected.push(text);
        log.line(text);
      }
    };
    const last = (): string => expected.at(-1) ?? '';
    const lost = createBuildLog(deps, id, 1);
    write(lost, 1, 3000);
    await sees(last());

    const first = lastAsked;
    alive = [1 - first];
    await servers[first]?.stop('SIGKILL');
    write(lost, 1, 500);
    await sees(last());

    // As its worker, whose last lines reached nobody.
    servers[first] = await start(servers[first]?.port);
    alive = [first];
    await servers[1 - first]?.stop('SIGKILL');
    const worker = queue.work(
      async (_job, context) => {
        const log = createBuildLog(deps, id, context.fence + 1);
        write(log, 2, 3000);
        await log.close({ end: true });
        return {};
      },
      { concurrency: 1 },
    );

    expect(await command).toBe(0);
    await worker.close();
  } finally {
    await router.close();
    for (const server of servers) await server.stop('SIGKILL');
    await rm(data, { recursive: true, force: true, maxRetries: 5 });
  }
  expect(printed.split('\n').slice(0, -1)).toEqual(expected);
  expect(complaints.split('\n').filter((line) => line !== '')).toHaveLength(2);
  expect(complaints).toContain('the log goes on when the server is back');
});
