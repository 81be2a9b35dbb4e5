import { mkdir, rm } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { baseImageCache, buildBaseImages } from '../../../builder/catalog/build-base-images.ts';
import { createDockerEngine } from '../../../builder/engines/docker.ts';
import { createSilentLogger } from '../../../core/log.ts';
import { createRegistryClient } from '../../../oci/client.ts';
import type { Registry } from '../../../oci/registry.ts';
import { startDockerd } from '../../helpers/dockerd.ts';
import { pushBaseImage } from '../class-change/base-image.ts';
import { allCpuSeconds } from '../class-change/cpu.ts';
import { changeSource, writeJavaApp, writeJavaSource } from '../class-change/java-app.ts';
import { type Measured, rounds, table } from '../class-change/rounds.ts';
import {
  buildahBuild,
  craneAppend,
  dockerBuild,
  gitPush,
  jibBuild,
  type Side,
} from '../class-change/sides.ts';
import { type BenchRegistry, startBrickyard } from '../peers.ts';

export interface ClassChangeOptions {
  /** `class-change`: all tables; `class-change-peers`, `-compiled`, `-cold`, `-bases`: some of them. */
  readonly selected: ReadonlySet<string>;
  readonly scratch: string;
  readonly pairs: number;
  /** A largest base of 0.5 instead of 2 GB. */
  readonly quick: boolean;
  readonly say: (line: string) => void;
}

interface Setting extends ClassChangeOptions {
  readonly server: BenchRegistry;
  readonly registry: Registry;
}

const megabyte = 1_000_000;
const root = resolve(import.meta.dirname, '../../..');

const tablesByName = {
  peers: besidePeers,
  compiled: withCompilation,
  cold: withoutCache,
  bases: overBases,
} as const;

/**
 * One compiled class changes in an app with 60 MB of libraries: seconds until the image can be pulled, beside those who build the same image otherwise;
 * then without local caches, and over bases of different sizes. Returns tables in Markdown.
 */
export async function classChange(options: ClassChangeOptions): Promise<string> {
  const server = await startBrickyard(options.scratch);
  const registry = createRegistryClient({ url: server.url });
  const { selected } = options;
  const setting = { ...options, server, registry };
  try {
    options.say('base …');
    await pushBaseImage(registry, '200mb', 200 * megabyte);
    const tables: string[] = [];
    for (const [name, part] of Object.entries(tablesByName)) {
      if (selected.has('class-change') || selected.has(`class-change-${name}`)) {
        tables.push(await part(setting));
      }
    }
    return tables.join('\n\n');
  } finally {
    registry.close();
    await server.stop();
  }
}

async function besidePeers(setting: Setting): Promise<string> {
  const app = await newApp(setting, { base: 'java:200mb', appname: 'shop' });
  const options = { ...setting, app, base: 'baseimages/java:200mb' };
  const sides: Side[] = [];
  try {
    sides.push(await gitPush({ ...options, appname: 'shop' }));
    sides.push(await dockerBuild(options));
    sides.push(await buildahBuild(options));
    for (const side of [await craneAppend(options), await jibBuild(options)]) {
      if (side !== undefined) sides.push(side);
    }
    const samples = await rounds(
      sides.map((side) => ({ name: side.name, run: measured(setting, side) })),
      { ...setting, warmUp: 2 },
    );
    return table('One class changed: commit → image can be pulled', samples, {
      judge: (name) =>
        sides.some((side) => side.name === name && side.fromSource) ? '≥ 5×' : 'appends a ready archive only',
    });
  } finally {
    for (const side of sides) await side.stop();
  }
}

/** The source of the class changes, and all of it is compiled: by `build:` commands in the catalog's JDK, and in the stage that the printed Dockerfile has. */
async function withCompilation(setting: Setting): Promise<string> {
  const engine = await startDockerd();
  const started = await startBrickyard(setting.scratch, { BRICKYARD_BUILDER_ENGINE: engine.socketPath });
  const registry = createRegistryClient({ url: started.url });
  try {
    setting.say('base images with a JDK …');
    const docker = await createDockerEngine({
      socket: engine.socketPath,
      registry,
      log: createSilentLogger(),
    });
    if (docker === undefined) throw new Error(engine.output());
    const { levels } = docker;
    await buildBaseImages({
      catalogDir: join(root, 'baseimages'),
      names: ['jdk:17', 'jdk-build:17'],
      registry,
      cacheDir: baseImageCache(join(root, '.brickyard/bench-cache')),
      sandbox: async () => levels,
    });
    const app = join(setting.scratch, 'app-compiled');
    await mkdir(app);
    await writeJavaSource(app, { base: 'jdk:17', appname: 'compiled' });
    const options = { ...setting, server: started, registry, app, change: changeSource };
    const sides = [await gitPush({ ...options, appname: 'compiled' }), await dockerBuild(options, engine)];
    const samples = await rounds(
      sides.map((side) => ({
        name: side.name,
        run: measured({ ...setting, server: started, registry }, side),
      })),
      { ...setting, warmUp: 2 },
    );
    return table('One source file changed, 400 compiled', samples, { judge: () => 'none' });
  } finally {
    registry.close();
    await started.stop();
    await engine.stop();
  }
}

/** What a worker keeps on its own disk is the bare repository; layers and packs are in the store. */
async function withoutCache(setting: Setting): Promise<string> {
  const app = await newApp(setting, { base: 'java:200mb', appname: 'cold' });
  const side = await gitPush({ ...setting, app, appname: 'cold' });
  const warm = measured(setting, side);
  const repositories = join(setting.server.data, 'cache/git/repositories');
  const samples = await rounds(
    [
      { name: 'with the repository on its disk', run: warm },
      {
        name: 'without',
        run: async (version) => {
          await rm(repositories, { recursive: true, force: true });
          return warm(version);
        },
      },
    ],
    { ...setting, warmUp: 2 },
  );
  return table('The same on a server without any local cache', samples, {
    judge: () => '≤ 1.5 times as long',
  });
}

async function overBases(setting: Setting): Promise<string> {
  const sizes = setting.quick ? [100, 500] : [100, 2000];
  const sides = [];
  for (const size of sizes) {
    const [channel, appname] = [`${size}mb-sweep`, `base-${size}`];
    setting.say(`base of ${size} MB …`);
    await pushBaseImage(setting.registry, channel, size * megabyte);
    const app = await newApp(setting, { base: `java:${channel}`, appname });
    const side = await gitPush({ ...setting, app, appname });
    sides.push({ name: `base of ${size} MB`, run: measured(setting, side) });
  }
  const samples = await rounds(sides, { ...setting, warmUp: 2 });
  return table('The same over bases of different sizes', samples, { judge: () => 'within 10 %' });
}

async function newApp(
  { scratch }: Setting,
  options: { readonly base: string; readonly appname: string },
): Promise<string> {
  const folder = join(scratch, `app-${options.appname}`);
  await mkdir(folder);
  await writeJavaApp(folder, options);
  return folder;
}

/** Changes the class, runs the side, and makes sure that there is a new image afterwards. */
function measured({ server, registry }: Setting, side: Side): (version: string) => Promise<Measured> {
  let before: string | undefined;
  let changes = 0;
  return async (version) => {
    await side.change(`${side.name}, ${version}, change ${changes++}`);
    const daemons = [server.pid, ...side.daemons];
    const cpu = allCpuSeconds(daemons);
    const start = performance.now();
    await side.run();
    const seconds = (performance.now() - start) / 1000;
    const cpuSeconds = allCpuSeconds(daemons) - cpu;
    const { repository, tag } = await side.image();
    const { digest } = await registry.resolveManifest(repository, tag);
    if (digest === before) throw new Error(`${side.name} made the same image again`);
    before = digest;
    return { seconds, cpuSeconds };
  };
}
