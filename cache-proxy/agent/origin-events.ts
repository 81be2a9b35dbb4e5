import { setTimeout as sleep } from 'node:timers/promises';
import { parseServerEvents, type ServerEvent } from '../../core/http/server-events.ts';
import type { EngineLog } from '../pool-engine.ts';

/** What the origin tells the pool as it happens. */
export interface OriginEvents {
  /** False: nobody tells, so whoever wants to know must ask. */
  readonly connected: boolean;
  close(): Promise<void>;
}

export interface OriginEventsOptions {
  /** `GET` of the origin's event stream with the pool's credential; `lastEventId` '' = from now on. Rejects when nobody answers. */
  readonly open: (request: { lastEventId: string; signal: AbortSignal }) => Promise<EventAnswer>;
  /** Must not throw. */
  readonly onEvent: (event: ServerEvent) => void;
  /** Told when events may have been missed: at each connection but the first. Must not throw. */
  readonly onGap?: () => void;
  readonly log: EngineLog;
  /** Milliseconds before the first further attempt; doubles up to thirty times that. Default 1,000. */
  readonly retryMs?: number;
  /** Silence after which the connection is taken for dead. Default 60,000. */
  readonly silenceMs?: number;
  /** How long an origin without such a stream is left alone. Default ten minutes. */
  readonly absentMs?: number;
}

/** `text` is read only of a 200. */
export interface EventAnswer {
  readonly status: number;
  readonly text: AsyncIterable<string>;
}

/** Answers of origins that have no such stream, or none for us. */
const absent = new Set([400, 401, 403, 404, 405, 501]);

/** Connects and stays connected; what was missed while it was not is the reader's to find out (`onGap`). */
export function followOriginEvents(options: OriginEventsOptions): OriginEvents {
  const { open, onEvent, onGap, log, retryMs = 1_000, silenceMs = 60_000, absentMs = 600_000 } = options;
  const ended = new AbortController();
  let connected = false;
  let before = false;
  let lastEventId = '';
  let said: string | undefined;

  /** Each reason once, until it was connected again. */
  const say = (reason: string, fields: Record<string, unknown>): void => {
    if (said === reason || ended.signal.aborted) return;
    said = reason;
    log.info({ reason, ...fields }, 'no events of the origin; the pool asks for changes instead');
  };
  /** One connection to its end. Answers for how long to wait before the next; undefined: the usual. */
  const connect = async (): Promise<number | undefined> => {
    const silent = new AbortController();
    let timer = setTimeout(() => silent.abort(new Error('silence')), silenceMs);
    const signal = AbortSignal.any([ended.signal, silent.signal]);
    try {
      const { status, text } = await open({ lastEventId, signal });
      if (status !== 200) {
        say(`it answered ${status}`, { status });
        return absent.has(status) ? absentMs : undefined;
      }
      connected = true;
      said = undefined;
      if (before) onGap?.();
      before = true;
      const heard = async function* (): AsyncGenerator<string> {
        for await (const part of text) {
          clearTimeout(timer);
          timer = setTimeout(() => silent.abort(new Error('silence')), silenceMs);
          yield part;
        }
      };
      for await (const event of parseServerEvents(heard())) {
        lastEventId = event.id;
        onEvent(event);
      }
      return undefined;
    } catch (error) {
      say('it cannot be reached', { detail: error instanceof Error ? error.message : String(error) });
      return undefined;
    } finally {
      connected = false;
      clearTimeout(timer);
      // Ends the request in any case, also one that was answered with a status alone.
      silent.abort();
    }
  };
  const run = async (): Promise<void> => {
    let failures = 0;
    while (!ended.signal.aborted) {
      const started = Date.now();
      const wait = await connect();
      failures = Date.now() - started > 60_000 ? 0 : Math.min(failures + 1, 5);
      // Pools that lost the same origin at the same time must not come back at the same time.
      const usual = Math.min(retryMs * 2 ** (failures - 1), retryMs * 30) * (0.5 + Math.random());
      await sleep(wait ?? Math.max(usual, retryMs / 2), undefined, { signal: ended.signal }).catch(() => {});
    }
  };
  const running = run();

  return {
    get connected() {
      return connected;
    },
    async close() {
      ended.abort();
      await running;
    },
  };
}
