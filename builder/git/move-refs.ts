import type { Logger } from '../../core/log.ts';
import type { ObjectStore } from '../../core/object-store/object-store.ts';
import type { PushListener, RefUpdate } from './git-host.ts';
import { gitKeys } from './git-keys.ts';
import { linkPacks, packsOf } from './import-folder.ts';
import { storePack } from './packs.ts';
import { announceOpenIntents, type PushIntent } from './push-intents.ts';
import { toUpdate } from './ref-update.ts';
import { commitPush, type PushRefusals, type RefCommand, type StoredRef, zeroId } from './refs-document.ts';
import type { RepositoryCache } from './repository-cache.ts';
import { timeOrderedId } from './time-ordered-id.ts';

/** Refs that move because of something else than a push to this server. */
export interface RefMove {
  readonly team: string;
  readonly app: string;
  readonly commands: readonly RefCommand[];
  /** A repository that has these packs. */
  readonly folder: string;
  /** Those that the store does not have. */
  readonly packs: readonly string[];
  readonly pusher: string;
  readonly options: readonly string[];
  readonly host?: string;
  /** What HEAD is said to point to, whether it is there or not; else it is found out from what is pushed. */
  readonly head?: string;
}

/** All refs moved, or none and why. `announced` false: the listener did not answer, and is told later, by `recover`. */
export type RefMoveResult =
  | { readonly refusals: PushRefusals }
  | { readonly refusals: undefined; readonly updates: readonly RefUpdate[]; readonly announced: boolean };

/**
 * Moves refs in the order of a push: objects and intent, then the refs, then the announcement, then the intent goes. Errors: the store's; when the refs
 * could not be written nobody knows whether they have moved: the intent stays and is looked into later.
 */
export type MoveRefs = (move: RefMove) => Promise<RefMoveResult>;

export function createRefMover(deps: {
  readonly store: ObjectStore;
  readonly cache: RepositoryCache;
  readonly listener: PushListener;
  readonly log: Logger;
}): MoveRefs {
  const { store, cache, listener, log } = deps;
  return async (move) => {
    const { team, app, commands, packs } = move;
    const intent = gitKeys.intent(timeOrderedId());
    const refs = commands.map(({ ref }) => ref);
    const open: PushIntent = { state: 'open', team, app, refs, nonce: intent };
    await Promise.all([
      ...packs.map((id) => storePack(store, move, id, packsOf(move.folder))),
      store.put(intent, Buffer.from(JSON.stringify(open))),
      linkPacks(move.folder, cache.path(team, app), packs),
      // A server may have died between moving one of these refs and announcing that; once they move again, nobody could tell.
      commands.some(({ before }) => before !== zeroId)
        ? announceOpenIntents({ store, listener, log }, { team, app, refs: new Set(refs), except: intent })
        : undefined,
    ]);
    const moved = commands.filter(({ after }) => after !== zeroId);
    const facts = {
      pusher: move.pusher,
      options: move.options,
      packs,
      ids: new Map(moved.map(({ ref }) => [ref, timeOrderedId()])),
      ...(move.head === undefined ? {} : { head: move.head }),
    };
    const result = await commitPush(store, move, commands, facts);
    if (result.refusals !== undefined) {
      await Promise.all([cache.dropPacks(team, app, packs), store.delete(intent)]);
      return { refusals: result.refusals };
    }
    const { document } = result.refs;
    const updates = moved.map(({ ref }) => {
      const update = toUpdate(move, ref, document.refs[ref] as StoredRef, document.head);
      return move.host === undefined ? update : { ...update, host: move.host };
    });
    const announced = await listener.accepted(updates).then(
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
    return { refusals: undefined, updates, announced };
  };
}
