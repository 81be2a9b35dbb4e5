import type { Logger } from '../../core/log.ts';
import type { ObjectStore } from '../../core/object-store/object-store.ts';
import type { PushListener } from './git-host.ts';
import { gitKeys } from './git-keys.ts';
import { toUpdate } from './push-session.ts';
import { readRefs } from './refs-document.ts';

/** An intent younger than this may belong to a push that is under way. Milliseconds. */
const settled = 10 * 60 * 1000;

/**
 * Between the moment a push's refs are stored and the moment its builds are queued a process can die. Every push leaves an
 * intent before; here each one left over is looked at, and what its refs say now is announced again. Announcing twice is harmless:
 * the ids are the same.
 */
export async function recoverPushes(deps: {
  store: ObjectStore;
  listener: PushListener;
  log: Logger;
}): Promise<void> {
  const { store, listener, log } = deps;
  let startAfter: string | undefined;
  do {
    const page = await store.list({
      prefix: gitKeys.intents,
      ...(startAfter === undefined ? {} : { startAfter }),
    });
    for (const { key, modified } of page.objects) {
      const object = await store.get(key);
      if (object === undefined) continue;
      const { team, app, refs } = JSON.parse(object.body.toString('utf8')) as {
        team: string;
        app: string;
        refs: string[];
      };
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
