import { createHash, randomBytes } from 'node:crypto';
import { mkdir, open, rename, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { claimFile } from '../../core/object-store/locks.ts';
import type { ObjectStore } from '../../core/object-store/object-store.ts';
import { fetchPack, listPacks } from './packs.ts';
import { type RefsDocument, readRefs, type VersionedRefs } from './refs-document.ts';

/**
 * Bare repositories on disk, made from the store and thrown away at will. Git's own programs read them and add packs; refs are
 * written by this file alone, always as one `packed-refs` that replaces the old one, so a reader sees one state or the other.
 */
export interface RepositoryCache {
  path(team: string, app: string): string;
  /** Makes the folder say what the store says now; `create` also where the store knows no such repository yet. */
  open(team: string, app: string, options?: { create?: boolean }): Promise<VersionedRefs | undefined>;
  /** The same for a repository that is known to be there. */
  update(team: string, app: string): Promise<void>;
  /** Removes packs that came with a refused push, unless the store's refs need them. */
  dropPacks(team: string, app: string, ids: readonly string[]): Promise<void>;
  /** Throws the folder away: it was found damaged. */
  discard(team: string, app: string): Promise<void>;
  /** Somebody still reads in the folder; `open` and `update` say so by themselves. */
  touch(team: string, app: string): Promise<void>;
  /** Throws the folder away unless it was used since `before` (milliseconds since 1970, this machine's clock). True: it is gone. */
  discardUnused(team: string, app: string, before: number): Promise<boolean>;
}

export function createRepositoryCache(deps: {
  store: ObjectStore;
  directory: string;
  environment: Record<string, string>;
}): RepositoryCache {
  const { store, directory, environment } = deps;
  /** One writer per repository: within this process by these tails, among processes by a lock that the kernel frees. */
  const tails = new Map<string, Promise<unknown>>();

  const path = (team: string, app: string): string => join(directory, 'repositories', team, `${app}.git`);

  function exclusive<T>(key: string, task: () => Promise<T>): Promise<T> {
    const locked = (): Promise<T> =>
      withFileLock(join(directory, 'locks', `${key.replace('/', '~')}.lock`), task);
    const result = (tails.get(key) ?? Promise.resolve()).then(locked, locked);
    const tail = result
      .catch(() => {})
      .finally(() => {
        if (tails.get(key) === tail) tails.delete(key);
      });
    tails.set(key, tail);
    return result;
  }

  async function bringUp(team: string, app: string, refs: VersionedRefs): Promise<void> {
    const folder = path(team, app);
    const mark = markOf(refs.etag);
    let found = await readMark(folder);
    if (found === undefined) {
      await createBare(folder);
      found = '';
    }
    // Also when the refs are up to date: packs may have been lost since.
    const packFolder = join(folder, 'objects/pack');
    const have = new Set(await listPacks(packFolder));
    const missing = refs.document.packs.filter((id) => !have.delete(id));
    const outcomes = await Promise.allSettled(
      Array.from({ length: packsAtOnce }, async (_, first) => {
        for (let index = first; index < missing.length; index += packsAtOnce) {
          await fetchPack(store, { team, app }, missing[index] ?? '', { path: folder, environment });
        }
      }),
    );
    // All have ended: whoever throws the folder away now finds nobody writing there.
    for (const outcome of outcomes) if (outcome.status === 'rejected') throw outcome.reason;
    // What the store does not know must not stay: a push could build upon objects that only this disk has.
    for (const id of have) if (await isLeftOver(packFolder, id)) await removePack(packFolder, id);
    if (found !== mark) await writeRefFiles(folder, refs.document, mark);
    await touchFolder(folder);
  }

  return {
    path,
    open: (team, app, options = {}) =>
      exclusive(`${team}/${app}`, async () => {
        for (let attempt = 0; ; attempt++) {
          const refs = await readRefs(store, team, app);
          if (refs.etag === undefined && options.create !== true) return undefined;
          try {
            await bringUp(team, app, refs);
            return refs;
          } catch (error) {
            // Packs that were put together meanwhile are gone from the store, and the document says so by now.
            if (attempt === 3) throw error;
            const again = await readRefs(store, team, app);
            if (again.etag === refs.etag) {
              if (attempt > 0) throw error;
              await discardFolder(path(team, app));
            }
          }
        }
      }),
    update: (team, app) =>
      exclusive(`${team}/${app}`, async () => bringUp(team, app, await readRefs(store, team, app))),
    dropPacks: (team, app, ids) =>
      exclusive(`${team}/${app}`, async () => {
        const { document } = await readRefs(store, team, app);
        const folder = join(path(team, app), 'objects/pack');
        for (const id of ids) if (!document.packs.includes(id)) await removePack(folder, id);
      }),
    discard: (team, app) => exclusive(`${team}/${app}`, () => discardFolder(path(team, app))),
    touch: (team, app) => touchFolder(path(team, app)),
    discardUnused: (team, app, before) =>
      exclusive(`${team}/${app}`, async () => {
        const folder = path(team, app);
        const used = await stat(folder).catch(() => undefined);
        if (used === undefined || used.mtimeMs > before) return false;
        await discardFolder(folder);
        return true;
      }),
  };
}

/** A repository that is not here yet has a pack for each push to it, and each costs round trips to the store. */
const packsAtOnce = 4;

/** A younger pack may belong to a push whose refs are about to move. Milliseconds. */
const settled = 60 * 60 * 1000;

async function isLeftOver(folder: string, id: string): Promise<boolean> {
  const info = await stat(join(folder, `pack-${id}.idx`)).catch(() => undefined);
  return info !== undefined && Date.now() - info.mtimeMs > settled;
}

async function removePack(folder: string, id: string): Promise<void> {
  // The index first: without it git does not see the pack.
  for (const ending of ['idx', 'rev', 'pack', 'keep']) {
    await rm(join(folder, `pack-${id}.${ending}`), { force: true });
  }
}

async function withFileLock<T>(file: string, task: () => Promise<T>): Promise<T> {
  await mkdir(dirname(file), { recursive: true });
  const handle = await open(file, 'a');
  try {
    for (let wait = 1; !claimFile(handle.fd); wait = Math.min(wait * 2, 50)) await delay(wait);
    return await task();
  } finally {
    await handle.close();
  }
}

function markOf(etag: string | undefined): string {
  return createHash('sha256')
    .update(etag ?? '')
    .digest('hex')
    .slice(0, 24);
}

/** The state that the folder's refs were written from; '' when they say nothing, undefined when there is no repository. */
async function readMark(folder: string): Promise<string | undefined> {
  try {
    const file = await open(join(folder, 'packed-refs'));
    try {
      const { buffer, bytesRead } = await file.read(Buffer.alloc(128), 0, 128, 0);
      return /brickyard-([0-9a-f]{24}) /.exec(buffer.subarray(0, bytesRead).toString('latin1'))?.[1] ?? '';
    } finally {
      await file.close();
    }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

/** As `git init --bare` does, without starting it. Other processes may do the same at once: the first one's rename stays. */
async function createBare(folder: string): Promise<void> {
  await mkdir(dirname(folder), { recursive: true });
  const temporary = `${folder}.${randomBytes(6).toString('hex')}`;
  await mkdir(join(temporary, 'objects/pack'), { recursive: true });
  await mkdir(join(temporary, 'refs'));
  await writeFile(join(temporary, 'config'), '[core]\n\trepositoryformatversion = 0\n\tbare = true\n');
  await writeFile(join(temporary, 'HEAD'), 'ref: refs/heads/main\n');
  await writeFile(join(temporary, 'packed-refs'), '');
  try {
    await rename(temporary, folder);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code !== 'ENOTEMPTY' && code !== 'EEXIST') throw error;
    await rm(temporary, { recursive: true, force: true });
    // Something is there without packed-refs: the leftovers of no repository of ours, or another process's new one.
    if ((await readMark(folder)) === undefined) {
      await discardFolder(folder);
      await createBare(folder);
    }
  }
}

async function writeRefFiles(folder: string, document: RefsDocument, mark: string): Promise<void> {
  const lines = Object.entries(document.refs)
    .map(([ref, { commit }]) => ({ key: Buffer.from(ref), line: `${commit} ${ref}\n` }))
    .sort((a, b) => Buffer.compare(a.key, b.key))
    .map(({ line }) => line);
  await replaceFile(join(folder, 'HEAD'), `ref: ${document.head}\n`);
  // Git ignores words it does not know in this line; it takes "sorted" (by bytes) as a promise.
  await replaceFile(
    join(folder, 'packed-refs'),
    `# pack-refs with: sorted brickyard-${mark} \n${lines.join('')}`,
  );
}

async function replaceFile(file: string, text: string): Promise<void> {
  const temporary = `${file}.${randomBytes(6).toString('hex')}`;
  await writeFile(temporary, text);
  await rename(temporary, file);
}

/** When a repository was used last stands in its folder's own time, for all processes of the machine. */
async function touchFolder(folder: string): Promise<void> {
  const now = new Date();
  await utimes(folder, now, now).catch((error: unknown) => {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  });
}

async function discardFolder(folder: string): Promise<void> {
  const aside = `${folder}.gone-${randomBytes(6).toString('hex')}`;
  try {
    await rename(folder, aside);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return;
    throw error;
  }
  await rm(aside, { recursive: true, force: true });
}
