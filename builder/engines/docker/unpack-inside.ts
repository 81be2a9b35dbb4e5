import type { Duplex, Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { type ContainerApi, ContainerApiError, type ContainerOptions } from './container-api.ts';
import { demultiplex } from './log-lines.ts';

type UnpackApi = Pick<
  ContainerApi,
  'createContainer' | 'attachDuplex' | 'startContainer' | 'waitContainer' | 'containerEnd' | 'removeContainer'
>;
type UnpackOptions = Omit<ContainerOptions, 'argv' | 'network' | 'stdin' | 'environment'>;

/**
 * Unpacks a tar by the image's own `tar`, in a container that has nothing but the volume: of many small files five to twenty times as fast as the
 * engine's own unpacking (20,000 files: 0.8 s beside 3.9 to 18 s), which is one system process per call and several calls per file. Everything becomes the
 * container's user's. False: it could not, whatever the reason (there is no shell or no `tar` in the image, say), and some of it may lie there already.
 * Errors: the archive's own, and the signal's reason.
 */
export async function unpackInside(
  api: Pick<
    ContainerApi,
    | 'createContainer'
    | 'attachDuplex'
    | 'startContainer'
    | 'waitContainer'
    | 'containerEnd'
    | 'removeContainer'
  >,
  options: Omit<ContainerOptions, 'argv' | 'network' | 'stdin' | 'environment'>,
  folder: string,
  archive: Readable,
  signal: AbortSignal,
): Promise<boolean> {
  let failure: Error | undefined;
  archive.once('error', (error) => {
    failure = error;
  });
  try {
    const unpacked = await run(api, options, folder, archive, signal);
    if (failure !== undefined) throw failure;
    return unpacked;
  } catch (error) {
    signal.throwIfAborted();
    if (error instanceof ContainerApiError) return false;
    throw error;
  } finally {
    archive.destroy();
  }
}

async function run(
  api: UnpackApi,
  options: UnpackOptions,
  folder: string,
  archive: Readable,
  signal: AbortSignal,
): Promise<boolean> {
  const container = await api.createContainer({
    ...options,
    // BusyBox takes the modes of files from its mask, whatever -p says.
    argv: ['sh', '-c', 'umask 0 && exec tar -x -p -f - -C "$0"', folder],
    environment: { PATH: '/usr/local/bin:/usr/bin:/bin' },
    network: 'none',
    stdin: true,
  });
  try {
    const streams = await api.attachDuplex(container);
    // What it says, it says of an archive that was checked when it was made.
    const heard = drain(streams);
    await api.startContainer(container);
    // A tar that gives up lets go of its input: its exit code tells.
    await pipeline(archive, streams, { signal }).catch(() => {});
    signal.throwIfAborted();
    await api.waitContainer(container, signal);
    await heard;
    return (await api.containerEnd(container)).exitCode === 0;
  } finally {
    await api.removeContainer(container).catch(() => {});
  }
}

async function drain(streams: Duplex): Promise<void> {
  try {
    for await (const _ of demultiplex(streams));
  } catch {
    // A connection that breaks off says nothing about the exit code.
  }
}
