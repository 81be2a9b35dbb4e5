import { randomBytes } from 'node:crypto';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { createFaultClient } from '../../helpers/fault-client.ts';
import { createFaultGit, pushBaseImage } from '../../helpers/fault-git.ts';
import { ConnectionLost, createHttp } from '../../helpers/fault-http.ts';
import { createRandom } from '../../helpers/fault-random.ts';
import { childrenOf, processesOfGroup, restartServer, type ServerChild } from '../../helpers/fault-server.ts';
import { waitFor } from '../../helpers/process.ts';
import { createTempDirectory } from '../../helpers/temp.ts';

// What is counted: SIGKILLs that were sent while clients worked, either to the
// whole process group (as a power cut of the program; then the next server starts on the same data), or to one child of the
// supervisor, which starts another. Both kinds add up to FAULT_KILLS (default 200). FAULT_SEED repeats the operations, contents, victims and
// delays of an earlier run; what is under way at a given kill also depends on the machine.
const kills = Number(process.env['FAULT_KILLS'] ?? 200);
const seed = process.env['FAULT_SEED'] ?? randomBytes(4).toString('hex');
const httpProcesses = 3;
const clientNames = ['a', 'b', 'c'];

interface Load {
  readonly name: string;
  /** After a restart of the whole server: compares, then says which start it has seen. */
  settledStart: number;
  readonly done: Promise<void>;
}

it(`loses nothing acknowledged when killed at ${kills} random moments (FAULT_SEED=${seed})`, async () => {
  await using directory = await createTempDirectory('kill');
  const data = join(directory.path, 'data');
  const random = createRandom(seed);
  const env = {
    BRICKYARD_DATA: data,
    BRICKYARD_PROCESSES: String(httpProcesses),
    // Halves what a start costs. Node writes it when a process ends by itself, so one server does that first.
    NODE_COMPILE_CACHE: join(directory.path, 'compiled'),
  };
  await (await restartServer({ data: directory.path, env })).stop();
  let server = await restartServer({ data: directory.path, env });
  const base = (): string => server.url;
  const clients = clientNames.map((name) => {
    const http = createHttp(base);
    return { http, client: createFaultClient(http, name, random.fork(name)) };
  });
  const http = createHttp(base);
  const git = await createFaultGit({
    folder: directory.path,
    repository: 'kill/app',
    base,
    http,
    random: random.fork('git'),
  });
  await pushBaseImage(http);

  const control = { up: true, start: 1, kills: 0, cacheWiped: false, stopping: false };
  let fault: Error | undefined;
  const counts = { group: 0, http: 0, worker: 0, interrupted: 0, wiped: 0, respawnsAwaited: 0 };

  const startLoad = (
    name: string,
    work: { step(): Promise<void>; settle(): Promise<void>; check(): Promise<void> },
  ): Load => {
    const run = async (): Promise<void> => {
      let unsettled = false;
      let killsSeen = 0;
      while (!control.stopping && fault === undefined) {
        await waitFor(() => control.up || fault !== undefined, {
          what: 'the next server',
          timeoutMs: 60_000,
        });
        const { start } = control;
        try {
          if (unsettled || load.settledStart !== start) {
            await work.settle();
            unsettled = false;
            if (load.settledStart !== start) await work.check();
            load.settledStart = start;
          }
          const before = control.kills;
          await work.step();
          killsSeen = before;
        } catch (error) {
          unsettled = true;
          if (error instanceof ConnectionLost && control.kills > killsSeen) {
            counts.interrupted++;
            continue;
          }
          fault ??= new Error(`client ${name}: ${describe(error)}`, { cause: error });
        }
      }
      // What the last kills cut off is looked at, too.
      for (let tries = 1; unsettled && fault === undefined; tries++) {
        try {
          await work.settle();
          unsettled = false;
        } catch (error) {
          if (!(error instanceof ConnectionLost) || tries === 20) fault ??= error as Error;
        }
      }
    };
    const load: Load = { name, settledStart: 1, done: Promise.resolve() };
    return Object.assign(load, { done: run() });
  };

  const loads = [
    ...clients.map(({ client }, index) => startLoad(clientNames[index] ?? '', client)),
    startLoad('git', {
      step: () => git.step(),
      settle: async () => {
        const { cacheWiped } = control;
        await git.settle(cacheWiped);
        if (cacheWiped) control.cacheWiped = false;
      },
      check: async () => {},
    }),
  ];
  const ok = (): void => {
    if (fault !== undefined) throw fault;
  };

  /** One child dies at a random moment while the others serve. */
  const killChild = async (fresh: Set<number>, started?: readonly ServerChild[]): Promise<boolean> => {
    const children = (await childrenOf(server)).filter(({ pid }) => fresh.has(pid));
    const serving = children.filter(({ kind }) => kind === 'http');
    // One that is known to serve stays. Those that were started again may still be starting: they may always die.
    const candidates =
      started ?? (serving.length > 1 ? children : children.filter(({ kind }) => kind === 'worker'));
    if (candidates.length === 0) return false;
    const victim = random.pick(candidates);
    await delay(random.below(220));
    ok();
    control.kills++;
    counts[victim.kind]++;
    process.kill(victim.pid, 'SIGKILL');
    fresh.delete(victim.pid);
    await waitFor(
      async () => {
        const probe = createHttp(base, 10_000);
        try {
          return (await probe.send('GET', '/v2/')).status === 200;
        } catch (error) {
          // The connection had just been handed to the child that died.
          if (error instanceof ConnectionLost) return false;
          throw error;
        } finally {
          probe.close();
        }
      },
      { what: 'the other processes serve on' },
    );
    return true;
  };

  const killGroup = async (): Promise<void> => {
    await delay(random.below(250));
    ok();
    control.up = false;
    control.kills++;
    counts.group++;
    const old = server;
    await old.stop('SIGKILL');
    await waitFor(async () => (await processesOfGroup(old.process.pid ?? 0)).length === 0, {
      what: 'all have died',
    });
    if (random.chance(0.25)) {
      await rm(join(data, 'cache'), { recursive: true, force: true });
      counts.wiped++;
      control.cacheWiped = true;
    }
    const port = random.chance(0.5) ? { port: old.port } : {};
    server = await restartServer({ data: directory.path, ...port, env });
    control.start++;
    control.up = true;
    await waitFor(
      () => fault !== undefined || loads.every(({ settledStart }) => settledStart === control.start),
      {
        what: 'every client has compared',
        timeoutMs: 60_000,
      },
    );
    ok();
  };

  try {
    while (control.kills < kills) {
      const fresh = new Set((await childrenOf(server)).map(({ pid }) => pid));
      for (let more = random.between(2, 3); more > 0 && control.kills < kills - 1; more--)
        await killChild(fresh);
      if (random.chance(0.2) && control.kills < kills - 1) {
        await waitFor(async () => (await childrenOf(server)).length === httpProcesses + 1, {
          what: 'the supervisor started the children again',
        });
        counts.respawnsAwaited++;
        await killChild(
          fresh,
          (await childrenOf(server)).filter(({ pid }) => !fresh.has(pid)),
        );
      }
      await killGroup();
    }
  } catch (error) {
    fault ??= error as Error;
  }
  control.stopping = true;
  control.up = true;
  await Promise.all(loads.map(({ done }) => done));
  try {
    ok();
    for (const { client } of clients) await client.checkAll();
    await git.settle(true);
    const again = await git.waitForBuilds();
    report({
      ...counts,
      pushes: git.acknowledged(),
      buildsAskedForAgain: again,
      resumed: clients.reduce((sum, { client }) => sum + client.resumed(), 0),
      ...total(clients.map(({ client }) => client.acknowledged)),
    });
    expect(counts.group + counts.http + counts.worker).toBe(kills);
    await server.stop();
    expect(await processesOfGroup(server.process.pid ?? 0)).toEqual([]);
  } catch (error) {
    throw new Error(`${describe(error)}\n${server.output().slice(-4000)}`, { cause: error });
  } finally {
    await server.stop('SIGKILL');
    for (const each of [http, ...clients.map((client) => client.http)]) each.close();
  }
}, 900_000);

function total(maps: readonly ReadonlyMap<string, number>[]): Record<string, number> {
  const sums: Record<string, number> = {};
  for (const map of maps) for (const [name, count] of map) sums[name] = (sums[name] ?? 0) + count;
  return sums;
}

function describe(error: unknown): string {
  return `FAULT_SEED=${seed}: ${error instanceof Error ? error.message : String(error)}`;
}

function report(counts: Record<string, number>): void {
  const text = Object.entries(counts).map(([name, count]) => `${name} ${count}`);
  process.stderr.write(`kills: FAULT_SEED=${seed}: ${text.join(', ')}\n`);
}
