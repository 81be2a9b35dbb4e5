import { type ArtifactLimits, artifactLimits } from './artifacts.ts';
import { type OutputLimits, outputLimits } from './outputs.ts';

/** What the commands of one step may use. Each is `builder.sandbox.NAME` of the configuration, but for the last three. */
export interface SandboxLimits {
  /** Bytes of memory, swap and /tmp included. */
  readonly memory: number;
  readonly cpus: number;
  /** Processes and threads. */
  readonly processes: number;
  /** Bytes on disk: the workspace and $HOME together. */
  readonly disk: number;
  /** Files and directories on disk. */
  readonly files: number;
  /** Bytes of one file. */
  readonly fileSize: number;
  /** Bytes of /tmp, which is memory. */
  readonly tmp: number;
  /** Bytes of output; a build that writes more is killed. */
  readonly output: number;
  /** Seconds that no step exceeds, whatever App.yaml says. */
  readonly timeout: number;
  /** Bytes that stay free on the engine's disk: below, running builds end and are tried again elsewhere or later. */
  readonly diskReserve: number;
  readonly outputs: OutputLimits;
  readonly artifacts: ArtifactLimits;
}

export const sandboxLimits: SandboxLimits = {
  memory: 2 * 1024 ** 3,
  cpus: 2,
  processes: 512,
  disk: 20 * 1024 ** 3,
  files: 1_000_000,
  fileSize: 8 * 1024 ** 3,
  tmp: 1024 ** 3,
  output: 256 * 1024 ** 2,
  timeout: 6 * 3600,
  diskReserve: 512 * 1024 ** 2,
  outputs: outputLimits,
  artifacts: artifactLimits,
};

/** `2 GiB`, `512 MiB`: as somebody writes a limit. */
export function limitText(bytes: number): string {
  const units = ['bytes', 'KiB', 'MiB', 'GiB'];
  let unit = 0;
  let value = bytes;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${Number.isInteger(value) ? value : value.toFixed(1)} ${units[unit]}`;
}
