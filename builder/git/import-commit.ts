import { randomBytes } from 'node:crypto';
import { link, mkdir, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Logger } from '../../core/log.ts';
import type { ObjectStore } from '../../core/object-store/object-store.ts';
import { type CommitWriter, startFastImport } from './fast-import.ts';
import type { PushListener, RefUpdate } from './git-host.ts';
import { gitKeys } from './git-keys.ts';
import { listPacks, storePack } from './packs.ts';
import type { PushIntent } from './push-intents.ts';
import { toUpdate } from './ref-update.ts';
import { commitPush, type RefsDocument, readRefs, type StoredRef, zeroId } from './refs-document.ts';
import type { RepositoryCache } from './repository-cache.ts';
import { timeOrderedId } from './time-ordered-id.ts';

/** Where a commit of files goes that did not come by git. */
export interface ImportTarget {
  readonly team: string;
  readonly app: string;
  /** A new one; it was checked. */
  readonly ref: string;
  readonly pusher: string;
  readonly host?: string;
  readonly message: string;
  /** Asked for a ref that has the same commit already: true = it is good, and no new one is made. */
  readonly reuse?: (stored: StoredRef) => Promise<boolean>;
}

/**
 * Errors: what `write` throws, ObjectStoreFull, ENOSPC; anything else is a fault of this server, and the same may be tried again. A commit
 * that was not announced because the queue did not answer is announced later.
 */
export type ImportCommit = (target: ImportTarget, write: WriteCommit) => Promise<RefUpdate>;

/** Lays the files into the commit and says the push options that are kept with its ref. */
export type WriteCommit = (commit: CommitWriter) => Promise<{ readonly options: readonly string[] }>;

interface MadeCommit {
  readonly folder: string;
  readonly commit: string;
  /** Those that the repository did not have. */
  readonly packs: readonly string[];
  readonly options: readonly string[];
}

const author = 'brickyard <package@localhost>';
/** Equal files make an equal commit, whenever they come: 1980-01-01T00:00:01Z, as in layers. */
const commitSeconds = 315_532_801;
/** Folders of imports whose process died are removed after this time. Milliseconds. */
const abandoned = 24 * 60 * 60 * 1000;

/**
 * Makes a commit in a folder of its own, next to hard links of the packs that the repository has: what is there already is not written
 * again, and nothing is taken for there that the store does not have. Then it goes the way of a push: pack, intent, ref, announcement.
 */
export function createCommitImporter(deps: {
  store: ObjectStore;
  cache: RepositoryCache;
  listener: PushListener;
  log: Logger;
  /** Holds the folders; on the disk of the cache. */
  directory: string;
  environment: Record<string, string>;
}): ImportCommit {
  const { store, cache, listener, log, directory, environment } = deps;

  async function makeCommit(folder: string, target: ImportTarget, write: WriteCommit): Promise<MadeCommit> {
    const { document } = (await cache.open(target.team, target.app, { create: true })) ?? {};
    const known = document?.packs ?? [];
    await createRepository(folder, packsOf(cache.path(target.team, target.app)), known);
    const git = startFastImport({ repository: folder, environment });
    try {
      const { options } = await write(git);
      const commit = await git.commit({ author, seconds: commitSeconds, message: target.message });
      const packs = (await listPacks(packsOf(folder))).filter((id) => !known.includes(id));
      return { folder, commit, packs, options };
    } finally {
      await git.close();
    }
  }

  /** Objects, intent, then the ref: the order of a push. */
  async function move(target: ImportTarget, made: MadeCommit): Promise<RefUpdate> {
    const { team, app, ref } = target;
    const intent = gitKeys.intent(timeOrderedId());
    const open: PushIntent = { state: 'open', team, app, refs: [ref], nonce: intent };
    await Promise.all([
      ...made.packs.map((id) => storePack(store, target, id, packsOf(made.folder))),
      store.put(intent, Buffer.from(JSON.stringify(open))),
      linkPacks(packsOf(made.folder), packsOf(cache.path(team, app)), made.packs),
    ]);
    const facts = {
      pusher: target.pusher,
      options: made.options,
      packs: made.packs,
      ids: new Map([[ref, timeOrderedId()]]),
    };
    // When it fails, nobody knows whether the ref has moved: the intent stays and is looked into later.
    const result = await commitPush(store, target, [{ ref, before: zeroId, after: made.commit }], facts);
    if (result.refusals !== undefined) {
      await Promise.all([cache.dropPacks(team, app, made.packs), store.delete(intent)]);
      throw new Error(`the ref of an import was refused: ${result.refusals.get(ref)}`);
    }
    const { document } = result.refs;
    const update = updateOf(target, ref, document.refs[ref] as StoredRef, document);
    const announced = await listener.accepted([update]).then(
      () => true,
      (error: unknown) => {
        log.error({ err: error, team, app }, 'accepted import could not be announced');
        return false;
      },
    );
    if (announced) await store.delete(intent).catch(() => {});
    // Only a cache: whoever reads next brings it up to date if this fails.
    await cache.update(team, app).catch((error: unknown) => {
      log.warn({ err: error, team, app }, 'git cache could not be updated');
    });
    return update;
  }

  /** The newest ref with this commit and these options that `reuse` takes. */
  async function find(target: ImportTarget, made: MadeCommit): Promise<RefUpdate | undefined> {
    const { document } = await readRefs(store, target.team, target.app);
    const equal = Object.entries(document.refs)
      .filter(([ref, stored]) => ref.startsWith('refs/brickyard/') && stored.commit === made.commit)
      .filter(([, stored]) => JSON.stringify(stored.options) === JSON.stringify(made.options))
      .toSorted(([, a], [, b]) => b.sequence - a.sequence);
    const [newest] = equal;
    if (newest === undefined || (await target.reuse?.(newest[1])) !== true) return undefined;
    return updateOf(target, newest[0], newest[1], document);
  }

  return async (target, write) => {
    const folder = join(directory, randomBytes(12).toString('hex'));
    try {
      const made = await makeCommit(folder, target, write);
      return (await find(target, made)) ?? (await move(target, made));
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  };
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

function updateOf(target: ImportTarget, ref: string, stored: StoredRef, document: RefsDocument): RefUpdate {
  const update = toUpdate(target, ref, stored, document.head);
  return target.host === undefined ? update : { ...update, host: target.host };
}

function packsOf(repository: string): string {
  return join(repository, 'objects/pack');
}

async function createRepository(folder: string, packs: string, known: readonly string[]): Promise<void> {
  await mkdir(packsOf(folder), { recursive: true });
  await mkdir(join(folder, 'refs'));
  await writeFile(join(folder, 'config'), '[core]\n\trepositoryformatversion = 0\n\tbare = true\n');
  await writeFile(join(folder, 'HEAD'), 'ref: refs/heads/import\n');
  await linkPacks(packs, packsOf(folder), known);
}

async function linkPacks(from: string, to: string, ids: readonly string[]): Promise<void> {
  for (const id of ids) {
    // The index last: without it git does not see the pack.
    for (const ending of ['pack', 'idx']) {
      const name = `pack-${id}.${ending}`;
      await link(join(from, name), join(to, name)).catch((error: NodeJS.ErrnoException) => {
        if (error.code !== 'EEXIST') throw error;
      });
    }
  }
}
