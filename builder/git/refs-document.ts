import { randomBytes } from 'node:crypto';
import { type ObjectStore, PreconditionFailed } from '../../core/object-store/object-store.ts';
import { gitKeys } from './git-keys.ts';
import { checkRefName, findRefConflict } from './ref-name.ts';

/** Everything a repository is besides its packs: one document, moved by compare-and-set only. */
export interface RefsDocument {
  /** Where HEAD points: the default branch, e.g. `refs/heads/main`. */
  readonly head: string;
  /** Number of the last push; every push raises it. */
  readonly sequence: number;
  readonly refs: Readonly<Record<string, StoredRef>>;
  /** Ids of the packs that hold every object of the refs, in the order they came. */
  readonly packs: readonly string[];
}

export interface StoredRef {
  readonly commit: string;
  /** `sequence` of the push that moved it last. */
  readonly sequence: number;
  /** Id of the update that moved it last. */
  readonly id: string;
  readonly pusher: string;
  readonly options: readonly string[];
}

export interface VersionedRefs {
  readonly document: RefsDocument;
  /** Undefined: the repository does not exist yet. */
  readonly etag: string | undefined;
}

/** One command of a push, as git's protocol carries it; 40 zeros for "not there". */
export interface RefCommand {
  readonly ref: string;
  readonly before: string;
  readonly after: string;
}

export interface PushFacts {
  readonly pusher: string;
  readonly options: readonly string[];
  /** Packs that hold the new objects; already in the store. */
  readonly packs: readonly string[];
  /** Id per ref that is created or moved. */
  readonly ids: ReadonlyMap<string, string>;
  /** Where HEAD points from now on, also when that branch is not there; else it stays, or is found out from what is pushed. */
  readonly head?: string;
}

/** Per ref: why it was not moved. Empty = all were moved. A push moves all of its refs or none. */
export type PushRefusals = ReadonlyMap<string, string>;

export const zeroId = '0'.repeat(40);
const maximumRefs = 50_000;
/**
 * Builds of working trees and of packages leave one ref each; so many of the newest are kept. A package is the only source of its image,
 * which a later base image may ask for again.
 */
const keptWorkingTrees = 20;
const keptPackages = 500;
/** Of pull requests: whoever opens many pushes out none of the others. */
const keptChanges = 100;
const packages = 'refs/brickyard/package-';
const changes = 'refs/brickyard/pr-';
const emptyDocument: RefsDocument = { head: 'refs/heads/main', sequence: 0, refs: {}, packs: [] };

/** Errors: the document is damaged. */
export async function readRefs(store: ObjectStore, team: string, app: string): Promise<VersionedRefs> {
  const object = await store.get(gitKeys.refs(team, app));
  if (object === undefined) return { document: emptyDocument, etag: undefined };
  const value = JSON.parse(object.body.toString('utf8')) as RefsDocument & { state: string };
  return {
    document: {
      head: value.head,
      sequence: value.sequence,
      // No prototype: a ref could be named like a method.
      refs: Object.assign(Object.create(null) as Record<string, StoredRef>, value.refs),
      packs: value.packs,
    },
    etag: object.etag,
  };
}

/** Errors: PreconditionFailed when the document is no longer the version that `etag` names. */
export async function writeRefs(
  store: ObjectStore,
  repository: { team: string; app: string },
  document: RefsDocument,
  etag: string | undefined,
): Promise<VersionedRefs> {
  // State and a fresh nonce come first: equal content must never have an equal version.
  const body = Buffer.from(
    JSON.stringify({ state: 'live', nonce: randomBytes(16).toString('hex'), ...document }),
  );
  const written = await store.put(
    gitKeys.refs(repository.team, repository.app),
    body,
    etag === undefined ? { ifNoneMatch: '*' } : { ifMatch: etag },
  );
  return { document, etag: written.etag };
}

/** Pure: the document after the push, or why it is refused. */
export function applyPush(
  document: RefsDocument,
  commands: readonly RefCommand[],
  facts: PushFacts,
): { document: RefsDocument } | { refusals: PushRefusals } {
  const refusals = new Map<string, string>();
  const refs: Record<string, StoredRef> = Object.assign(
    Object.create(null) as Record<string, StoredRef>,
    document.refs,
  );
  const sequence = document.sequence + 1;
  for (const { ref, before, after } of commands) {
    const reason = checkRefName(ref);
    if (reason !== undefined) {
      refusals.set(ref, reason);
      continue;
    }
    if ((document.refs[ref]?.commit ?? zeroId) !== before) {
      refusals.set(ref, 'ref moved meanwhile, fetch first');
      continue;
    }
    if (after === zeroId) delete refs[ref];
    else {
      refs[ref] = {
        commit: after,
        sequence,
        id: facts.ids.get(ref) ?? '',
        pusher: facts.pusher,
        options: facts.options,
      };
    }
  }
  if (refusals.size === 0) {
    dropOldWorkingTrees(refs);
    const names = Object.keys(refs);
    if (names.length > maximumRefs) {
      for (const { ref } of commands) refusals.set(ref, `a repository holds at most ${maximumRefs} refs`);
    }
    const conflict = findRefConflict(names);
    if (conflict !== undefined) {
      const guilty = commands.find(({ ref }) => ref === conflict.child) ?? commands[0];
      if (guilty !== undefined) {
        refusals.set(guilty.ref, `'${conflict.parent}' and '${conflict.child}' cannot both exist`);
      }
    }
  }
  if (refusals.size > 0) {
    for (const { ref } of commands) {
      if (!refusals.has(ref)) refusals.set(ref, 'refused together with the other refs of this push');
    }
    return { refusals };
  }
  return {
    document: {
      head: facts.head ?? chooseHead(document.head, refs, commands),
      sequence,
      refs,
      packs: [...new Set([...document.packs, ...facts.packs])],
    },
  };
}

/** Moves the refs in the store. Errors: the store's. */
export async function commitPush(
  store: ObjectStore,
  repository: { team: string; app: string },
  commands: readonly RefCommand[],
  facts: PushFacts,
): Promise<{ refusals: PushRefusals } | { refusals: undefined; refs: VersionedRefs }> {
  // Other refs may move at the same time; whoever loses looks again. Each round somebody wins.
  for (let attempt = 0; ; attempt++) {
    const { document, etag } = await readRefs(store, repository.team, repository.app);
    const next = applyPush(document, commands, facts);
    if ('refusals' in next) return next;
    try {
      return { refusals: undefined, refs: await writeRefs(store, repository, next.document, etag) };
    } catch (error) {
      if (!(error instanceof PreconditionFailed) || attempt === 50) throw error;
    }
  }
}

/** HEAD stays where it is; when that branch is not there, a pushed one is taken: main, master, else the first. */
function chooseHead(
  head: string,
  refs: Readonly<Record<string, StoredRef>>,
  commands: readonly RefCommand[],
): string {
  if (refs[head] !== undefined) return head;
  const pushed = commands
    .map(({ ref }) => ref)
    .filter((ref) => ref.startsWith('refs/heads/') && refs[ref] !== undefined);
  return ['refs/heads/main', 'refs/heads/master'].find((name) => pushed.includes(name)) ?? pushed[0] ?? head;
}

function dropOldWorkingTrees(refs: Record<string, StoredRef>): void {
  const ours = Object.entries(refs).filter(([ref]) => ref.startsWith('refs/brickyard/'));
  const isOther = (ref: string): boolean => ref.startsWith(packages) || ref.startsWith(changes);
  for (const [kept, some] of [
    [keptWorkingTrees, ours.filter(([ref]) => !isOther(ref))],
    [keptPackages, ours.filter(([ref]) => ref.startsWith(packages))],
    [keptChanges, ours.filter(([ref]) => ref.startsWith(changes))],
  ] as const) {
    const oldest = some.toSorted(([, a], [, b]) => a.sequence - b.sequence);
    for (const [ref] of oldest.slice(0, Math.max(0, some.length - kept))) delete refs[ref];
  }
}
