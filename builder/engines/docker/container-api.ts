import type { Duplex, Readable } from 'node:stream';
import type { FileChange } from '../level-sandbox.ts';

/** What the rooms behind `docker.ts` ask of a container engine: Docker's HTTP API, of which Podman speaks a dialect. */
export interface ContainerApi {
  /** What the engine says of itself. */
  about(): Promise<EngineFacts>;

  /** Undefined = no such image. */
  inspectImage(name: string): Promise<{ id: string; diffIds: readonly string[] } | undefined>;
  /** Loads a docker-archive. Errors: ContainerApiError, also for what the engine reports inside of a successful answer. */
  loadImage(archive: Readable, signal: AbortSignal): Promise<void>;
  /** A docker-archive of one image; the caller consumes or destroys it. */
  saveImage(name: string, signal: AbortSignal): Promise<Readable>;
  /** Removing what is not there is no error. */
  removeImage(name: string): Promise<void>;
  /** Runs the classic builder over a tar of the context; the answer is the stream of its JSON lines. */
  buildImage(context: Readable, options: BuildImageOptions, signal: AbortSignal): Promise<Readable>;

  createVolume(name: string, labels: Labels): Promise<void>;
  /** Removing what is not there is no error. */
  removeVolume(name: string): Promise<void>;
  /** Where the volume lies on the engine's machine; undefined = the engine does not say. */
  volumePath(name: string): Promise<string | undefined>;
  /** Bytes of each volume by its name, counted by the engine file by file; undefined = it is counting for somebody else just now. */
  volumeSizes(): Promise<ReadonlyMap<string, number> | undefined>;
  listVolumes(label: string): Promise<readonly { name: string; labels: Labels }[]>;

  /** Returns the container's id. */
  createContainer(options: ContainerOptions): Promise<string>;
  startContainer(id: string): Promise<void>;
  /** Resolves when it has ended. */
  waitContainer(id: string, signal: AbortSignal): Promise<void>;
  containerEnd(id: string): Promise<ContainerEnd>;
  /** Bytes that it has written to its root file system so far. */
  containerSize(id: string): Promise<number>;
  /** Processes and threads that it has now; undefined = the engine does not say, or it has ended. */
  processCount(id: string): Promise<number | undefined>;
  /** What it changed in its root file system. */
  changes(id: string): Promise<readonly FileChange[]>;
  /** Its whole root file system as a tar, without what volumes hold; the caller consumes or destroys it. */
  exportContainer(id: string, signal: AbortSignal): Promise<Readable>;
  /** SIGKILL to all of its processes; killing what has ended is no error. */
  killContainer(id: string): Promise<void>;
  /** Forced; removing what is not there is no error. */
  removeContainer(id: string): Promise<void>;
  listContainers(label: string): Promise<readonly { id: string; labels: Labels }[]>;
  /** Standard output and error from the very start when attached before it, in frames (`log-lines.ts`). */
  attach(id: string): Promise<Readable>;
  /** As `attach`, and what is written goes to its standard input. */
  attachDuplex(id: string): Promise<Duplex>;

  /** Unpacks a tar into `path`, which lies in a volume; owners are numeric. */
  putArchive(id: string, path: string, archive: Readable, signal: AbortSignal): Promise<void>;
  /** A tar of `path`, its names starting with the path's last part; the caller consumes or destroys it. */
  getArchive(id: string, path: string, signal: AbortSignal): Promise<Readable>;
}

export interface EngineFacts {
  /** `Docker` or `Podman`. */
  readonly name: string;
  readonly version: string;
  /** Version of runc, where that is what starts containers. */
  readonly runc: string | undefined;
  /** Names under which `ContainerOptions.runtime` may ask for one. */
  readonly runtimes: readonly string[];
  /** As the engine words them: `name=seccomp,profile=default`, `name=userns`. */
  readonly security: readonly string[];
}

/** How a container ended. */
export interface ContainerEnd {
  readonly exitCode: number;
  readonly outOfMemory: boolean;
  /** Why it could not be started; mostly empty. */
  readonly error: string;
}

export type Labels = Readonly<Record<string, string>>;

export interface BuildImageOptions {
  readonly tag: string;
  /** For RUN instructions. */
  readonly network: 'none' | 'open';
  /** Bytes for each RUN instruction, swap included. */
  readonly memory: number;
}

export interface ContainerOptions {
  readonly image: string;
  readonly labels: Labels;
  readonly argv: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
  /** Numeric, `uid:gid`. */
  readonly user: string;
  /** With `mountPoint`; default none. */
  readonly volume?: string;
  /** Where the volume is mounted; an empty one gets what the image holds there. */
  readonly mountPoint?: string;
  /** Default `read-write`. */
  readonly volumeAccess?: 'read-write' | 'read-only';
  /** Default `read-only`: only the volume and /tmp can be written. */
  readonly rootAccess?: 'read-write' | 'read-only';
  /** Linux capabilities without `CAP_`; default none. */
  readonly capabilities?: readonly string[];
  /** Mounted at /run/secrets. */
  readonly secretVolume?: string;
  readonly workingDirectory: string;
  /** `{ container }`: the network of that one, which must be running when this one starts. */
  readonly network: 'none' | { readonly container: string };
  /** One of `EngineFacts.runtimes`; default: the engine's own. */
  readonly runtime?: string;
  /** True: `attachDuplex` writes to its standard input. */
  readonly stdin?: boolean;
  /** Bytes, swap included. */
  readonly memory: number;
  readonly cpus: number;
  readonly processes: number;
  /** Bytes of one file that a process may write. */
  readonly fileSize: number;
  /** Bytes of the memory file system at /tmp. */
  readonly tmpSize: number;
}

/** The engine refused or could not; the fault is the farm's or the engine's, not the build's. */
export class ContainerApiError extends Error {
  override readonly name = 'ContainerApiError';
}
