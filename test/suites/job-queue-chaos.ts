import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { createEventBus } from '../../core/events.ts';
import { createFilesystemStore } from '../../core/object-store/filesystem.ts';
import type { JobRecord } from '../../core/queue/job-queue.ts';
import { openChaosQueue } from '../helpers/chaos-queue.ts';
import { createRandom, type Random } from '../helpers/fault-random.ts';
import { jain } from '../helpers/jain.ts';
import { waitFor } from '../helpers/process.ts';
import { createTempDirectory } from '../helpers/temp.ts';

export interface ChaosOptions {
  /** Processes that work, each on two jobs at once. */
  readonly workers?: number;
  /** How many of them are killed. */
  readonly kills?: number;
  /** Of the Redis that the processes use; without one they need only the store. */
  readonly url?: string;
  /** What happens beside the kills, in this order and at random moments. */
  readonly also?: readonly (() => Promise<void>)[];
  /** In any case. */
  readonly close?: () => Promise<void>;
}

const jobs = 500;
const flood = 400;
const others = 9;

/**
 * What every job queue must stand: many jobs of one team and a few of nine others, while processes are killed and whatever `also` says
 * happens. Seeded: FAULT_SEED repeats the order of what happens, though never its timing.
 */
export function jobQueueChaosSuite(name: string, prepare: () => Promise<ChaosOptions>): void {
  describe(`${name} under kill -9`, () => {
    it('ends every job once, serves ten teams fairly, and sets no tag back', async () => {
      const seed = process.env['FAULT_SEED'] ?? String(Date.now());
      process.stderr.write(`FAULT_SEED=${seed}\n`);
      const random = createRandom(seed);
      await using directory = await createTempDirectory('chaos');
      const options = await prepare();
      const farm = createProcesses(directory.path, options.url);
      try {
        const added = await addJobs(directory.path, random.fork('jobs'));
        const begun = Date.now();
        await farm.start(options.workers ?? 4);
        await disturb(farm, random.fork('faults'), options);
        const records = await untilEnded(directory.path, farm, added);
        await farm.stop();

        check(records, { notes: await farm.notes(), begun, mayRepeat: (options.kills ?? 6) * 2 });
        await checkStore(directory.path, records);
      } finally {
        await farm.stop();
        await options.close?.();
      }
    }, 300_000);
  });
}

/** `team-0` adds most of them; the others one in between now and then. */
async function addJobs(root: string, random: Random): Promise<readonly string[]> {
  const store = createFilesystemStore({ root: join(root, 'store') });
  const queue = openChaosQueue({ store, events: createEventBus() });
  const teams = Array.from({ length: jobs }, (_, index) =>
    index < flood ? 0 : 1 + ((index - flood) % others),
  );
  for (let at = teams.length - 1; at > 0; at--) {
    const other = random.below(at + 1);
    [teams[at], teams[other]] = [teams[other] ?? 0, teams[at] ?? 0];
  }
  const ids = teams.map((_, index) => `job-${String(index).padStart(4, '0')}`);
  // All of one tick share their time of birth, so that the order of adding does not count as waiting.
  await Promise.all(
    teams.map((team, index) => {
      const ref = `team-${team}/ref-${random.below(3)}`;
      return queue.add({
        id: ids[index] ?? '',
        payload: { ref, sequence: index, ms: random.between(2, 30) },
        tenant: `team-${team}`,
        // One of the flood's branches is pushed to again and again: most of that is never built.
        ...(ref === 'team-0/ref-0' && index % 4 === 0 && { group: ref, sequence: index }),
      });
    }),
  );
  store.close();
  return ids;
}

interface Processes {
  start(count: number): Promise<void>;
  /** Kills one of them as a power cut would, and starts another. */
  killOne(random: Random): Promise<void>;
  /** What they noted so far. */
  notes(): Promise<string[]>;
  stop(): Promise<void>;
}

function createProcesses(root: string, url: string | undefined): Processes {
  const running = new Map<string, ChildProcess>();
  const starting: Promise<void>[] = [];
  let started = 0;

  async function startOne(): Promise<void> {
    const owner = `worker-${started++}`;
    const program = join(import.meta.dirname, '../helpers/queue-process.ts');
    const child = fork(program, [root, owner, ...(url === undefined ? [] : [url])], {
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
      execArgv: [],
    });
    running.set(owner, child);
    // Each has its own connection where there is a Redis; here that is what other machines would be.
    child.on('message', (message: object | string) => {
      if (typeof message === 'string' || url !== undefined) return;
      for (const other of running.values()) if (other !== child && other.connected) other.send(message);
    });
    // It may be killed before it has begun.
    await Promise.race([once(child, 'message'), once(child, 'exit')]);
  }

  return {
    async start(count) {
      await Promise.all(Array.from({ length: count }, startOne));
    },
    async killOne(random) {
      const owner = random.pick([...running.keys()]);
      const child = running.get(owner) as ChildProcess;
      running.delete(owner);
      child.kill('SIGKILL');
      await once(child, 'exit');
      // The work does not stand still meanwhile.
      starting.push(startOne());
    },
    async notes() {
      const text = await readFile(join(root, 'notes'), 'utf8').catch(() => '');
      return text.split('\n').slice(0, -1);
    },
    async stop() {
      await Promise.all(starting);
      await Promise.all(
        [...running.entries()].map(async ([owner, child]) => {
          running.delete(owner);
          child.kill('SIGKILL');
          await once(child, 'exit');
        }),
      );
    },
  };
}

/** Kills and the rest, each when so many jobs have ended: spread over the first two thirds of the work. */
async function disturb(farm: Processes, random: Random, options: ChaosOptions): Promise<void> {
  const also = [...(options.also ?? [])];
  const count = (options.kills ?? 6) + also.length;
  const others = new Set<number>();
  while (others.size < also.length) others.add(random.below(count));
  for (let index = 0; index < count; index++) {
    const share = ((jobs * (index + random.below(100) / 100)) / count) * (2 / 3);
    await waitFor(async () => endings(await farm.notes()).length >= share, {
      what: `the end of ${Math.round(share)} jobs`,
      timeoutMs: 60_000,
    });
    const other = others.has(index) ? also.shift() : undefined;
    await (other?.() ?? farm.killOne(random));
  }
}

function endings(notes: readonly string[]): string[] {
  return notes.filter((line) => line.startsWith('ended '));
}

async function untilEnded(
  root: string,
  farm: Processes,
  ids: readonly string[],
): Promise<readonly JobRecord[]> {
  const store = createFilesystemStore({ root: join(root, 'store') });
  const queue = openChaosQueue({ store, events: createEventBus() });
  try {
    // A note may be missing, of a process that was killed before it wrote it.
    return await waitFor(
      async () => {
        if (endings(await farm.notes()).length < ids.length - 20) return undefined;
        const records = await Promise.all(ids.map((id) => queue.get(id)));
        const found = records.filter((record) => record !== undefined);
        const over = found.every(({ state }) => state !== 'queued' && state !== 'running');
        return over && found.length === ids.length && found;
      },
      { what: 'the end of all jobs', timeoutMs: 90_000 },
    );
  } finally {
    store.close();
  }
}

interface Run {
  readonly notes: readonly string[];
  /** When all jobs were there, and the first worker came: what they waited before is the same for all, and would hide unfairness. */
  readonly begun: number;
  readonly mayRepeat: number;
}

function check(records: readonly JobRecord[], { notes, begun, mayRepeat }: Run): void {
  const states = Map.groupBy(records, (record) => record.state);
  const superseded = states.get('superseded') ?? [];
  expect([...states.keys()].filter((state) => state !== 'succeeded' && state !== 'superseded')).toEqual([]);
  expect(superseded.filter(({ payload }) => payload['ref'] !== 'team-0/ref-0')).toEqual([]);
  // Each ended once, whoever wrote it, and no worker pushed what another one had taken over.
  const ends = endings(notes).map((line) => line.split(' ')[1]);
  expect(ends.length).toBe(new Set(ends).size);
  expect(notes.filter((line) => line.startsWith('late '))).toEqual([]);
  // The dispatcher is in one of the processes: what the others did came to them over the channel.
  const hints = notes.filter((line) => line.startsWith('hint ')).length;
  expect(hints).toBeGreaterThan(100);
  // Only what ran on a killed worker was begun again.
  const again = records.reduce((sum, { attempts }) => sum + Math.max(0, attempts - 1), 0);
  expect(again).toBeLessThanOrEqual(mayRepeat);

  const waiting = Array.from({ length: others }, (_, index) =>
    meanWait(
      records.filter(({ tenant }) => tenant === `team-${index + 1}`),
      begun,
    ),
  );
  const flooded = meanWait(
    records.filter(({ tenant }) => tenant === 'team-0'),
    begun,
  );
  process.stderr.write(
    `Jain index ${jain(waiting).toFixed(3)}; others waited ${Math.round(mean(waiting))} ms, the flood ${Math.round(flooded)} ms; ${again} begun again, ${superseded.length} superseded, ${hints} hints\n`,
  );
  expect(jain(waiting)).toBeGreaterThanOrEqual(0.9);
  expect(mean(waiting)).toBeLessThan(flooded);
}

async function checkStore(root: string, records: readonly JobRecord[]): Promise<void> {
  const store = createFilesystemStore({ root: join(root, 'store') });
  try {
    const done = records.filter(({ state }) => state === 'succeeded');
    const effects = await store.list({ prefix: 'effects/' });
    expect(effects.objects.map(({ key }) => key)).toEqual(done.map(({ id }) => `effects/${id}`).toSorted());
    const byRef = Map.groupBy(done, ({ payload }) => payload['ref'] as string);
    for (const [ref, builds] of byRef) {
      const newest = Math.max(...builds.map(({ payload }) => Number(payload['sequence'])));
      expect([ref, Number((await store.get(`tags/${ref}`))?.body.toString())]).toEqual([ref, newest]);
    }
  } finally {
    store.close();
  }
}

function meanWait(records: readonly JobRecord[], begun: number): number {
  return mean(
    records.flatMap(({ startedAt }) => (startedAt === undefined ? [] : [Date.parse(startedAt) - begun])),
  );
}

function mean(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0) / values.length;
}
