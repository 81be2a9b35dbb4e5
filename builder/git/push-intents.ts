import type { Logger } from '../../core/log.ts';
import type { ObjectStore } from '../../core/object-store/object-store.ts';
import type { PushListener } from './git-host.ts';
import { gitKeys } from './git-keys.ts';
import { toUpdate } from './ref-update.ts';
import { readRefs } from './refs-document.ts';

/** "These refs are about to move, and perhaps nobody was told": written before, removed once the builds are queued. */
export interface PushIntent {
  readonly state: 'open';
  readonly team: string;
  readonly app: string;
  readonly refs: readonly string[];
  readonly nonce: string;
}

/** An intent younger than this may belong to a push that is under way. Milliseconds. */
const settled = 10 * 60 * 1000;

/**
 * Between the moment a push's refs are stored and the moment its builds are queued a process can die. What the refs of each
 * intent left over say now is announced again. Announcing twice is harmless: the ids are the same.
 * `about`: only intents of this repository that name one of these refs, and not the asking push's own.
 */
export async function announceOpenIntents(
  deps: { store: ObjectStore; listener: PushListener; log: Logger },
  about?: {
    readonly team: string;
    readonly app: string;
    readonly refs: ReadonlySet<string>;
    readonly except: string;
  },
): Promise<void> {
  const { store, listener, log } = deps;
  let startAfter: string | undefined;
  do {
    const page = await store.list({
      prefix: gitKeys.intents,
      ...(startAfter === undefined ? {} : { startAfter }),
    });
    for (const { key, modified } of page.objects) {
      if (key === about?.except) continue;
      const object = await store.get(key);
      if (object === undefined) continue;
      const { team, app, refs } = JSON.parse(object.body.toString('utf8')) as PushIntent;
      if (about !== undefined) {
        const concerned = team === about.team && app === about.app && refs.some((ref) => about.refs.has(ref));
        if (!concerned) continue;
      }
      const { document } = await readRefs(store, team, app);
      const updates = refs.flatMap((ref) => {
        const stored = document.refs[ref];
        return stored === undefined ? [] : [toUpdate({ team, app }, ref, stored, document.head)];
      });
      if (updates.length > 0) await listener.accepted(updates);
      if (Date.now() - modified.getTime() > settled) await store.delete(key);
      log.info({ team, app, updates: updates.length }, 'push announced again');
    }
    startAfter = page.next;
  } while (startAfter !== undefined);
}
