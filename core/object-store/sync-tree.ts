import { readNames } from './directory-entries.ts';
import type { DirectorySync } from './directory-sync.ts';
import { parseEntry } from './key-path.ts';

/** Syncs a directory, its parents, and every directory below it. */
export async function syncTree(directories: DirectorySync, directory: string): Promise<void> {
  const names = await readNames(directory);
  const below = names.filter((name) => ['directory', 'cut'].includes(parseEntry(name)?.kind ?? ''));
  await Promise.all([
    directories.sync(directory),
    ...below.map((name) => syncTree(directories, `${directory}/${name}`)),
  ]);
}
