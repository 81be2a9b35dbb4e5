import { randomBytes } from 'node:crypto';
import { Readable } from 'node:stream';
import type { Logger } from '../../../core/log.ts';
import { JobFailed } from '../../../core/queue/job-queue.ts';
import { lfsPointerReason } from '../../plan/lfs-pointer.ts';
import type { BuildPlan, BuildStep, TestStep } from '../../plan/plan.ts';
import { maxIgnoreFileBytes, pathText, selectWorkspace } from '../../plan/select-source.ts';
import type { SourceTree } from '../../plan/source-tree.ts';
import type { EngineContext, Sandbox, SandboxInput } from '../engine.ts';
import { type ArtifactLimits, artifactLimits, readArtifacts } from './artifacts.ts';
import type { BaseImages } from './base-image.ts';
import type { ContainerApi, ContainerEnd } from './container-api.ts';
import { checkOutputs, type OutputLimits, outputLimits, outputsArchive } from './outputs.ts';
import { sandboxLabels } from './owner.ts';
import { runContainer } from './run-container.ts';
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

/**
 * Runs the commands as PID 1's children, one shell each. `$0` is a secret word that introduces a line saying which command
 * begins; only for the message, as a build may lie about itself.
 */
const driver = `n=0
for command do
  n=$((n + 1))
  printf '%s %s\\n' "$0" "$n"
  /bin/sh -ec "$command" || exit
done`;

/** Where the commands of one run work. */
interface Place {
  readonly plan: BuildPlan;
  readonly volume: string;
  readonly mountPoint: string;
  /** Name of the workspace below `mountPoint`. */
  readonly root: string;
  readonly word: string;
}

type CommandStep = Pick<BuildStep, 'base' | 'commands' | 'network' | 'timeoutSeconds'>;

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
  function cleanUp(containers: readonly string[], volume: string): Promise<void> {
    const cleanup = (async () => {
      try {
        for (const container of containers) await api.removeContainer(container);
        await api.removeVolume(volume);
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
    step: CommandStep,
    context: EngineContext,
  ): Promise<string> {
    const { name: image } = await images.ensure(step.base, context.signal, context.log);
    return api.createContainer({
      image,
      labels: sandboxLabels(step.timeoutSeconds, Date.now()),
      argv: ['/bin/sh', '-c', driver, word, ...step.commands],
      // Beside the workspace, so that tests find the dependencies that the build has fetched.
      environment: { HOME: `${mountPoint}/${homeName}` },
      user: `${buildUser}:${buildUser}`,
      volume,
      mountPoint,
      workingDirectory: plan.directory,
      network: step.network,
      memory: limits.memory,
      cpus: limits.cpus,
      processes: limits.processes,
      fileSize: limits.fileSize,
      tmpSize: limits.tmpSize,
    });
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
  async function takeOutputs(plan: BuildPlan, step: BuildStep, container: string, signal: AbortSignal) {
    const input = {
      plan,
      step,
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
      await runCommands(container, { ...test, kind: 'test' }, place.word, context);
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

  return {
    name: 'docker',

    async run(input, context) {
      const { plan, step, test, source } = input;
      const first = step ?? test;
      if (first === undefined) throw new RangeError('there is nothing to run');
      const volume = `brickyard-${randomBytes(8).toString('hex')}`;
      // The volume lies one level up, because engines leave the owner of a mount point itself as it is.
      const slash = plan.directory.lastIndexOf('/');
      const place: Place = {
        plan,
        volume,
        word: `brickyard-${randomBytes(12).toString('hex')}`,
        mountPoint: plan.directory.slice(0, slash),
        root: plan.directory.slice(slash + 1),
      };
      const containers: string[] = [];
      let spooled: SpooledArchive | undefined;
      try {
        const seconds = (step?.timeoutSeconds ?? 0) + (test?.timeoutSeconds ?? 0);
        await api.createVolume(volume, sandboxLabels(seconds, Date.now()));
        let container = await createContainer(place, first, context);
        containers.push(container);
        await putSource(place, container, source, context);
        if (step !== undefined) {
          await runCommands(container, { ...step, kind: 'build' }, place.word, context);
          const outputs = await takeOutputs(plan, step, container, context.signal);
          if (test === undefined) {
            const archive = Readable.from(outputs, { objectMode: false });
            const closed = new Promise<void>((resolve) => {
              archive.once('close', resolve);
            });
            void track(closed.then(() => cleanUp(containers, volume)));
            return archive;
          }
          // Taken before the tests begin: what they change or leave behind must not enter the image.
          spooled = await spoolArchive(outputs, { signal: context.signal });
          container = await createContainer(place, test, context);
          containers.push(container);
        }
        if (test !== undefined) await runTests(place, container, { ...input, test }, context);
        await cleanUp(containers, volume);
        return spooled?.open() ?? Readable.from([tarEnd()], { objectMode: false });
      } catch (error) {
        await Promise.all([cleanUp(containers, volume), spooled?.close()]);
        throw error;
      }
    },

    async settled() {
      await Promise.all(cleanups);
    },
  };

  async function runCommands(
    container: string,
    step: CommandStep & { kind: 'build' | 'test' },
    word: string,
    context: EngineContext,
  ): Promise<void> {
    let command = 0;
    const end = await runContainer(container, {
      api,
      log,
      signal: context.signal,
      what: `the ${step.kind} commands`,
      timeoutSeconds: step.timeoutSeconds,
      timeoutKey: `${step.kind}.timeout`,
      logSize: limits.logSize,
      onLine(line) {
        // Not only at its start: the command before may not have ended its last line.
        const at = line.lastIndexOf(`${word} `);
        if (at !== 0) context.log(at < 0 ? line : line.slice(0, at));
        if (at < 0) return;
        command = Number(line.slice(at + word.length + 1));
        context.log(`$ ${step.commands[command - 1] ?? ''}`);
      },
    });
    if (end.exitCode !== 0 || end.outOfMemory) throw new JobFailed(describe(end, command, step, limits));
  }
}

function describe(
  end: ContainerEnd,
  command: number,
  step: { commands: readonly string[]; kind: 'build' | 'test' },
  limits: SandboxLimits,
): string {
  const which = `${step.kind} command ${command} of ${step.commands.length}`;
  const memory = `${Math.floor(limits.memory / 1024 ** 2)} MiB of memory`;
  if (end.outOfMemory) return `${which} needed more than the ${memory} a build may use`;
  // Before the first command there is only the shell itself.
  if (command === 0) {
    return `the ${step.kind} commands could not be started: ${end.error || `exit code ${end.exitCode}`}`;
  }
  const failure = `${which} ended with exit code ${end.exitCode}`;
  if (end.exitCode <= 128 || end.exitCode >= 160) return failure;
  // Podman does not always tell why.
  const perhaps = end.exitCode === 137 ? `; a build may use ${memory}` : '';
  return `${failure} (killed by signal ${end.exitCode - 128}${perhaps})`;
}
