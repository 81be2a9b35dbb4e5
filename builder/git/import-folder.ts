import { link, mkdir, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

/** Folders of imports whose process died are removed after this time. Milliseconds. */
const abandoned = 24 * 60 * 60 * 1000;

/**
 * A bare repository of its own for one import, next to hard links of the packs that `cached` has: what is there already is not written
 * again, and nothing is taken for there that the store does not have.
 */
export async function createImportFolder(
  folder: string,
  cached: string,
  packs: readonly string[],
): Promise<void> {
  await mkdir(packsOf(folder), { recursive: true });
  await mkdir(join(folder, 'refs'));
  await writeFile(join(folder, 'config'), '[core]\n\trepositoryformatversion = 0\n\tbare = true\n');
  await writeFile(join(folder, 'HEAD'), 'ref: refs/heads/import\n');
  await linkPacks(cached, folder, packs);
}

/** Gives `to` the packs of `from`, by hard links. What is there stays. */
export async function linkPacks(from: string, to: string, ids: readonly string[]): Promise<void> {
  for (const id of ids) {
    // The index last: without it git does not see the pack.
    for (const ending of ['pack', 'idx']) {
      const name = `pack-${id}.${ending}`;
      await link(join(packsOf(from), name), join(packsOf(to), name)).catch((error: NodeJS.ErrnoException) => {
        if (error.code !== 'EEXIST') throw error;
      });
    }
  }
}

export function packsOf(repository: string): string {
  return join(repository, 'objects/pack');
}

/** Removes what imports of dead processes left behind. */
export async function removeAbandonedImports(directory: string): Promise<void> {
  await mkdir(directory, { recursive: true });
  for (const name of await readdir(directory)) {
    const info = await stat(join(directory, name)).catch(() => undefined);
    if (info === undefined || Date.now() - info.mtimeMs < abandoned) continue;
    await rm(join(directory, name), { recursive: true, force: true });
  }
}
