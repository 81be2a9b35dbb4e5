import { UserError } from '../../core/user-error.ts';
import type { Limit } from '../../oci/copy/limit.ts';
import type { Registry } from '../../oci/registry.ts';
import type { BaseImageReader } from '../engines/assembler/base-image.ts';
import type { LevelSandbox } from '../engines/level-sandbox.ts';
import type { CatalogEntry } from './catalog.ts';
import type { DebianDownloads } from './debian/downloads.ts';
import type { SourceFetcher } from './sources/source-fetcher.ts';

export interface BaseImageProgress {
  /** The entry's id, `jdk:17`. */
  readonly name: string;
  readonly step: 'download' | 'unpack' | 'install' | 'compress' | 'push' | 'test' | 'done';
  readonly done: number;
  /** 0 = nobody knows. */
  readonly total: number;
}

/** What all levels of one run share. */
export interface LevelContext {
  readonly registry: Registry;
  readonly cacheDir: string;
  /** That of this machine, or that of the image which is made: `amd64`, `arm64`. */
  readonly architecture: string;
  /** Those that were asked for; undefined = those of the image that is there, else this machine's. */
  readonly architectures: readonly string[] | undefined;
  readonly update: boolean;
  readonly signal: AbortSignal;
  readonly readBase: BaseImageReader;
  readonly fetcher: SourceFetcher;
  readonly downloads: DebianDownloads;
  /** Undefined: no container engine answers. Called when one is needed. */
  sandbox(): Promise<LevelSandbox | undefined>;
  /** Bounds how many scripts run at the same time. */
  readonly runs: Limit;
  onProgress(progress: BaseImageProgress): void;
  /** A line that a script or a test wrote. */
  output(entry: CatalogEntry, line: string): void;
  /** What whoever builds should know. */
  note(line: string): void;
}

/** A level that only a container engine can make, and none is there. */
export class EngineMissing extends UserError {
  constructor(entry: CatalogEntry) {
    super(`${entry.id} needs a container engine, and none answers`);
  }
}

export function reporter(
  entry: CatalogEntry,
  context: LevelContext,
): (step: BaseImageProgress['step'], done: number, total: number) => void {
  return (step, done, total) => context.onProgress({ name: entry.id, step, done, total });
}

/** Seconds; the text was checked by the schema. */
export function levelTimeout(entry: CatalogEntry): number {
  const text = entry.file.timeout ?? '15m';
  return Number(text.slice(0, -1)) * { s: 1, m: 60, h: 3600 }[text.at(-1) as 's' | 'm' | 'h'];
}
