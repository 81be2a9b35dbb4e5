import type { ContainerOptions } from './container-api.ts';
import { secretsFolder } from './secret-files.ts';

/** Open files of one process; processes of the build user on the whole machine (`PidsLimit` is what bounds one build). */
const plenty = 16_384;

/** What the engine's API is sent to create a container; as plain data, so that only one file knows its client. */
export function createOptions(container: ContainerOptions) {
  const [entrypoint = '', ...command] = container.argv;
  return {
    Image: container.image,
    Labels: { ...container.labels },
    Entrypoint: [entrypoint],
    Cmd: command,
    Env: Object.entries(container.environment).map(([name, value]) => `${name}=${value}`),
    User: container.user,
    WorkingDir: container.workingDirectory,
    AttachStdin: container.stdin === true,
    OpenStdin: container.stdin === true,
    StdinOnce: container.stdin === true,
    AttachStdout: true,
    AttachStderr: true,
    // A base image's own would run beside the build.
    Healthcheck: { Test: ['NONE'] },
    HostConfig: {
      NetworkMode: networkMode(container.network),
      ...(container.runtime === undefined ? {} : { Runtime: container.runtime }),
      IpcMode: 'private',
      // Should the machine run out of memory, a build ends before what serves others.
      OomScoreAdj: 500,
      ReadonlyRootfs: container.rootAccess !== 'read-write',
      Tmpfs: { '/tmp': `rw,exec,nosuid,nodev,mode=1777,size=${container.tmpSize}` },
      Mounts: mounts(container),
      CapDrop: ['ALL'],
      CapAdd: [...(container.capabilities ?? [])],
      SecurityOpt: ['no-new-privileges'],
      Memory: container.memory,
      MemorySwap: container.memory,
      NanoCpus: container.cpus * 1e9,
      PidsLimit: container.processes,
      Ulimits: [
        { Name: 'core', Soft: 0, Hard: 0 },
        // Podman's own defaults are more than a process without CAP_SYS_RESOURCE may give away.
        { Name: 'nofile', Soft: plenty, Hard: plenty },
        { Name: 'nproc', Soft: plenty, Hard: plenty },
        { Name: 'fsize', Soft: container.fileSize, Hard: container.fileSize },
      ],
      // What is attached is all there is: nothing piles up at the engine.
      LogConfig: { Type: 'none', Config: {} },
      RestartPolicy: { Name: 'no' },
    },
  };
}

function networkMode(network: ContainerOptions['network']): string {
  return network === 'none' ? 'none' : `container:${network.container}`;
}

interface VolumeMount {
  readonly Type: 'volume';
  readonly Source: string;
  readonly Target: string;
  readonly ReadOnly?: boolean;
}

function mounts(container: ContainerOptions): VolumeMount[] {
  const { volume, mountPoint, volumeAccess, secretVolume } = container;
  const all: VolumeMount[] = [];
  if (volume !== undefined && mountPoint !== undefined) {
    all.push({ Type: 'volume', Source: volume, Target: mountPoint, ReadOnly: volumeAccess === 'read-only' });
  }
  // Writable only for root, which no command is: a read-only one could not be filled.
  if (secretVolume !== undefined) all.push({ Type: 'volume', Source: secretVolume, Target: secretsFolder });
  return all;
}
