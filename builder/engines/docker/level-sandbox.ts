import { randomBytes } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { Readable } from 'node:stream';
import type { Logger } from '../../../core/log.ts';
import { JobFailed } from '../../../core/queue/job-queue.ts';
import type { LayerEntry } from '../../../oci/layer/entry.ts';
import { padding } from '../../../oci/layer/tar-header.ts';
import type { EngineContext } from '../engine.ts';
import { inputsDirectory, type LevelInputFile, type LevelSandbox } from '../level-sandbox.ts';
import type { BaseImages } from './base-image.ts';
import type { ContainerApi, ContainerEnd, ContainerOptions } from './container-api.ts';
import { sandboxLabels } from './owner.ts';
import { runContainer } from './run-container.ts';
import type { SandboxLimits } from './sandbox-limits.ts';
import { tarEnd, tarFile, tarHeader } from './tar-file.ts';
import { buildUser } from './workspace.ts';

export interface LevelSandboxOptions {
  readonly api: ContainerApi;
  readonly images: BaseImages;
  readonly log: Logger;
  readonly socketPath: string;
  readonly limits: LevelLimits;
}

export interface LevelLimits extends Omit<SandboxLimits, 'outputs'> {
  /** Bytes that a script may write to the root file system. */
  readonly diskSize: number;
}

/** What dpkg needs as root: files of other owners, and maintainer scripts that become one. Not MKNOD, SYS_CHROOT, SETFCAP or NET_*. */
const capabilities = ['CHOWN', 'DAC_OVERRIDE', 'FOWNER', 'FSETID', 'KILL', 'SETGID', 'SETUID'];

/** Runs the commands one after another; `$0` introduces a line that says which begins. */
const testDriver = `n=0
for command do
  n=$((n + 1))
  printf '%s %s\\n' "$0" "$n"
  /bin/sh -ec "$command" || exit
done`;

/** See `LevelSandbox`, over Docker's API. */
export function createLevelSandbox(options: LevelSandboxOptions): LevelSandbox {
  const { api, images, log, limits } = options;

  async function remove(containers: readonly string[], volume?: string): Promise<void> {
    try {
      for (const container of containers) await api.removeContainer(container);
      if (volume !== undefined) await api.removeVolume(volume);
    } catch (error) {
      log.warn({ err: error, containers, volume }, 'a sandbox could not be removed');
    }
  }

  function containerOptions(
    image: string,
    timeoutSeconds: number,
  ): Omit<ContainerOptions, 'argv' | 'environment' | 'user'> {
    return {
      image,
      labels: sandboxLabels(timeoutSeconds, Date.now()),
      workingDirectory: '/',
      network: 'none',
      memory: limits.memory,
      cpus: limits.cpus,
      processes: limits.processes,
      fileSize: limits.fileSize,
      tmpSize: limits.tmp,
    };
  }

  return {
    name: `the container engine at ${options.socketPath}`,

    async run(input, context) {
      const { name: image } = await images.ensure(input.parent, context.signal, context.log);
      const common = containerOptions(image, input.timeoutSeconds);
      const volume = `brickyard-${randomBytes(8).toString('hex')}`;
      const containers: string[] = [];
      try {
        await api.createVolume(volume, common.labels);
        const mounted = { ...common, volume, mountPoint: inputsDirectory, user: '0:0', environment: {} };
        // Engines take no archive into a read-only mount: the volume is filled through a container that never runs.
        const loader = await api.createContainer({ ...mounted, argv: ['/bin/true'] });
        containers.push(loader);
        const inputs = Readable.from(inputsArchive(input.inputs), { objectMode: false });
        await api.putArchive(loader, inputsDirectory, inputs, context.signal);
        const container = await api.createContainer({
          ...mounted,
          argv: input.argv,
          environment: input.environment,
          volumeAccess: 'read-only',
          rootAccess: 'read-write',
          capabilities,
        });
        containers.push(container);
        const files = Readable.from(filesArchive(input.files), { objectMode: false });
        await api.putArchive(container, '/', files, context.signal);
        await runScript(container, input.timeoutSeconds, context);
        const changes = await api.changes(container);
        return {
          changes,
          open: () => api.exportContainer(container, context.signal),
          close: () => remove(containers, volume),
        };
      } catch (error) {
        await remove(containers, volume);
        throw error;
      }
    },

    async test({ image, commands, timeoutSeconds }, context) {
      const { name } = await images.ensure(image, context.signal, context.log);
      const word = `brickyard-${randomBytes(12).toString('hex')}`;
      const container = await api.createContainer({
        ...containerOptions(name, timeoutSeconds),
        argv: ['/bin/sh', '-c', testDriver, word, ...commands],
        environment: { HOME: '/tmp' },
        user: `${buildUser}:${buildUser}`,
      });
      try {
        let command = 0;
        const end = await runContainer(container, {
          ...runOptions(context),
          what: 'the smoke test',
          timeoutSeconds,
          timeoutKey: 'test.timeout',
          onLine(line) {
            if (!line.startsWith(`${word} `)) return context.log(line);
            command = Number(line.slice(word.length + 1));
            context.log(`$ ${commands[command - 1] ?? ''}`);
          },
        });
        const which =
          command === 0 ? 'the smoke test' : `test command ${JSON.stringify(commands[command - 1])}`;
        checkEnd(end, which);
      } finally {
        await remove([container]);
      }
    },
  };

  function runOptions(context: EngineContext) {
    return { api, log, signal: context.signal, logSize: limits.output };
  }

  async function runScript(container: string, timeoutSeconds: number, context: EngineContext): Promise<void> {
    const tooMuch = async (): Promise<void> => {
      // Few file systems let an engine bound a container's disk, so what it has written is looked at now and then.
      if ((await api.containerSize(container)) > limits.diskSize) {
        throw new JobFailed(`static.sh wrote more than ${mebibytes(limits.diskSize)} of files`);
      }
    };
    const end = await runContainer(container, {
      ...runOptions(context),
      what: 'static.sh',
      timeoutSeconds,
      timeoutKey: 'timeout',
      onLine: context.log,
      watch: tooMuch,
    });
    checkEnd(end, 'static.sh');
    await tooMuch();
  }

  function checkEnd(end: ContainerEnd, which: string): void {
    if (end.outOfMemory) {
      throw new JobFailed(
        `${which} needed more than the ${mebibytes(limits.memory)} of memory that it may use`,
      );
    }
    if (end.exitCode === 0) return;
    const why = end.error === '' ? '' : `: ${end.error}`;
    throw new JobFailed(`${which} ended with exit code ${end.exitCode}${why}`);
  }
}

function mebibytes(bytes: number): string {
  return `${Math.floor(bytes / 1024 ** 2)} MiB`;
}

async function* inputsArchive(inputs: readonly LevelInputFile[]): AsyncGenerator<Buffer, void, undefined> {
  for (const { path, mode, content } of inputs) {
    const options = mode === undefined ? {} : { mode };
    if (Buffer.isBuffer(content)) yield* tarFile(path, content, options);
    else yield* tarFile(path, createReadStream(content.file), { ...options, size: content.size });
  }
  yield tarEnd();
}

/**
 * Engines set the owner and mode of a directory that is there already to what an archive says. Directories that are only the way to something are
 * left out, so that /root or /tmp stay as they are in the parent; engines make missing ones root:root 0755.
 */
async function* filesArchive(entries: readonly LayerEntry[]): AsyncGenerator<Buffer, void, undefined> {
  const ways = new Set(entries.map(({ path }) => path.slice(0, Math.max(0, path.lastIndexOf('/')))));
  for (const entry of entries) {
    if (entry.type === 'file') {
      const { content } = entry;
      const { length: size } = content instanceof Uint8Array ? content : { length: content.size };
      yield tarHeader(entry, size);
      if (content instanceof Uint8Array) yield Buffer.from(content);
      else for await (const chunk of content.open()) yield Buffer.from(chunk);
      yield padding(size);
    } else if (entry.type !== 'directory' || !isPlain(entry) || !ways.has(entry.path)) {
      yield tarHeader(entry);
    }
  }
  yield tarEnd();
}

function isPlain(entry: { mode: number; uid: number; gid: number }): boolean {
  return entry.mode === 0o755 && entry.uid === 0 && entry.gid === 0;
}
