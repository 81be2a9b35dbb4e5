import type { Readable } from 'node:stream';
import { JobFailed } from '../../../core/queue/job-queue.ts';
import type { ContentSpool } from '../../../oci/layer/content-spool.ts';
import type { LayerEntry, LayerFile } from '../../../oci/layer/entry.ts';
import { TarError } from '../../../oci/layer/tar-decode.ts';
import { readTar, type TarEntry, type TarLimits } from '../../../oci/layer/tar-reader.ts';
import { systemPathFault } from '../../plan/system-path.ts';
import { appOwner } from './entry-table.ts';
import { cleanPath, isAbove, isInside, refuse } from './path-policy.ts';

/** More than any real build leaves; an endless archive ends here. */
const defaultLimits: TarLimits = { entries: 500_000, bytes: 20 * 1024 ** 3 };

/**
 * What build commands left, from a tar that they could have written themselves: nothing is extracted, contents go into the spool.
 * Owners become the app's and modes 0644 or 0755, so setuid bits are lost; a hard link becomes a second file with the same content. Directories
 * above the app's own are left out. With `outside`, files and links elsewhere are root's, where `systemPathFault` allows them, and directories
 * there are the base's. Errors: JobFailed for everything else that is no plain file, directory or symlink below `directory`.
 */
export async function readOutputs(
  outputs: Readable,
  options: {
    readonly directory: string;
    readonly spool: ContentSpool;
    readonly limits?: TarLimits;
    /** Default false: files elsewhere are refused. */
    readonly outside?: boolean;
  },
): Promise<readonly LayerEntry[]> {
  const entries: LayerEntry[] = [];
  const files = new Map<string, LayerFile>();
  try {
    for await (const { entry, body } of readTar(outputs, { ...defaultLimits, ...options.limits })) {
      const path = cleanPath(entry.path);
      if (entry.type === 'directory' && isAbove(path, options.directory)) continue;
      const inside = isInside(path, options.directory);
      if (!inside && options.outside !== true) {
        throw refuse(entry.path, `outputs must lie below ${options.directory}`);
      }
      if (!inside && entry.type === 'directory') continue;
      const fault = inside ? undefined : systemPathFault(`/${path}`);
      if (fault !== undefined) throw refuse(entry.path, `it ${fault.message}`);
      const own = await toLayerEntry(entry, path, body, files, options.spool);
      const made = inside ? own : { ...own, uid: 0, gid: 0 };
      if (made.type === 'file') files.set(path, made);
      entries.push(made);
    }
  } catch (error) {
    if (error instanceof TarError) {
      throw new JobFailed(`the build's outputs were refused: ${error.message}`, { cause: error });
    }
    throw error;
  } finally {
    outputs.destroy();
  }
  return entries;
}

async function toLayerEntry(
  entry: TarEntry,
  path: string,
  body: AsyncIterable<Buffer>,
  files: ReadonlyMap<string, LayerFile>,
  spool: ContentSpool,
): Promise<LayerEntry> {
  switch (entry.type) {
    case 'file':
      return { type: 'file', path, mode: fileMode(entry.mode), ...appOwner, content: await spool.add(body) };
    case 'directory':
      return { type: 'directory', path, mode: 0o755, ...appOwner };
    case 'symlink':
      return { type: 'symlink', path, target: symlinkTarget(path, entry.target), ...appOwner };
    case 'hardlink': {
      const original = files.get(cleanPath(entry.target));
      if (original === undefined)
        throw refuse(entry.path, 'it is a hard link to a file that is not among them');
      return { ...original, path };
    }
    case 'character device':
    case 'block device':
    case 'fifo':
      throw refuse(entry.path, `it is a ${entry.type}`);
  }
}

/** Executable by anyone = executable by all. */
export function fileMode(mode: number): number {
  return (mode & 0o111) === 0 ? 0o644 : 0o755;
}

/** Kept literally, wherever it points: only the container resolves it. */
export function symlinkTarget(path: string, target: string): string {
  if (target === '' || target.length > 4095 || target.includes('\0')) {
    throw refuse(path, 'its target is no usable path');
  }
  return target;
}
