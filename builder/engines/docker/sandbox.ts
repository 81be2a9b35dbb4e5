import { randomBytes } from 'node:crypto';
import { Readable } from 'node:stream';
import type { Logger } from '../../../core/log.ts';
import { JobFailed } from '../../../core/queue/job-queue.ts';
import { lfsPointerReason } from '../../plan/lfs-pointer.ts';
import type { BuildPlan, BuildStep, TestStep } from '../../plan/plan.ts';
import { maxIgnoreFileBytes, pathText, selectWorkspace } from '../../plan/select-source.ts';
import type { SourceTree } from '../../plan/source-tree.ts';
import type { SecretFinder } from '../../secrets/find-secret.ts';
import type { Masker } from '../../secrets/masker.ts';
import type { EngineContext, Sandbox, SandboxInput, StepSecrets } from '../engine.ts';
import { readArtifacts } from './artifacts.ts';
import type { BaseImages } from './base-image.ts';
import { restoreCaches, saveCaches, type Unpack } from './build-caches.ts';
import type { ContainerApi, Labels } from './container-api.ts';
import { openDiskUse } from './disk-use.ts';
import { createDiskWatch, type DiskWatch } from './disk-watch.ts';
import type { Egress, OpenEgress } from './egress.ts';
import { homeName, withHome } from './home-archive.ts';
import { homeEnvironment } from './home-environment.ts';
import { checkOutputs, outputsArchive } from './outputs.ts';
import { sandboxLabels } from './owner.ts';
import { createProcessWatch } from './process-watch.ts';
import { type CommandStep, commandsArgv, runCommands } from './run-commands.ts';
import type { SandboxLimits } from './sandbox-limits.ts';
import { relocated, scriptArchive } from './script-archive.ts';
import { secretFiles, secretsFolder } from './secret-files.ts';
import { type SpooledArchive, spoolArchive } from './spool-archive.ts';
import { tarEnd } from './tar-file.ts';
import { unpackInside } from './unpack-inside.ts';
import { buildUser, workspaceArchive } from './workspace.ts';

export interface SandboxOptions {
  readonly api: ContainerApi;
  readonly images: BaseImages;
  readonly log: Logger;
  readonly limits: SandboxLimits;
  readonly egress: Egress;
  /** See `ContainerOptions.runtime`. */
  readonly runtime?: string;
}

/** Where the commands of one run work. */
interface Place {
  readonly plan: BuildPlan;
  /** Of everything that is made. */
  readonly labels: Labels;
  readonly volume: string;
  readonly mountPoint: string;
  /** Name of the workspace below `mountPoint`. */
  readonly root: string;
  readonly word: string;
  /** Volumes of secrets, one for each container that has some. */
  readonly secretVolumes: string[];
  /** Ways out of its containers, open or not any more. */
  readonly egress: Set<OpenEgress>;
}

/** What watches over one run. */
interface Run {
  readonly disk: DiskWatch;
  readonly context: EngineContext;
  readonly masker?: Masker | undefined;
}

function newPlace(plan: BuildPlan, seconds: number): Place {
  // The volume lies one level up, because engines leave the owner of a mount point itself as it is.
  const slash = plan.directory.lastIndexOf('/');
  return {
    plan,
    egress: new Set(),
    volume: `brickyard-${randomBytes(8).toString('hex')}`,
    word: `brickyard-${randomBytes(12).toString('hex')}`,
    labels: sandboxLabels(seconds, Date.now()),
    secretVolumes: [],
    mountPoint: plan.directory.slice(0, slash),
    root: plan.directory.slice(slash + 1),
  };
}

export interface DockerSandbox extends Sandbox {
  /** Resolves when everything that was made for earlier runs is removed. */
  settled(): Promise<void>;
}

export function createSandbox(options: SandboxOptions): DockerSandbox {
  const { api, images, log, limits, egress, runtime } = options;
  const cleanups = new Set<Promise<void>>();
  const containerLimits = {
    memory: limits.memory,
    cpus: limits.cpus,
    processes: limits.processes,
    fileSize: limits.fileSize,
    tmpSize: limits.tmp,
    ...(runtime === undefined ? {} : { runtime }),
  };

  /** What a build leaves is removed even when it is aborted, and the build does not fail by it: the next start sweeps. */
  function cleanUp(containers: readonly string[], place: Place): Promise<void> {
    const { volume, secretVolumes, egress: ways } = place;
    const cleanup = (async () => {
      try {
        for (const container of containers) await api.removeContainer(container);
        for (const { container } of ways) await api.removeContainer(container);
        for (const each of [...secretVolumes, volume]) await api.removeVolume(each);
      } catch (error) {
        log.warn({ err: error, containers, volume }, 'a sandbox could not be removed');
      }
    })();
    return track(cleanup);
  }

  function track(cleanup: Promise<void>): Promise<void> {
    cleanups.add(cleanup);
    void cleanup.then(() => cleanups.delete(cleanup));
    return cleanup;
  }

  /** By the `tar` of the image that the commands run in. */
  function unpackInto({ volume, mountPoint }: Place, { base, timeoutSeconds }: BuildStep | TestStep): Unpack {
    return async (folder, archive, signal) =>
      unpackInside(
        api,
        {
          image: (await images.ensure(base, signal, () => {})).name,
          labels: sandboxLabels(timeoutSeconds, Date.now()),
          user: `${buildUser}:${buildUser}`,
          volume,
          mountPoint,
          workingDirectory: '/',
          ...containerLimits,
        },
        folder,
        archive,
        signal,
      );
  }

  /** The commands of one step, in a container of their own over the volume; not started yet. */
  async function createContainer(
    place: Place,
    step: Omit<CommandStep, 'kind'>,
    context: EngineContext,
    environment: Readonly<Record<string, string>> = {},
    secretVolume?: string,
  ): Promise<string> {
    const { plan, volume, mountPoint, word } = place;
    const { name: image } = await images.ensure(step.base, context.signal, context.log);
    const labels = sandboxLabels(step.timeoutSeconds, Date.now());
    const way = step.network === 'none' ? undefined : await egress.open(step.network, labels, context);
    if (way !== undefined) place.egress.add(way);
    return api.createContainer({
      image,
      labels,
      argv: commandsArgv(step.commands, word),
      // Beside the workspace, so that tests find the dependencies that the build has fetched.
      environment: homeEnvironment(`${mountPoint}/${homeName}`, { ...way?.environment, ...environment }),
      user: `${buildUser}:${buildUser}`,
      volume,
      mountPoint,
      ...(secretVolume === undefined ? {} : { secretVolume }),
      workingDirectory: plan.directory,
      network: way === undefined ? 'none' : { container: way.container },
      ...containerLimits,
    });
  }

  /** The container of a step, with its secrets in place. */
  async function prepare(
    place: Place,
    step: BuildStep | TestStep,
    secrets: StepSecrets | undefined,
    containers: string[],
    context: EngineContext,
  ): Promise<string> {
    const files = secretFiles(step.secrets, secrets);
    let secretVolume: string | undefined;
    if (files !== undefined) {
      secretVolume = `${place.volume}-secrets-${place.secretVolumes.length}`;
      place.secretVolumes.push(secretVolume);
      await api.createVolume(secretVolume, place.labels);
    }
    // The names of hosts stand in the log, and a build may ask for one that holds a secret.
    const masked =
      secrets === undefined
        ? context
        : { ...context, log: (line: string) => context.log(secrets.masker.mask(line)) };
    const container = await createContainer(place, step, masked, step.environment, secretVolume);
    containers.push(container);
    if (files !== undefined) await api.putArchive(container, secretsFolder, files, context.signal);
    return container;
  }

  async function createVolume({ volume, labels }: Place): Promise<DiskWatch> {
    await api.createVolume(volume, labels);
    const use = await openDiskUse(api, volume);
    return createDiskWatch({ use, room: await use.room(), limits });
  }

  async function follow(container: string, step: CommandStep, place: Place, run: Run): Promise<void> {
    const { disk, context, masker } = run;
    const processes = createProcessWatch(api, container, limits);
    const watch = async (what: string): Promise<void> => {
      await disk(what);
      await processes(what);
    };
    try {
      for (const way of place.egress) await way.ready;
      await runCommands(container, step, place.word, { api, log, limits, watch, context, masker });
    } finally {
      closeWays(place);
    }
  }

  function closeWays({ egress: ways }: Place): void {
    for (const way of ways) way.close();
  }

  async function putSource(
    place: Place,
    container: string,
    source: SourceTree,
    { signal, log: write }: EngineContext,
  ): Promise<void> {
    const { plan, mountPoint, root } = place;
    const ignore = await source.readFile('.dockerignore', maxIgnoreFileBytes);
    const selected = selectWorkspace(await source.entries(), plan, ignore?.toString());
    const [refused] = selected.refused;
    if (refused !== undefined) {
      throw new JobFailed(`${JSON.stringify(refused.path)} cannot enter an image: ${refused.reason}`);
    }
    // With outputs, a pointer is a fault only where one of them hands it on; commands may fetch what they need.
    const onPointer = (path: string): void => {
      const shown = JSON.stringify(pathText(path));
      if (Object.keys(plan.build?.outputs ?? {}).length > 0)
        write(`${shown} is a Git LFS pointer, not the file`);
      else throw new JobFailed(`${shown} cannot enter an image: ${lfsPointerReason}`);
    };
    const online = [plan.build, plan.test].some((step) => step !== undefined && step.network !== 'none');
    const files = workspaceArchive(source, selected.entries, { root, onPointer });
    const archive = withHome(files, online ? egress.files : []);
    await api.putArchive(container, mountPoint, Readable.from(archive, { objectMode: false }), signal);
  }

  /** What the build made, checked. */
  async function takeOutputs(
    { plan, finder }: { readonly plan: BuildPlan; readonly finder?: SecretFinder | undefined },
    step: BuildStep,
    container: string,
    signal: AbortSignal,
  ) {
    const input = {
      plan,
      step,
      finder,
      limits: limits.outputs,
      open: (path: string) => api.getArchive(container, path, signal),
    };
    await checkOutputs(input);
    return outputsArchive(input);
  }

  async function runTests(
    place: Place,
    container: string,
    input: SandboxInput & { readonly test: TestStep },
    run: Run,
  ): Promise<void> {
    const { plan, test, keep } = input;
    const { context } = run;
    let failure: unknown;
    try {
      await follow(container, { ...test, kind: 'test' }, place, run);
    } catch (error) {
      // Reports of a failing test are those that somebody wants to read.
      if (!(error instanceof JobFailed)) throw error;
      failure = error;
    }
    if (test.artifacts.length > 0 && keep !== undefined) {
      try {
        const archive = await api.getArchive(container, plan.directory, context.signal);
        const { artifacts } = limits;
        await keep(
          await readArtifacts({
            plan,
            patterns: test.artifacts,
            limits: artifacts,
            archive,
            log: context.log,
          }),
        );
      } catch (error) {
        if (failure === undefined) throw error;
        log.warn({ err: error }, 'artifacts of a failed test could not be kept');
        context.log('the artifacts could not be kept');
      }
    }
    if (failure !== undefined) throw failure;
  }

  /** The workspace is removed when the archive has been read, or is let go. */
  function handOut(outputs: AsyncIterable<Buffer>, containers: readonly string[], place: Place): Readable {
    const archive = Readable.from(outputs, { objectMode: false });
    const closed = new Promise<void>((resolve) => {
      archive.once('close', resolve);
    });
    void track(closed.then(() => cleanUp(containers, place)));
    return archive;
  }

  return {
    name: 'docker',

    async run(input, context) {
      const { plan, step, test, source, secrets, caches = [] } = input;
      const first = step ?? test;
      if (first === undefined) throw new RangeError('there is nothing to run');
      const place = newPlace(plan, (step?.timeoutSeconds ?? 0) + (test?.timeoutSeconds ?? 0));
      const containers: string[] = [];
      let spooled: SpooledArchive | undefined;
      try {
        const disk = await createVolume(place);
        const run = { disk, context, masker: secrets?.masker };
        let container = await prepare(place, first, secrets, containers, context);
        await putSource(place, container, source, context);
        const places = { home: `${place.mountPoint}/${homeName}`, workspace: plan.directory };
        const unpack = unpackInto(place, first);
        const toSave = await restoreCaches(caches, { api, log, container, places, context, unpack });
        const save = () =>
          saveCaches(toSave, { api, log, container, places, context, finder: secrets?.finder });
        if (step !== undefined) {
          await follow(container, { ...step, kind: 'build' }, place, run);
          await save();
          const taking = { plan, finder: secrets?.finder };
          const outputs = await takeOutputs(taking, step, container, context.signal);
          if (test === undefined) return handOut(outputs, containers, place);
          // Taken before the tests begin: what they change or leave behind must not enter the image.
          spooled = await spoolArchive(outputs, { signal: context.signal });
          container = await prepare(place, test, secrets, containers, context);
        }
        if (test !== undefined) await runTests(place, container, { ...input, test }, run);
        if (step === undefined) await save();
        await cleanUp(containers, place);
        return spooled?.open() ?? Readable.from([tarEnd()], { objectMode: false });
      } catch (error) {
        closeWays(place);
        await Promise.all([cleanUp(containers, place), spooled?.close()]);
        throw error;
      }
    },

    async runScript({ plan, source, outputs }, context) {
      const timeoutSeconds = 900;
      const place = newPlace(plan, timeoutSeconds);
      const { mountPoint, root } = place;
      const { commands, archive } = await scriptArchive({ plan, source, mountPoint, root, homeName });
      const step = { base: plan.base, commands, outputs: {}, network: 'none', timeoutSeconds } as const;
      const containers: string[] = [];
      try {
        const disk = await createVolume(place);
        const environment = { APP_NAME: plan.appname, ...plan.environment };
        const container = await createContainer(place, step, context, environment);
        containers.push(container);
        await api.putArchive(
          container,
          mountPoint,
          Readable.from(archive, { objectMode: false }),
          context.signal,
        );
        if (outputs !== undefined) {
          const moved = Readable.from(relocated(outputs, `${mountPoint.slice(1)}/`), { objectMode: false });
          await api.putArchive(container, mountPoint, moved, context.signal);
        }
        await follow(container, { ...step, kind: 'static' }, place, { disk, context });
        const made = await takeOutputs({ plan }, step, container, context.signal);
        return handOut(made, containers, place);
      } catch (error) {
        await cleanUp(containers, place);
        throw error;
      } finally {
        outputs?.destroy();
      }
    },

    async settled() {
      await Promise.all(cleanups);
    },
  };
}
