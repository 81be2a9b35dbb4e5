import { randomBytes } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { buildJob } from '../../../builder/farm/build-job.ts';
import { timeOrderedId } from '../../../builder/git/time-ordered-id.ts';
import { createEventBus } from '../../../core/events.ts';
import { createFilesystemStore } from '../../../core/object-store/filesystem.ts';
import { createEmbeddedQueue } from '../../../core/queue/embedded.ts';
import type { JobQueue } from '../../../core/queue/job-queue.ts';
import { createRegistryClient } from '../../../oci/client.ts';
import { pushBase } from '../../integration/builder/farm-fixture.ts';
import { run } from '../http.ts';
import { alternate, type Comparison, type Sample, timed } from '../measure.ts';
import { type BenchRegistry, startBrickyard } from '../peers.ts';

/** Applications that are built at the same time, of a team each, with so many new files; rebuilds that wait, and pushes meanwhile. */
const sizes = {
  whole: { apps: 20, files: 1500, rebuilds: 200, pushes: 20 },
  quick: { apps: 4, files: 50, rebuilds: 20, pushes: 5 },
};

interface FarmBench {
  readonly scratch: string;
  readonly pairs: number;
  readonly quick: boolean;
  readonly say: (line: string) => void;
}

/**
 * What the farm promises on a small machine: many builds at once take no longer than one after another, and somebody who pushes does not feel
 * the rebuilds that wait. Builds without commands: what is compared is the farm, not a container engine.
 */
export async function farmUnderLoad(bench: FarmBench): Promise<Comparison[]> {
  bench.say('many builds at once, and one after another …');
  const together = await manyAtOnce(bench);
  bench.say('pushes on an idle farm, and during rebuilds …');
  return [together, await pushDuringStorm(bench)];
}

async function manyAtOnce({ scratch, pairs, quick, say }: FarmBench): Promise<Comparison> {
  const { apps, files } = sizes[quick ? 'quick' : 'whole'];
  const start = (concurrency: number): Promise<Farm> =>
    startFarm(scratch, { BRICKYARD_BUILDER_CONCURRENCY: String(concurrency) });
  const [many, one] = [await start(apps), await start(1)];
  try {
    const round = async (farm: Farm, pair: number): Promise<Sample> => {
      const folders = await Promise.all(
        Array.from({ length: apps }, (_, index) => writeApp(farm, index, { files, round: pair })),
      );
      const sample = await timed(farm.server.pid, async () => {
        const ids = await Promise.all(folders.map((folder, index) => push(farm, folder, index, 'nowait')));
        await untilEnded(farm.queue, ids);
      });
      say(`  ${farm === many ? 'at once' : 'in turn'}: ${sample.value.toFixed(1)} s`);
      return sample;
    };
    // The first round starts the processes, which stay.
    const samples = await alternate(
      { pairs, warmUp: 1 },
      (pair) => round(many, pair),
      (pair) => round(one, pair),
    );
    return {
      name: `${apps} builds of ${files} new files at once`,
      unit: 's',
      better: 'lower',
      target: 0.9,
      peerName: 'one after another',
      ...samples,
    };
  } finally {
    await Promise.all([many.stop(), one.stop()]);
  }
}

async function pushDuringStorm({ scratch, quick, say }: FarmBench): Promise<Comparison> {
  const farm = await startFarm(scratch, { BRICKYARD_BUILDER_CONCURRENCY: '2' });
  const { rebuilds, pushes } = sizes[quick ? 'quick' : 'whole'];
  try {
    let pushed = 0;
    const oneLine = async (): Promise<Sample> => {
      pushed += 1;
      const folder = await writeApp(farm, 0, { files: 1, round: pushed });
      return timed(farm.server.pid, async () => void (await push(farm, folder, 0, 'wait')));
    };
    const storm = await writeApp(farm, 1, { files: 50, round: 0 });
    const first = await push(farm, storm, 1, 'nowait');
    await untilEnded(farm.queue, [first]);
    const payload = (await farm.queue.get(first))?.payload ?? {};
    // Compiled, and with the processes that they need.
    for (let warm = 0; warm < 5; warm++) await oneLine();
    const idle: Sample[] = [];
    for (let count = 0; count < pushes; count++) idle.push(await oneLine());
    const busy: Sample[] = [];
    while (busy.length < pushes) {
      const ids = await Promise.all(
        Array.from({ length: rebuilds }, async () => {
          const wave = {
            id: timeOrderedId(),
            repository: 'team1/app1',
            baseKey: randomBytes(4).toString('hex'),
          };
          const job = buildJob(timeOrderedId(), { ...payload, wave }, 'rebuild');
          return (await farm.queue.add(job)).id;
        }),
      );
      const last = ids.at(-1) ?? '';
      while (busy.length < pushes && (await farm.queue.get(last))?.finishedAt === undefined) {
        busy.push(await oneLine());
      }
      if (busy.length === pushes) await Promise.all(ids.map((id) => farm.queue.cancel(id, 'measured')));
    }
    const sides = { idle: p95(idle), busy: p95(busy) };
    say(`  p95 ${sides.idle.value.toFixed(3)} s idle, ${sides.busy.value.toFixed(3)} s during rebuilds`);
    return {
      name: `p95 of ${pushes} pushes during ${rebuilds} rebuilds`,
      unit: 's',
      better: 'lower',
      target: 0.5,
      peerName: 'on an idle farm',
      ours: [sides.busy],
      peer: [sides.idle],
    };
  } finally {
    await farm.stop();
  }
}

function p95(samples: readonly Sample[]): Sample {
  const sorted = samples.toSorted((a, b) => a.value - b.value);
  return sorted[Math.ceil(sorted.length * 0.95) - 1] ?? { value: Number.NaN, cpuSeconds: Number.NaN };
}

interface Farm {
  readonly server: BenchRegistry;
  /** Of the server's store, to look at builds and to add some without a request. */
  readonly queue: JobQueue;
  readonly folder: string;
  stop(): Promise<void>;
}

async function startFarm(scratch: string, env: Readonly<Record<string, string>>): Promise<Farm> {
  const server = await startBrickyard(scratch, { BRICKYARD_BUILDER_ENGINE: 'none', ...env });
  const registry = createRegistryClient({ url: server.url });
  await pushBase(registry, 100_000);
  registry.close();
  const queue = createEmbeddedQueue({
    store: createFilesystemStore({ root: join(server.data, 'store') }),
    prefix: 'builds/',
    events: createEventBus(),
    owner: 'bench',
  });
  return { server, queue, folder: join(server.data, 'bench-apps'), stop: () => server.stop() };
}

/** Commits an application whose first `files` files are new in each round, of 10 KB that do not compress. */
async function writeApp(
  farm: Farm,
  index: number,
  { files, round }: { files: number; round: number },
): Promise<string> {
  const folder = join(farm.folder, `app${index}`);
  await mkdir(join(folder, 'lib'), { recursive: true });
  const appYaml = `appname: app${index}\nbase: nodejs:26\nentrypoints:\n  web:\n    cmd: node server.js\n`;
  await writeFile(join(folder, 'App.yaml'), appYaml);
  for (let file = 0; file < files; file++) {
    await writeFile(
      join(folder, 'lib', `part${file}.js`),
      `// ${round}\n${randomBytes(7500).toString('base64')}\n`,
    );
  }
  await git(folder, 'init', '--quiet', '--initial-branch=main');
  await git(folder, 'add', '--all');
  const author = ['-c', 'user.name=Bench', '-c', 'user.email=bench@localhost'];
  await git(folder, ...author, 'commit', '--quiet', '--message', `round ${round}`);
  return folder;
}

/** Returns the build's id where it does not wait for the end. */
async function push(farm: Farm, folder: string, index: number, how: 'wait' | 'nowait'): Promise<string> {
  const options = how === 'nowait' ? ['-o', 'build.nowait'] : [];
  const url = `${farm.server.url}/git/team${index}/app${index}.git`;
  // git says what the server says on standard error.
  const said = await run('sh', ['-c', 'exec git push --force "$@" 2>&1', 'git', ...options, url, 'main'], {
    cwd: folder,
  });
  if (how === 'wait') return '';
  const id = /build (\S+) is queued/.exec(said)?.[1];
  if (id === undefined) throw new Error(`no build was queued:\n${said}`);
  return id;
}

async function untilEnded(queue: JobQueue, ids: readonly string[]): Promise<void> {
  for (const id of ids) {
    for (;;) {
      const job = await queue.get(id);
      if (job?.state === 'succeeded') break;
      if (job?.finishedAt !== undefined) throw new Error(`build ${id} ${job.state}: ${job.error}`);
      await delay(20);
    }
  }
}

function git(cwd: string, ...args: string[]): Promise<string> {
  return run('git', args, { cwd });
}
