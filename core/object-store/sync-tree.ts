import { readdir as readdirCallback } from 'node:fs';
import { promisify } from 'node:util';
import { filePath } from './byte-path.ts';
import type { DirectorySync } from './directory-sync.ts';
import { isMissing } from './file-errors.ts';
import { parseEntry } from './key-path.ts';

const readdir = promisify(readdirCallback);

/** Syncs a directory, its parents, and every directory below it. */
export async function syncTree(directories: DirectorySync, directory: string): Promise<void> {
  let names: string[];
  try {
    names = await readdir(filePath(directory), 'latin1');
  } catch (error) {
    if (isMissing(error)) return;
    throw error;
  }
  const below = names.filter((name) => ['directory', 'cut'].includes(parseEntry(name)?.kind ?? ''));
  await Promise.all([
    directories.sync(directory),
    ...below.map((name) => syncTree(directories, `${directory}/${name}`)),
  ]);
}
