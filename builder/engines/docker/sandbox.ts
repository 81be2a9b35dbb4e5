import { randomBytes } from 'node:crypto';
import { Readable } from 'node:stream';
import type { Logger } from '../../../core/log.ts';
import { JobFailed } from '../../../core/queue/job-queue.ts';
import { lfsPointerReason } from '../../plan/lfs-pointer.ts';
import type { BuildPlan, BuildStep, TestStep } from '../../plan/plan.ts';
import { maxIgnoreFileBytes, pathText, selectWorkspace } from '../../plan/select-source.ts';
import type { SourceTree } from '../../plan/source-tree.ts';
import type { SecretFinder } from '../../secrets/find-secret.ts';
import type { EngineContext, Sandbox, SandboxInput, StepSecrets } from '../engine.ts';
import { type ArtifactLimits, artifactLimits, readArtifacts } from './artifacts.ts';
import type { BaseImages } from './base-image.ts';
import type { ContainerApi, Labels } from './container-api.ts';
import { restoreCaches, saveCaches } from './home-caches.ts';
import { checkOutputs, type OutputLimits, outputLimits, outputsArchive } from './outputs.ts';
import { sandboxLabels } from './owner.ts';
import { type CommandStep, commandsArgv, runCommands } from './run-commands.ts';
import { relocated, scriptArchive } from './script-archive.ts';
import { secretFiles, secretsFolder } from './secret-files.ts';
import { type SpooledArchive, spoolArchive } from './spool-archive.ts';
import { tarEnd, tarHeader } from './tar-file.ts';
import { buildUser, workspaceArchive } from './workspace.ts';

export interface SandboxLimits {
  /** Bytes of memory, swap and /tmp included. */
  readonly memory: number;
  readonly cpus: number;
  /** Processes and threads. */
  readonly processes: number;
  /** Bytes of one file. */
  readonly fileSize: number;
  /** Bytes of /tmp, which is memory. */
  readonly tmpSize: number;
  /** Bytes of output; a build that writes more is killed. */
  readonly logSize: number;
  readonly outputs: OutputLimits;
  readonly artifacts: ArtifactLimits;
}

export const sandboxLimits: SandboxLimits = {
  memory: 2 * 1024 ** 3,
  cpus: 2,
  processes: 512,
  fileSize: 8 * 1024 ** 3,
  tmpSize: 1024 ** 3,
  logSize: 256 * 1024 ** 2,
  outputs: outputLimits,
  artifacts: artifactLimits,
};

export interface SandboxOptions {
  readonly api: ContainerApi;
  readonly images: BaseImages;
  readonly log: Logger;
  readonly limits: SandboxLimits;
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
}

function newPlace(plan: BuildPlan, seconds: number): Place {
  // The volume lies one level up, because engines leave the owner of a mount point itself as it is.
  const slash = plan.directory.lastIndexOf('/');
  return {
    plan,
    volume: `brickyard-${randomBytes(8).toString('hex')}`,
    word: `brickyard-${randomBytes(12).toString('hex')}`,
    labels: sandboxLabels(seconds, Date.now()),
    secretVolumes: [],
    mountPoint: plan.directory.slice(0, slash),
    root: plan.directory.slice(slash + 1),
  };
}

/** $HOME of the commands, beside the workspace. No application has such a name. */
const homeName = '.build';

async function* withHome(archive: AsyncIterable<Buffer>): AsyncGenerator<Buffer, void, undefined> {
  yield tarHeader({ type: 'directory', path: homeName, mode: 0o755, uid: buildUser, gid: buildUser });
  yield* archive;
}

export interface DockerSandbox extends Sandbox {
  /** Resolves when everything that was made for earlier runs is removed. */
  settled(): Promise<void>;
}

export function createSandbox(options: SandboxOptions): DockerSandbox {
  const { api, images, log, limits } = options;
  const cleanups = new Set<Promise<void>>();

  /** What a build leaves is removed even when it is aborted, and the build does not fail by it: the next start sweeps. */
  function cleanUp(containers: readonly string[], { volume, secretVolumes }: Place): Promise<void> {
    const cleanup = (async () => {
      try {
        for (const container of containers) await api.removeContainer(container);
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

  /** The commands of one step, in a container of their own over the volume; not started yet. */
  async function createContainer(
    { plan, volume, mountPoint, word }: Place,
    step: Omit<CommandStep, 'kind'>,
    context: EngineContext,
    environment: Readonly<Record<string, string>> = {},
    secretVolume?: string,
  ): Promise<string> {
    const { name: image } = await images.ensure(step.base, context.signal, context.log);
    return api.createContainer({
      image,
      labels: sandboxLabels(step.timeoutSeconds, Date.now()),
      argv: commandsArgv(step.commands, word),
      // Beside the workspace, so that tests find the dependencies that the build has fetched.
      environment: { ...environment, HOME: `${mountPoint}/${homeName}` },
      user: `${buildUser}:${buildUser}`,
      volume,
      mountPoint,
      ...(secretVolume === undefined ? {} : { secretVolume }),
      workingDirectory: plan.directory,
      network: step.network,
      memory: limits.memory,
      cpus: limits.cpus,
      processes: limits.processes,
      fileSize: limits.fileSize,
      tmpSize: limits.tmpSize,
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
    const container = await createContainer(place, step, context, step.environment, secretVolume);
    containers.push(container);
    if (files !== undefined) await api.putArchive(container, secretsFolder, files, context.signal);
    return container;
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
    const archive = withHome(workspaceArchive(source, selected.entries, { root, onPointer }));
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
    context: EngineContext,
  ): Promise<void> {
    const { plan, test, keep } = input;
    let failure: unknown;
    try {
      const masker = input.secrets?.masker;
      await runCommands(container, { ...test, kind: 'test' }, place.word, {
        api,
        log,
        limits,
        context,
        masker,
      });
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
        await api.createVolume(place.volume, place.labels);
        let container = await prepare(place, first, secrets, containers, context);
        await putSource(place, container, source, context);
        const home = `${place.mountPoint}/${homeName}`;
        const toSave = await restoreCaches(caches, { api, log, container, home, context });
        const save = () =>
          saveCaches(toSave, { api, log, container, home, context, finder: secrets?.finder });
        if (step !== undefined) {
          await runCommands(container, { ...step, kind: 'build' }, place.word, {
            api,
            log,
            limits,
            context,
            masker: secrets?.masker,
          });
          await save();
          const taking = { plan, finder: secrets?.finder };
          const outputs = await takeOutputs(taking, step, container, context.signal);
          if (test === undefined) return handOut(outputs, containers, place);
          // Taken before the tests begin: what they change or leave behind must not enter the image.
          spooled = await spoolArchive(outputs, { signal: context.signal });
          container = await prepare(place, test, secrets, containers, context);
        }
        if (test !== undefined) await runTests(place, container, { ...input, test }, context);
        if (step === undefined) await save();
        await cleanUp(containers, place);
        return spooled?.open() ?? Readable.from([tarEnd()], { objectMode: false });
      } catch (error) {
        await Promise.all([cleanUp(containers, place), spooled?.close()]);
        throw error;
      }
    },

    async runScript({ plan, source, outputs }, context) {
      const timeoutSeconds = 900;
      const place = newPlace(plan, timeoutSeconds);
      const { volume, mountPoint, root } = place;
      const { commands, archive } = await scriptArchive({ plan, source, mountPoint, root, homeName });
      const step = { base: plan.base, commands, outputs: {}, network: 'none', timeoutSeconds } as const;
      const containers: string[] = [];
      try {
        await api.createVolume(volume, place.labels);
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
        await runCommands(container, { ...step, kind: 'static' }, place.word, { api, log, limits, context });
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
