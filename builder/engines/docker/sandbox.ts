import { randomBytes } from 'node:crypto';
import { Readable } from 'node:stream';
import type { Logger } from '../../../core/log.ts';
import { JobFailed } from '../../../core/queue/job-queue.ts';
import { selectSource, workspaceSelection } from '../../plan/select-source.ts';
import type { EngineContext, Sandbox } from '../engine.ts';
import type { BaseImages } from './base-image.ts';
import type { ContainerApi, ContainerEnd } from './container-api.ts';
import { checkOutputs, type OutputLimits, outputLimits, outputsArchive } from './outputs.ts';
import { sandboxLabels } from './owner.ts';
import { runContainer } from './run-container.ts';
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
}

export const sandboxLimits: SandboxLimits = {
  memory: 2 * 1024 ** 3,
  cpus: 2,
  processes: 512,
  fileSize: 8 * 1024 ** 3,
  tmpSize: 1024 ** 3,
  logSize: 256 * 1024 ** 2,
  outputs: outputLimits,
};

export interface SandboxOptions {
  readonly api: ContainerApi;
  readonly images: BaseImages;
  readonly log: Logger;
  readonly limits: SandboxLimits;
}

/** Larger .dockerignore files are none. */
const largestIgnoreFile = 1024 * 1024;

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

export interface DockerSandbox extends Sandbox {
  /** Resolves when everything that was made for earlier runs is removed. */
  settled(): Promise<void>;
}

export function createSandbox(options: SandboxOptions): DockerSandbox {
  const { api, images, log, limits } = options;
  const cleanups = new Set<Promise<void>>();

  /** What a build leaves is removed even when it is aborted, and the build does not fail by it: the next start sweeps. */
  function cleanUp(container: string | undefined, volume: string): Promise<void> {
    const cleanup = (async () => {
      try {
        if (container !== undefined) await api.removeContainer(container);
        await api.removeVolume(volume);
      } catch (error) {
        log.warn({ err: error, container, volume }, 'a sandbox could not be removed');
      }
    })();
    return track(cleanup);
  }

  function track(cleanup: Promise<void>): Promise<void> {
    cleanups.add(cleanup);
    void cleanup.then(() => cleanups.delete(cleanup));
    return cleanup;
  }

  return {
    name: 'docker',

    async run({ plan, step, source }, context) {
      const { name: image } = await images.ensure(step.base, context.signal, context.log);
      const labels = sandboxLabels(step.timeoutSeconds, Date.now());
      const volume = `brickyard-${randomBytes(8).toString('hex')}`;
      const word = `brickyard-${randomBytes(12).toString('hex')}`;
      // The volume lies one level up, because engines leave the owner of a mount point itself as it is.
      const slash = plan.directory.lastIndexOf('/');
      const [mountPoint, root] = [plan.directory.slice(0, slash), plan.directory.slice(slash + 1)];
      let container: string | undefined;
      try {
        await api.createVolume(volume, labels);
        container = await api.createContainer({
          image,
          labels,
          argv: ['/bin/sh', '-c', driver, word, ...step.commands],
          environment: { HOME: '/tmp' },
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
        const ignore = await source.readFile('.dockerignore', largestIgnoreFile);
        const selected = selectSource(await source.entries(), workspaceSelection(plan), ignore?.toString());
        const [refused] = selected.refused;
        if (refused !== undefined) {
          throw new JobFailed(`${JSON.stringify(refused.path)} cannot enter an image: ${refused.reason}`);
        }
        await api.putArchive(
          container,
          mountPoint,
          Readable.from(workspaceArchive(source, selected.entries, root), { objectMode: false }),
          context.signal,
        );
        await runCommands(container, step, word, context);
        const id = container;
        const input = {
          plan,
          step,
          limits: limits.outputs,
          open: (path: string) => api.getArchive(id, path, context.signal),
        };
        await checkOutputs(input);
        const outputs = Readable.from(outputsArchive(input), { objectMode: false });
        const closed = new Promise<void>((resolve) => {
          outputs.once('close', resolve);
        });
        void track(closed.then(() => cleanUp(id, volume)));
        return outputs;
      } catch (error) {
        await cleanUp(container, volume);
        throw error;
      }
    },

    async settled() {
      await Promise.all(cleanups);
    },
  };

  async function runCommands(
    container: string,
    step: { commands: readonly string[]; timeoutSeconds: number },
    word: string,
    context: EngineContext,
  ): Promise<void> {
    let command = 0;
    const end = await runContainer(container, {
      api,
      log,
      signal: context.signal,
      what: 'the build commands',
      timeoutSeconds: step.timeoutSeconds,
      timeoutKey: 'build.timeout',
      logSize: limits.logSize,
      onLine(line) {
        if (line.startsWith(`${word} `)) {
          command = Number(line.slice(word.length + 1));
          context.log(`$ ${step.commands[command - 1] ?? ''}`);
        } else {
          context.log(line);
        }
      },
    });
    if (end.exitCode !== 0 || end.outOfMemory) throw new JobFailed(describe(end, command, step, limits));
  }
}

function describe(
  end: ContainerEnd,
  command: number,
  step: { commands: readonly string[] },
  limits: SandboxLimits,
): string {
  const which = `build command ${command} of ${step.commands.length}`;
  const memory = `${Math.floor(limits.memory / 1024 ** 2)} MiB of memory`;
  if (end.outOfMemory) return `${which} needed more than the ${memory} a build may use`;
  // Before the first command there is only the shell itself.
  if (command === 0) {
    return `the build commands could not be started: ${end.error || `exit code ${end.exitCode}`}`;
  }
  const failure = `${which} ended with exit code ${end.exitCode}`;
  if (end.exitCode <= 128 || end.exitCode >= 160) return failure;
  // Podman does not always tell why.
  const perhaps = end.exitCode === 137 ? `; a build may use ${memory}` : '';
  return `${failure} (killed by signal ${end.exitCode - 128}${perhaps})`;
}
