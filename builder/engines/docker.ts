import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type Docker from 'dockerode';
import type { Logger } from '../../core/log.ts';
import type { Registry } from '../../oci/registry.ts';
import { attachDuplex } from './docker/attach-duplex.ts';
import { createBaseImages } from './docker/base-image.ts';
import { type ContainerApi, ContainerApiError, type EngineFacts } from './docker/container-api.ts';
import { createOptions } from './docker/create-options.ts';
import { createDockerfileEngine } from './docker/dockerfile-build.ts';
import { createEgress, type EgressSettings, egressSettings } from './docker/egress.ts';
import { attempt, soon } from './docker/engine-call.ts';
import { findSocket } from './docker/find-socket.ts';
import { createImageUses, type ImageUses } from './docker/image-uses.ts';
import { createLevelSandbox } from './docker/level-sandbox.ts';
import { removeOrphans } from './docker/owner.ts';
import { createRelayImage } from './docker/relay-image.ts';
import { requireRuntime } from './docker/runtime.ts';
import { createSandbox } from './docker/sandbox.ts';
import { type SandboxLimits, sandboxLimits } from './docker/sandbox-limits.ts';
import type { BuildEngine, Sandbox } from './engine.ts';
import type { LevelSandbox } from './level-sandbox.ts';

export interface DockerEngineOptions {
  /** Path of the engine's socket, or `auto` (default): DOCKER_HOST, then where Docker and Podman put theirs. */
  readonly socket?: string;
  /** Default: the process's own. Only DOCKER_HOST, CONTAINER_HOST and XDG_RUNTIME_DIR are read. */
  readonly environment?: Readonly<Record<string, string | undefined>>;
  /** Where base images are read from and what the engine builds is put. */
  readonly registry: Registry;
  readonly log: Logger;
  /** Folder of this machine where it is noted which base images are used, for `removeUnusedImages`; default: nobody removes any. */
  readonly cacheDir?: string;
  /** What differs from `sandboxLimits`. */
  readonly limits?: Partial<SandboxLimits>;
  /** The network of builds; what differs from `egressSettings`. */
  readonly egress?: Partial<EgressSettings>;
  /** Name of the runtime that builds' containers are started by, as the engine knows it (`runsc`); default: the engine's own. */
  readonly runtime?: string;
  /** Bytes that the script of a base image's level may write. Default 8 GiB. */
  readonly levelDiskSize?: number;
}

export interface DockerEngine {
  readonly socketPath: string;
  /** Runs `build:` commands. */
  readonly sandbox: Sandbox;
  /** Runs the scripts and smoke tests of base images. */
  readonly levels: LevelSandbox;
  /** Builds the generated Dockerfile, for people and for comparison. */
  readonly dockerfile: BuildEngine;
  /** Returns when what its sandboxes made is removed; running ones are not ended (abort their signals). */
  close(): Promise<void>;
}

/**
 * The container engine of this machine, Docker or Podman, where one answers; undefined = none does. Removes what sandboxes of
 * a killed server left behind in it. Errors: ContainerApiError when it has no runtime of that name.
 */
export async function createDockerEngine(options: DockerEngineOptions): Promise<DockerEngine | undefined> {
  const { registry, log, limits = {}, environment = process.env, socket = 'auto', runtime } = options;
  const socketPath = await findSocket({ socket, environment });
  if (socketPath === undefined) return undefined;
  const api = await createContainerApi(socketPath);
  if (runtime !== undefined) await requireRuntime(api, runtime);
  try {
    const removed = await removeOrphans(api, Date.now());
    if (removed > 0) log.info({ removed }, 'removed what sandboxes of an ended server left behind');
  } catch (error) {
    log.warn({ err: error, socketPath }, 'could not look for what earlier sandboxes left behind');
  }
  const images = createBaseImages(api, registry, imageUses(options.cacheDir));
  const sandbox = createSandbox({
    api,
    images,
    log,
    limits: { ...sandboxLimits, ...limits },
    egress: createEgress({
      api,
      images: createRelayImage(api),
      settings: { ...egressSettings, ...options.egress },
    }),
    ...(runtime === undefined ? {} : { runtime }),
  });
  const { levelDiskSize: diskSize = 8 * 1024 ** 3 } = options;
  const levelLimits = { ...sandboxLimits, ...limits, diskSize };
  const levels = createLevelSandbox({ api, images, log, socketPath, limits: levelLimits });
  const dockerfile = createDockerfileEngine({
    api,
    images,
    registry,
    memory: limits.memory ?? sandboxLimits.memory,
  });
  return { socketPath, sandbox, levels, dockerfile, close: () => sandbox.settled() };
}

/**
 * Removes base images that no build has used since `before` (milliseconds since 1970) from the engine; a build that needs one loads it again. Returns how
 * many. Errors: ContainerApiError, those of the file system.
 */
export async function removeUnusedImages(
  options: Pick<DockerEngineOptions, 'socket' | 'environment'> & {
    readonly cacheDir: string;
    readonly before: number;
  },
): Promise<number> {
  const { socket = 'auto', environment = process.env } = options;
  const uses = createImageUses(usesFolder(options.cacheDir));
  const unused = await uses.unusedSince(options.before);
  const socketPath = unused.length === 0 ? undefined : await findSocket({ socket, environment });
  if (socketPath === undefined) return 0;
  const api = await createContainerApi(socketPath);
  for (const name of unused) {
    await api.removeImage(name);
    await uses.forget(name);
  }
  return unused.length;
}

function imageUses(cacheDir: string | undefined): ImageUses | undefined {
  return cacheDir === undefined ? undefined : createImageUses(usesFolder(cacheDir));
}

const usesFolder = (cacheDir: string): string => join(cacheDir, 'engine-images');

/** What the engine of this machine says of itself; undefined = none answers. Errors: ContainerApiError. */
export async function askEngine(
  options: Pick<DockerEngineOptions, 'socket' | 'environment'>,
): Promise<(EngineFacts & { readonly socketPath: string }) | undefined> {
  const { socket = 'auto', environment = process.env } = options;
  const socketPath = await findSocket({ socket, environment });
  if (socketPath === undefined) return undefined;
  return { ...(await (await createContainerApi(socketPath)).about()), socketPath };
}

/**
 * Takes away what sandboxes of processes that are gone left in the engine, as `createDockerEngine` does; nothing where no engine answers.
 * Errors: ContainerApiError.
 */
export async function removeSandboxLeftovers(socket: string): Promise<void> {
  const socketPath = socket === 'none' ? undefined : await findSocket({ socket, environment: process.env });
  if (socketPath !== undefined) await removeOrphans(await createContainerApi(socketPath), Date.now());
}

/** Where the engine keeps images, containers and volumes, as it sees its disk; undefined where no engine answers, or it does not say. */
export async function engineFolder(socket: string): Promise<string | undefined> {
  const socketPath = socket === 'none' ? undefined : await findSocket({ socket, environment: process.env });
  if (socketPath === undefined) return undefined;
  const { DockerRootDir } = await attempt(
    (await connect(socketPath)).info() as Promise<{ DockerRootDir?: string }>,
  );
  return DockerRootDir;
}

/** Loaded only where an engine answers: it brings gRPC and SSH along, which nothing here uses and which take memory in each process. */
async function connect(socketPath: string): Promise<Docker> {
  const { default: Client } = await import('dockerode');
  return new Client({ socketPath });
}

/** Docker's HTTP API through dockerode; the only place that knows it. */
async function createContainerApi(socketPath: string): Promise<ContainerApi> {
  const docker = await connect(socketPath);

  return {
    async about() {
      const [version, info] = await Promise.all([
        attempt(docker.version() as Promise<EngineVersion>),
        attempt(docker.info() as Promise<EngineInfo>),
      ]);
      const components = version.Components ?? [];
      const named = (name: string): string | undefined =>
        components.find((each) => each.Name.toLowerCase().startsWith(name))?.Version;
      const podman = named('podman');
      return {
        name: podman === undefined ? 'Docker' : 'Podman',
        version: podman ?? version.Version,
        runc: named('runc'),
        runtimes: Object.keys(info.Runtimes ?? {}),
        security: info.SecurityOptions ?? [],
      };
    },

    async inspectImage(name) {
      const found = await unlessMissing(soon(docker.getImage(name).inspect()));
      // Podman leaves the list out for an image without layers.
      return found === undefined ? undefined : { id: found.Id, diffIds: found.RootFS.Layers ?? [] };
    },
    async loadImage(archive, signal) {
      const answer = await sending(archive, () =>
        docker.loadImage(archive, { quiet: true, abortSignal: signal }),
      );
      await checkMessages(answer as Readable, signal);
    },
    async saveImage(name) {
      return (await attempt(docker.getImage(name).get())) as Readable;
    },
    async removeImage(name) {
      await unlessMissing(docker.getImage(name).remove({ force: true }));
    },
    async buildImage(context, { tag, network, memory }, signal) {
      return (await sending(context, () =>
        docker.buildImage(context, {
          t: tag,
          rm: true,
          forcerm: true,
          pull: false,
          version: '1',
          networkmode: network === 'none' ? 'none' : 'bridge',
          memory,
          memswap: memory,
          abortSignal: signal,
        }),
      )) as Readable;
    },

    async createVolume(name, labels) {
      await attempt(soon(docker.createVolume({ Name: name, Labels: { ...labels } })));
    },
    async removeVolume(name) {
      await unlessMissing(soon(docker.getVolume(name).remove({ force: true })));
    },
    async volumePath(name) {
      const { Mountpoint } = await attempt(soon(docker.getVolume(name).inspect()));
      return Mountpoint === '' ? undefined : Mountpoint;
    },
    async volumeSizes() {
      const found = await (docker.df() as Promise<DiskUsage>).catch((error: Error) => {
        // It answers 500 while it counts already.
        if (error.message.includes('already running')) return undefined;
        return attempt(Promise.reject(error));
      });
      if (found === undefined) return undefined;
      return new Map((found.Volumes ?? []).map(({ Name, UsageData }) => [Name, UsageData?.Size ?? 0]));
    },
    async listVolumes(label) {
      const { Volumes } = await attempt(soon(docker.listVolumes({ filters: { label: [label] } })));
      return (Volumes ?? []).map((volume) => ({ name: volume.Name, labels: volume.Labels ?? {} }));
    },

    async createContainer(container) {
      return (await attempt(soon(docker.createContainer(createOptions(container))))).id;
    },
    async startContainer(id) {
      await attempt(soon(docker.getContainer(id).start()));
    },
    async waitContainer(id, signal) {
      await attempt(docker.getContainer(id).wait({ abortSignal: signal }));
    },
    async containerEnd(id) {
      const { State } = await attempt(soon(docker.getContainer(id).inspect()));
      return { exitCode: State.ExitCode, outOfMemory: State.OOMKilled, error: State.Error };
    },
    async containerSize(id) {
      const options = { size: true } as Docker.ContainerInspectOptions;
      const found = (await attempt(docker.getContainer(id).inspect(options))) as { SizeRw?: number };
      return found.SizeRw ?? 0;
    },
    async processCount(id) {
      const options = { stream: false, 'one-shot': true } as const;
      const stats = await unlessMissing(soon(docker.getContainer(id).stats(options)), 409);
      return stats?.pids_stats?.current;
    },
    async changes(id) {
      const found = (await attempt(docker.getContainer(id).changes())) as
        | { Path: string; Kind: 0 | 1 | 2 }[]
        | null;
      return (found ?? []).map(({ Path, Kind }) => ({ path: Path, kind: changeKinds[Kind] }));
    },
    async exportContainer(id, signal) {
      return (await attempt(docker.getContainer(id).export({ abortSignal: signal }))) as Readable;
    },
    async killContainer(id) {
      await unlessMissing(soon(docker.getContainer(id).kill()), 409);
    },
    async removeContainer(id) {
      await unlessMissing(soon(docker.getContainer(id).remove({ force: true, v: true })));
    },
    async listContainers(label) {
      const found = await attempt(soon(docker.listContainers({ all: true, filters: { label: [label] } })));
      return found.map((container) => ({ id: container.Id, labels: container.Labels ?? {} }));
    },
    async attach(id) {
      const options = { stream: true, stdout: true, stderr: true, hijack: true };
      return (await attempt(soon(docker.getContainer(id).attach(options)))) as unknown as Readable;
    },
    attachDuplex: (id) => attempt(soon(attachDuplex(socketPath, id))),

    async putArchive(id, path, archive, signal) {
      await sending(archive, () =>
        docker.getContainer(id).putArchive(archive, { path, abortSignal: signal }),
      );
    },
    async getArchive(id, path, signal) {
      return (await attempt(docker.getContainer(id).getArchive({ path, abortSignal: signal }))) as Readable;
    },
  };
}

/** The parts of `GET /version`, `/info` and `/system/df` that are looked at; engines leave some of them out. */
interface EngineVersion {
  readonly Version: string;
  readonly Components?: readonly { readonly Name: string; readonly Version: string }[] | null;
}
interface EngineInfo {
  readonly Runtimes?: Readonly<Record<string, unknown>> | null;
  readonly SecurityOptions?: readonly string[] | null;
}
interface DiskUsage {
  readonly Volumes?:
    | readonly { readonly Name: string; readonly UsageData?: { readonly Size: number } }[]
    | null;
}

/** As the API numbers them (containers/changes). */
const changeKinds = ['changed', 'added', 'removed'] as const;

async function unlessMissing<T>(call: Promise<T>, alsoFine?: number): Promise<T | undefined> {
  try {
    return await call;
  } catch (error) {
    const { statusCode } = error as { statusCode?: number };
    if (statusCode === 404 || (alsoFine !== undefined && statusCode === alsoFine)) return undefined;
    return attempt(Promise.reject(error as Error));
  }
}

/** A failing source fails the call by its own error, and a failing call ends the source: dockerode only pipes. */
async function sending<T>(source: Readable, call: () => Promise<T>): Promise<T> {
  let failure: Error | undefined;
  source.once('error', (error) => {
    failure = error;
  });
  try {
    return await attempt(call());
  } catch (error) {
    throw failure ?? error;
  } finally {
    source.destroy();
  }
}

/** Engines answer 200 before they begin: a failure stands in the lines of the answer, where dockerode's followProgress overlooks it. */
async function checkMessages(answer: Readable, signal: AbortSignal): Promise<void> {
  let text = '';
  await pipeline(
    answer,
    async (source: AsyncIterable<Buffer>) => {
      for await (const chunk of source) text = (text + chunk.toString()).slice(-65_536);
    },
    { signal },
  );
  for (const line of text.split('\n')) {
    const { error } = parseMessage(line);
    if (error !== undefined) throw new ContainerApiError(`container engine: ${error}`);
  }
}

function parseMessage(line: string): { error?: string } {
  try {
    return JSON.parse(line) as { error?: string };
  } catch {
    return {};
  }
}
