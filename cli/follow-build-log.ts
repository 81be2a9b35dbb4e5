import { setTimeout as delay } from 'node:timers/promises';
import type { ServerApi } from './server-api.ts';
import { ServerAway } from './server-away.ts';

export interface FollowBuildLogOptions {
  readonly api: Pick<ServerApi, 'events'>;
  /** Build. */
  readonly id: string;
  /** Told once each time that the stream broke off and is asked for again. */
  readonly onLost?: (reason: string) => void;
  /** Milliseconds that the server may be away at a time; default five minutes. */
  readonly patienceMs?: number;
  /** Milliseconds before the first attempt to come back, doubled up to five seconds. Default 250. */
  readonly retryMs?: number;
}

/** How a build ended, as the last event of its log says. */
export interface BuildEnd {
  /** As in a build's record; `removed`: there is no record any more. */
  readonly state: string;
  readonly error?: string;
}

const longestRetryMs = 5_000;

/**
 * The lines of a build's log until the build has ended, and how it did, each line once: when a server restarts or a connection breaks, the rest is asked for behind the
 * last line that came. Errors: UserError (no such build, not allowed), ServerAway when nobody answers for too long.
 */
export async function* followBuildLog(options: FollowBuildLogOptions): AsyncGenerator<string, BuildEnd> {
  const { api, id, onLost, patienceMs = 5 * 60_000, retryMs = 250 } = options;
  let last = '';
  let waitMs = retryMs;
  let heardAt = performance.now();
  for (;;) {
    let lost: ServerAway;
    try {
      for await (const event of api.events(`/api/v1/builds/${id}/log/stream`, last)) {
        heardAt = performance.now();
        waitMs = retryMs;
        if (event.type === 'end') return JSON.parse(event.data) as BuildEnd;
        if (event.type !== 'message') continue;
        last = event.id;
        yield* event.data.split('\n');
      }
      lost = new ServerAway('the server ended the stream');
    } catch (error) {
      if (!(error instanceof ServerAway)) throw error;
      lost = error;
    }
    if (performance.now() - heardAt > patienceMs) throw lost;
    if (waitMs === retryMs) onLost?.(lost.message);
    await delay(waitMs);
    waitMs = Math.min(waitMs * 2, longestRetryMs);
  }
}
