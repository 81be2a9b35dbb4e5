import { randomBytes } from 'node:crypto';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { ObjectStore } from '../../core/object-store/object-store.ts';
import { type CommitWriter, startFastImport } from './fast-import.ts';
import type { RefUpdate } from './git-host.ts';
import { createImportFolder, packsOf } from './import-folder.ts';
import type { MoveRefs } from './move-refs.ts';
import { listPacks } from './packs.ts';
import { toUpdate } from './ref-update.ts';
import { type RefsDocument, readRefs, type StoredRef, zeroId } from './refs-document.ts';
import type { RepositoryCache } from './repository-cache.ts';

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

/**
 * Makes a commit in a folder of its own, next to hard links of the packs that the repository has: what is there already is not written
 * again, and nothing is taken for there that the store does not have. Then it goes the way of a push: pack, intent, ref, announcement.
 */
export function createCommitImporter(deps: {
  store: ObjectStore;
  cache: RepositoryCache;
  moveRefs: MoveRefs;
  /** Holds the folders; on the disk of the cache. */
  directory: string;
  environment: Record<string, string>;
}): ImportCommit {
  const { store, cache, moveRefs, directory, environment } = deps;

  async function makeCommit(folder: string, target: ImportTarget, write: WriteCommit): Promise<MadeCommit> {
    const { document } = (await cache.open(target.team, target.app, { create: true })) ?? {};
    const known = document?.packs ?? [];
    await createImportFolder(folder, cache.path(target.team, target.app), known);
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

  async function move(target: ImportTarget, made: MadeCommit): Promise<RefUpdate> {
    const { ref } = target;
    const result = await moveRefs({
      ...target,
      ...made,
      commands: [{ ref, before: zeroId, after: made.commit }],
    });
    const [update] = result.refusals === undefined ? result.updates : [];
    if (update !== undefined) return update;
    throw new Error(`the ref of an import was refused: ${result.refusals?.get(ref)}`);
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

function updateOf(target: ImportTarget, ref: string, stored: StoredRef, document: RefsDocument): RefUpdate {
  const update = toUpdate(target, ref, stored, document.head);
  return target.host === undefined ? update : { ...update, host: target.host };
}
