import { mkdir, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { runOk } from './process.ts';
import { createTempDirectory, type TempDirectory } from './temp.ts';

/** A new ext4 with its usual journal, in a sparse file, mounted (needs root). The caller removes it, as every other temporary directory. */
export async function createFilesystem(bytes: number): Promise<TempDirectory> {
  const directory = await createTempDirectory('disk');
  const image = join(directory.path, 'image');
  const path = join(directory.path, 'mounted');
  let mounted = false;
  const remove = async (): Promise<void> => {
    if (mounted) await runOk('umount', [path]);
    mounted = false;
    await directory.remove();
  };
  try {
    await writeFile(image, '');
    await truncate(image, bytes);
    await runOk('mkfs.ext4', ['-q', '-F', image]);
    await mkdir(path);
    await runOk('mount', ['-o', 'loop', image, path]);
    mounted = true;
  } catch (error) {
    await remove();
    throw error;
  }
  return { path, remove, [Symbol.asyncDispose]: remove };
}
