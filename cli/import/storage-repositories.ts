import { opendir, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { UserError } from '../../core/user-error.ts';
import { type Digest, isDigest } from '../../oci/digest.ts';
import type { StorageFiles } from './storage-files.ts';

/** Every folder with manifests in it, in byte order, whatever it is called. `onSkipped` hears of links, which are not followed. Errors: UserError. */
export async function listStorageRepositories(
  files: StorageFiles,
  onSkipped: (notice: string) => void,
): Promise<readonly string[]> {
  const found: string[] = [];
  const walk = async (name: string): Promise<void> => {
    const path = join(files.root, 'repositories', name);
    for (const entry of await readFolder(path)) {
      const inner = name === '' ? entry.name : `${name}/${entry.name}`;
      if (entry.isSymbolicLink()) onSkipped(`repositories/${inner} is a symbolic link: not followed`);
      else if (!entry.isDirectory()) continue;
      else if (entry.name === '_manifests') found.push(name);
      // `_layers`, `_uploads`: a part of a name never begins like this.
      else if (entry.name.startsWith('_')) continue;
      else if (inner.length > maxNameLength)
        onSkipped(`repositories/${inner.slice(0, 80)}… is too long a name`);
      else await walk(inner);
    }
  };
  await walk('');
  return found.toSorted();
}

/** Longer than a repository's name may be, and an end for folders in folders. */
const maxNameLength = 255;

/** In byte order; empty where there are none. */
export async function listStorageTags(files: StorageFiles, repository: string): Promise<readonly string[]> {
  const entries = await readFolder(join(files.root, 'repositories', repository, '_manifests', 'tags'));
  return entries
    .filter((entry) => entry.isDirectory())
    .map((entry) => entry.name)
    .toSorted();
}

/** Every manifest that was pushed and not deleted, tagged or not. */
export async function* listStorageManifests(
  files: StorageFiles,
  repository: string,
): AsyncGenerator<Digest, void> {
  const folder = join(files.root, 'repositories', repository, '_manifests', 'revisions');
  for (const algorithm of await readFolder(folder)) {
    if (!algorithm.isDirectory()) continue;
    // One by one: an old repository has hundreds of thousands.
    for await (const { name } of await opendir(join(folder, algorithm.name))) {
      const digest = `${algorithm.name}:${name}`;
      if (!isDigest(digest)) continue;
      // A deleted manifest leaves its folder behind.
      const linked = await files.readLink(join(folder, algorithm.name, name, 'link')).catch(() => digest);
      if (linked !== undefined) yield digest;
    }
  }
}

async function readFolder(path: string): ReturnType<typeof readEntries> {
  try {
    return await readEntries(path);
  } catch (cause) {
    if (['ENOENT', 'ENOTDIR'].includes((cause as NodeJS.ErrnoException).code ?? '')) return [];
    throw new UserError(`cannot read ${path}: ${(cause as Error).message}`, { cause });
  }
}

function readEntries(path: string) {
  return readdir(path, { withFileTypes: true });
}
