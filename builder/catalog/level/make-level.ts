import { UserError } from '../../../core/user-error.ts';
import type { ContentSpool } from '../../../oci/layer/content-spool.ts';
import { type LayerEntry, layerEpoch } from '../../../oci/layer/entry.ts';
import { readTar } from '../../../oci/layer/tar-reader.ts';
import type { Reader } from '../../../oci/registry.ts';
import type { BaseImage } from '../../engines/assembler/base-image.ts';
import {
  inputsDirectory,
  type LevelImage,
  type LevelInputFile,
  type LevelSandbox,
} from '../../engines/level-sandbox.ts';
import { packagePath } from '../archive-entry.ts';
import type { CatalogEntry } from '../catalog.ts';
import type { DebianPackage } from '../debian/apt.ts';
import type { DebianDownloads } from '../debian/downloads.ts';
import { mergedPath } from '../debian/read-package.ts';
import { textFile } from '../file-tree.ts';
import { useProgram } from '../run-program.ts';
import { readLevelLayer } from './level-layer.ts';
import { aptEnvironment, offlineRepository, prepareApt } from './offline-repository.ts';
import { readInstalled } from './parent-system.ts';

export interface LevelParent extends LevelImage {
  readonly layers: BaseImage['layers'];
  /** Of the Debian at the bottom; undefined = it is none of ours. */
  readonly suite: string | undefined;
}

export interface LevelDeps {
  readonly registry: Reader;
  readonly sandbox: LevelSandbox;
  readonly downloads: DebianDownloads;
  readonly cacheDir: string;
  readonly architecture: string;
  readonly spool: ContentSpool;
  readonly signal: AbortSignal;
  onStep(step: 'download' | 'install', done: number, total: number): void;
  /** A line that the script wrote. */
  log(line: string): void;
}

export interface LevelParts {
  readonly script: Buffer;
  readonly parent: LevelParent;
  /** What needs no engine: it lies in its place before the script runs. */
  readonly files: readonly LayerEntry[];
  /** Below `$SOURCES`. */
  readonly sources: readonly LevelInputFile[];
  readonly timeoutSeconds: number;
}

/**
 * Makes a level by running its script over the parent, where `apt-get install` finds the entry's packages and what they need in an offline
 * repository. Errors: UserError, JobFailed (the script failed or hit a limit), BaseImageGone, ContainerApiError.
 */
export async function makeLevel(
  entry: CatalogEntry,
  parts: LevelParts,
  deps: LevelDeps,
): Promise<{ readonly entries: readonly LayerEntry[]; readonly fetched: readonly string[] }> {
  const { sandbox, signal, spool } = deps;
  const packages = await fetchPackages(entry, parts.parent, deps);
  let lines = 0;
  deps.onStep('install', 0, 0);
  const result = await sandbox.run(
    {
      parent: parts.parent,
      files: [...parts.files.map(merged), ...(packages === undefined ? [] : [noServices])],
      inputs: [
        { path: 'run.sh', content: Buffer.from(runScript(packages)) },
        { path: 'static.sh', content: parts.script, mode: 0o755 },
        ...parts.sources.map((source) => ({ ...source, path: `sources/${source.path}` })),
        ...(packages === undefined ? [] : await offlineRepository(packages)),
      ],
      argv: ['/bin/sh', `${inputsDirectory}/run.sh`],
      environment: { ...entry.file.environment, ...environment(entry, deps.architecture, packages) },
      timeoutSeconds: parts.timeoutSeconds,
    },
    {
      signal,
      log(line) {
        lines += 1;
        deps.onStep('install', lines, 0);
        deps.log(line);
      },
    },
  );
  try {
    const privileged = (): Promise<ReadonlySet<string>> => privilegedFiles(packages ?? [], signal);
    const entries = await readLevelLayer({
      changes: result.changes,
      open: () => result.open(),
      spool,
      privileged,
    });
    const fetched = (packages ?? []).map(({ name, version, sha256 }) => `${name} ${version} ${sha256}`);
    return { entries, fetched };
  } finally {
    await result.close();
  }
}

async function fetchPackages(
  entry: CatalogEntry,
  parent: LevelParent,
  deps: LevelDeps,
): Promise<readonly DebianPackage[] | undefined> {
  const wanted = entry.file.packages?.apt;
  if (wanted === undefined) return undefined;
  const { suite } = parent;
  if (suite === undefined) {
    throw new UserError(
      `${entry.id}: packages need an entry with "debian" at the bottom, which says the suite`,
    );
  }
  const installed = await readInstalled(parent, { ...deps, layers: parent.layers });
  const { packages } = await deps.downloads.download(
    { suite, architecture: deps.architecture, packages: wanted, installed },
    { signal: deps.signal, onProgress: (done, total) => deps.onStep('download', done, total) },
  );
  return packages;
}

function environment(
  entry: CatalogEntry,
  architecture: string,
  packages: readonly DebianPackage[] | undefined,
): Record<string, string> {
  return {
    HOME: '/root',
    LC_ALL: 'C.UTF-8',
    TZ: 'UTC',
    ARCH: architecture,
    SOURCES: `${inputsDirectory}/sources`,
    PACKAGES: (entry.file.packages?.apt ?? []).join(' '),
    // Python then writes .pyc files that name the hash of their source instead of its time, which changes in the layer, and useradd no date of today.
    SOURCE_DATE_EPOCH: String(layerEpoch),
    PYTHONHASHSEED: '0',
    ...(packages === undefined ? {} : aptEnvironment),
  };
}

function runScript(packages: readonly DebianPackage[] | undefined): string {
  const lines = ['set -eu', 'umask 022', ...(packages === undefined ? [] : [prepareApt]), 'cd /'];
  return `${[...lines, `exec ${inputsDirectory}/static.sh`].join('\n')}\n`;
}

/** Debian's invoke-rc.d asks it, and 101 forbids (policy-rc.d(8)): a level is made, nothing is started. */
const noServices = textFile('usr/sbin/policy-rc.d', '#!/bin/sh\nexit 101\n', 0o755);

/** Engines would put a directory `lib` in the place of the link of that name. */
function merged(entry: LayerEntry): LayerEntry {
  const path = mergedPath(entry.path);
  return entry.type === 'hardlink'
    ? { ...entry, path, target: mergedPath(entry.target) }
    : { ...entry, path };
}

/** Paths that these packages bring setuid or setgid. */
async function privilegedFiles(
  packages: readonly DebianPackage[],
  signal: AbortSignal,
): Promise<ReadonlySet<string>> {
  const found = new Set<string>();
  for (const { file } of packages) {
    await useProgram('dpkg-deb', ['--fsys-tarfile', file], { signal }, async (stdout) => {
      for await (const { entry } of readTar(stdout)) {
        if ((entry.mode & 0o6000) !== 0) found.add(mergedPath(packagePath(entry.path)));
      }
    });
  }
  return found;
}
