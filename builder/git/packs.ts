import { createReadStream } from 'node:fs';
import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import type { ObjectStore } from '../../core/object-store/object-store.ts';
import { gitKeys } from './git-keys.ts';
import { startGit } from './git-process.ts';
import { restorePack, storePackIndex } from './restore-pack.ts';

/** Packs up to this many bytes are stored in one call; larger ones are streamed. */
const singlePut = 4 * 1024 * 1024;

/** Ids of the packs in a folder `objects/pack`; empty when it is not there. Git names a pack by its content. */
export async function listPacks(folder: string): Promise<string[]> {
  let names: string[];
  try {
    names = await readdir(folder);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
  return names
    .map((name) => /^pack-([0-9a-f]{40})\.idx$/.exec(name)?.[1])
    .filter((id): id is string => id !== undefined);
}

/** Durable when it returns. Storing the same pack twice is no error. */
export async function storePack(
  store: ObjectStore,
  repository: { team: string; app: string },
  id: string,
  folder: string,
): Promise<void> {
  await Promise.all([
    storePackFile(store, repository, id, folder),
    // Without it the pack is good too, only slower to bring back.
    storePackIndex(store, repository, id, folder).catch(() => {}),
  ]);
}

async function storePackFile(
  store: ObjectStore,
  repository: { team: string; app: string },
  id: string,
  folder: string,
): Promise<void> {
  const file = join(folder, `pack-${id}.pack`);
  const key = gitKeys.pack(repository.team, repository.app, id);
  const { size } = await stat(file);
  if (size <= singlePut) {
    await store.put(key, await readFile(file));
    return;
  }
  const known = await store.head(key);
  if (known?.size === size) return;
  let state = await store.multipart.create(key);
  try {
    const writer = await store.multipart.resume(key, state);
    try {
      for await (const chunk of createReadStream(file, { highWaterMark: 1024 * 1024 })) {
        await writer.write(chunk as Buffer);
      }
      state = await writer.checkpoint();
    } finally {
      await writer.close();
    }
    await store.multipart.complete(key, state);
  } catch (error) {
    await store.multipart.abort(key, state).catch(() => {});
    throw error;
  }
}

/**
 * Brings a pack from the store into the repository: as it is where its index is there and the checksums fit, else git checks every object of it.
 * Errors: the pack is missing or damaged.
 */
export async function fetchPack(
  store: ObjectStore,
  repository: { team: string; app: string },
  id: string,
  cache: { path: string; environment: Record<string, string> },
): Promise<void> {
  if (await restorePack(store, repository, id, join(cache.path, 'objects/pack'))) return;
  const stored = await store.getStream(gitKeys.pack(repository.team, repository.app, id));
  if (stored === undefined) throw new Error(`pack ${id} is missing in the store`);
  // Written under a temporary name and renamed by git, so several processes may do this at once.
  const git = startGit(['index-pack', '--stdin'], {
    environment: { ...cache.environment, GIT_DIR: cache.path },
    cwd: cache.path,
    stdio: ['pipe', 'ignore', 'pipe'],
  });
  try {
    if (git.child.stdin !== null) await pipeline(stored.body, git.child.stdin);
  } catch (error) {
    stored.body.destroy();
    const code = await git.exited;
    throw new Error(`pack ${id} could not be read back (git ${code}): ${git.stderr()}`, { cause: error });
  }
  const code = await git.exited;
  if (code !== 0) throw new Error(`pack ${id} is damaged: ${git.stderr()}`);
}
