import type { LayerEntry } from '../../oci/layer/entry.ts';
import type { PlannedBase } from '../plan/plan.ts';
import type { EngineContext } from './engine.ts';

/** An image of the own registry: by digest, `name` for messages. */
export type LevelImage = Pick<PlannedBase, 'name' | 'repository' | 'digest'>;

/** Runs what a level of the catalog needs a container engine for: its script over the parent, and its smoke test. */
export interface LevelSandbox {
  /** For messages: `Docker or Podman at /run/docker.sock`. */
  readonly name: string;
  /**
   * Runs `argv` as root in a container of the parent: no network, no credential, bounded memory, CPU, processes, disk and time. The caller
   * closes what it returns. Errors: JobFailed when it fails or hits a limit, BaseImageGone, the signal's reason, ContainerApiError.
   */
  run(input: LevelInput, context: EngineContext): Promise<LevelResult>;
  /**
   * Runs each command by /bin/sh as the user `app` in a container of the image: no network, read-only root, /tmp in memory.
   * Errors: JobFailed naming the command that failed; BaseImageGone, the signal's reason, ContainerApiError.
   */
  test(input: LevelTest, context: EngineContext): Promise<void>;
}

export interface LevelInput {
  readonly parent: LevelImage;
  /** Laid into the root file system before anything runs; missing parents get root:root 0755. */
  readonly files: readonly LayerEntry[];
  /** Read-only below `/run/brickyard` (`inputsDirectory`). */
  readonly inputs: readonly LevelInputFile[];
  readonly argv: readonly string[];
  /** Added to the parent image's own. */
  readonly environment: Readonly<Record<string, string>>;
  readonly timeoutSeconds: number;
}

export interface LevelInputFile {
  /** Below `/run/brickyard`, ASCII. */
  readonly path: string;
  /** Default 0644. */
  readonly mode?: number;
  /** The bytes, or a file of this machine that has `size` bytes. */
  readonly content: Buffer | { readonly file: string; readonly size: number };
}

/** A path that differs from the parent, absolute, as text. */
export interface FileChange {
  readonly path: string;
  /** A replaced directory is `removed`, and its new contents are `added`. */
  readonly kind: 'changed' | 'added' | 'removed';
}

export interface LevelResult {
  readonly changes: readonly FileChange[];
  /** The whole root file system as a tar; may be called more than once. */
  open(): Promise<AsyncIterable<Uint8Array>>;
  close(): Promise<void>;
}

export interface LevelTest {
  readonly image: LevelImage;
  readonly commands: readonly string[];
  /** Seconds for all of them. */
  readonly timeoutSeconds: number;
}

/** Where a level's script finds its inputs. */
export const inputsDirectory = '/run/brickyard';
