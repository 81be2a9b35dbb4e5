import { setTimeout as sleep } from 'node:timers/promises';
import { PreconditionFailed } from '../../core/object-store/object-store.ts';
import { type RetentionDeps, removeOldBuilds } from './retention.ts';

export interface RetentionLoopDeps extends RetentionDeps {
  readonly log: RetentionDeps['log'] & { info(fields: Record<string, unknown>, message: string): void };
  /** For people: host and process. */
  readonly holder: string;
  /** What else is done at each turn, at this time by the store's clock (milliseconds since 1970). */
  readonly onTurn?: (now: number) => Promise<void>;
  /** What goes by its age too; run in the same turn. Returns how much there was. */
  readonly also?: () => Promise<number>;
  /** Milliseconds from one run to the next, of all workers together; default six hours. */
  readonly everyMs?: number;
}

/** Who ran last; its age by the store's clock says when the next run is due. */
export const retentionKey = 'farm/retention';
/** About 300 builds in a second. */
const pauseMs = 100;

/**
 * Runs `removeOldBuilds` now and then, in one worker of all: whoever replaces the document of the last run has the next one. One that dies in the
 * middle costs nothing but the wait for the next run.
 */
export function startRetention(deps: RetentionLoopDeps): { close(): Promise<void> } {
  const closing = new AbortController();
  const { signal } = closing;
  const everyMs = deps.everyMs ?? 6 * 60 * 60 * 1000;
  const paced = { pause: () => sleep(pauseMs, undefined, { signal }).catch(() => {}), ...deps };

  async function loop(): Promise<void> {
    // Servers that start together should not all look at once.
    let waitMs = Math.min(everyMs, 60_000) * (0.5 + Math.random() / 2);
    while (!signal.aborted) {
      try {
        await sleep(waitMs, undefined, { signal, ref: false });
        const now = await takeTurn(deps, everyMs);
        if (now === undefined) continue;
        await deps.onTurn?.(now);
        const report = await removeOldBuilds(paced, now, signal);
        if (report.builds + report.logs + report.artifacts > 0)
          deps.log.info({ ...report }, 'removed old builds');
        const removed = (await deps.also?.()) ?? 0;
        if (removed > 0) deps.log.info({ removed }, 'removed dependency caches that no build used');
      } catch (error) {
        if (signal.aborted) return;
        deps.log.warn({ err: error }, 'old builds could not be removed; the next run tries again');
      } finally {
        waitMs = everyMs / 6;
      }
    }
  }
  const looping = loop();
  return {
    async close() {
      closing.abort(new Error('the worker is closing'));
      await looping;
    },
  };
}

/** The time by the store's clock, or undefined when it is not due, or another one's turn. Errors: ObjectStoreUnavailable. */
export async function takeTurn(
  { store, holder }: Pick<RetentionLoopDeps, 'store' | 'holder'>,
  everyMs: number,
): Promise<number | undefined> {
  const last = await store.get(retentionKey);
  if (last !== undefined && Date.now() - last.modified.getTime() < everyMs) return undefined;
  const body = Buffer.from(JSON.stringify({ holder, at: new Date().toISOString() }));
  try {
    await store.put(retentionKey, body, last === undefined ? { ifNoneMatch: '*' } : { ifMatch: last.etag });
  } catch (error) {
    if (error instanceof PreconditionFailed) return undefined;
    throw error;
  }
  return (await store.head(retentionKey))?.modified.getTime();
}
