import { type FileTree, readContent, textFile } from '../file-tree.ts';
import { encodeLinkerCache, type LinkedLibrary, sonameOf } from './linker-cache.ts';

/** Debian's names of library directories by architecture. */
const triplets: Readonly<Record<string, string>> = {
  amd64: 'x86_64-linux-gnu',
  arm64: 'aarch64-linux-gnu',
};

/** Adds /etc/ld.so.cache over the directories of Debian's ld.so.conf that packages fill. */
export async function addLinkerCache(tree: FileTree, architecture: string): Promise<void> {
  const found = new Map<string, LinkedLibrary>();
  // /lib and /usr/lib are one directory here; ldconfig names what it meets first.
  const directories = [`lib/${triplets[architecture] ?? ''}`, 'lib'];
  for (const directory of directories) {
    for (const library of await librariesIn(tree, directory)) {
      if (!found.has(library.name)) found.set(library.name, library);
    }
  }
  tree.replace(textFile('etc/ld.so.cache', encodeLinkerCache([...found.values()], architecture)));
}

async function librariesIn(tree: FileTree, directory: string): Promise<LinkedLibrary[]> {
  const prefix = `usr/${directory}/`;
  const libraries: LinkedLibrary[] = [];
  for (const entry of tree.below(`usr/${directory}`)) {
    const file = entry.path.slice(prefix.length);
    if (file.includes('/') || entry.type !== 'file' || !/^(?:lib|ld-).*\.so(?:\.|$)/.test(file)) continue;
    const name = sonameOf(await readContent(entry.content)) ?? file;
    // Without a file of that name the linker could not open what the cache says.
    if (tree.get(prefix + name) !== undefined) libraries.push({ name, path: `/${directory}/${name}` });
  }
  return libraries;
}
