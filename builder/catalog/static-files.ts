import { createHash } from 'node:crypto';
import { lstat, readdir, readFile, readlink } from 'node:fs/promises';
import { join } from 'node:path';
import { formatFaults } from '../../core/document/format-faults.ts';
import { UserError } from '../../core/user-error.ts';
import type { LayerEntry } from '../../oci/layer/entry.ts';
import { checkRuntimeScript } from '../plan/runtime-script.ts';
import type { CatalogEntry } from './catalog.ts';
import { directory, symlink, textFile } from './file-tree.ts';

/** Scripts and settings; large things are sources with checksums. */
const largestFile = 4 * 1024 * 1024;

/** The entry's `static/` tree, root's own with modes 0644 and 0755, and its runtime script under `/etc/appimg/runtime.d`. Errors: UserError. */
export async function readStaticFiles(entry: CatalogEntry): Promise<readonly LayerEntry[]> {
  const entries = await readFolder(join(entry.directory, 'static'), '');
  const { runtime, name } = entry.file;
  if (runtime !== undefined) {
    const script = await readFile(join(entry.directory, 'runtime.sh')).catch((error: unknown) => {
      throw new UserError(`${entry.directory}/base.yaml names a runtime script, but there is no runtime.sh`, {
        cause: error,
      });
    });
    const { document, faults } = checkRuntimeScript(join(entry.directory, 'runtime.sh'), script);
    if (faults.length > 0) throw new UserError(formatFaults(faults, document).trimEnd());
    const order = String(runtime.order).padStart(2, '0');
    entries.push(textFile(`etc/appimg/runtime.d/${order}-${name}.sh`, script, 0o755));
  }
  return entries;
}

/** Names the content of `entries`, which all are small. */
export function hashEntries(entries: readonly LayerEntry[]): string {
  const hash = createHash('sha256');
  for (const entry of [...entries].sort((a, b) => (a.path < b.path ? -1 : 1))) {
    const content =
      entry.type === 'file' && entry.content instanceof Uint8Array ? entry.content : Buffer.alloc(0);
    const mode = entry.type === 'symlink' ? 0 : entry.mode;
    const target = 'target' in entry ? entry.target : '';
    hash.update(JSON.stringify([entry.path, entry.type, mode, target, content.length])).update(content);
  }
  return hash.digest('hex');
}

async function readFolder(folder: string, prefix: string): Promise<LayerEntry[]> {
  const names = await readdir(folder).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT' && prefix === '') return [];
    throw error;
  });
  const entries: LayerEntry[] = [];
  for (const name of names) {
    const file = join(folder, name);
    const path = Buffer.from(prefix + name).toString('latin1');
    const info = await lstat(file);
    if (info.isSymbolicLink()) entries.push(symlink(path, await readlink(file)));
    else if (info.isDirectory())
      entries.push(directory(path), ...(await readFolder(file, `${prefix}${name}/`)));
    else if (!info.isFile()) throw new UserError(`${file} is no plain file`);
    else if (info.size > largestFile)
      throw new UserError(`${file} is larger than 4 MiB: name it as a source instead`);
    // Only the executable bit: the rest is whatever umask the checkout had.
    else entries.push(textFile(path, await readFile(file), (info.mode & 0o100) === 0 ? 0o644 : 0o755));
  }
  return entries;
}
