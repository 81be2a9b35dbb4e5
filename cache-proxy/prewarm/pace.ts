import { setTimeout as sleep } from 'node:timers/promises';
import type { LinkBudget } from '../pools/pool.ts';

/**
 * How fast prewarming may read: a token bucket with the pool's budget of its link, which gives way to clients. What it gives is permission to ask
 * for a slice; the slice then comes at the link's own speed, so nobody waits for bytes that are held back.
 */
export interface Pace {
  /** Resolves when so many bytes may be asked of the origin. Errors: what `signal` was aborted with. */
  take(bytes: number, signal?: AbortSignal): Promise<void>;
  /** They did not come over the link after all. */
  refund(bytes: number): void;
  /** A node waits for bytes that come over the link. */
  clientMissed(): void;
  /** Bits in a second that it allows just now. */
  readonly rate: number;
}

export interface PaceDeps {
  readonly link: LinkBudget;
  /** Bits in a second that the origin grants this pool. Default: whatever is asked. */
  readonly granted?: () => number;
  readonly now?: () => number;
  /** Default: the timer. */
  readonly wait?: (ms: number, signal?: AbortSignal) => Promise<void>;
}

/** A client's misses halve the rate, at most so often. Milliseconds. */
const halvingMs = 250;
/** Without a miss for so long it begins to double again, each second. */
const quietMs = 3_000;
/** Clients lose no more than this part of the budget for longer than it takes to halve down to it. */
const leastFactor = 1 / 64;
/** Nobody waits longer for tokens without looking again whether the rate has changed. */
const lookMs = 1_000;

export function createPace(deps: PaceDeps): Pace {
  const {
    link,
    granted = () => Number.POSITIVE_INFINITY,
    now = Date.now,
    wait = (ms, signal) => sleep(ms, undefined, signal === undefined ? {} : { signal }),
  } = deps;
  let factor = 1;
  let missedAt = Number.NEGATIVE_INFINITY;
  /** Bytes that may be taken; below zero: what was taken ahead, as a slice is asked for whole. */
  let tokens = 0;
  let filledAt = now();
  let turn: Promise<void> = Promise.resolve();

  const currentFactor = (): number => {
    const quiet = now() - missedAt - quietMs;
    return Math.min(1, factor * 2 ** Math.max(0, quiet / 1000));
  };
  const rate = (): number => Math.max(0, Math.min(budgetAt(link, now()), granted())) * currentFactor();
  const refill = (): void => {
    const time = now();
    // A bucket without depth: what was not used is not saved up, or the link would be taken whole after each pause.
    tokens = Math.min(0, tokens + (rate() / 8000) * Math.max(0, time - filledAt));
    filledAt = time;
  };

  async function takeInTurn(bytes: number, signal?: AbortSignal): Promise<void> {
    for (;;) {
      signal?.throwIfAborted();
      refill();
      if (tokens >= 0 && rate() > 0) break;
      const ms = rate() > 0 ? (-tokens * 8000) / rate() : lookMs;
      await wait(Math.min(lookMs, Math.max(1, ms)), signal);
    }
    tokens -= bytes;
  }

  return {
    take(bytes, signal) {
      // One after another: who asked first goes first, and one who gives up does not hold up the others.
      const taken = turn.then(() => takeInTurn(bytes, signal));
      turn = taken.catch(() => {});
      return taken;
    },
    refund(bytes) {
      tokens += bytes;
    },
    clientMissed() {
      const time = now();
      if (time - missedAt < halvingMs) return;
      factor = Math.max(leastFactor, currentFactor() / 2);
      missedAt = time;
    },
    get rate() {
      return rate();
    },
  };
}

/** Bits in a second that prewarming may take at that time, by the machine's own clock. */
export function budgetAt({ prewarm, prewarmDay, prewarmWindow }: LinkBudget, time: number): number {
  if (prewarmWindow === undefined) return prewarm;
  const { from, to } = prewarmWindow;
  const date = new Date(time);
  const minutes = date.getHours() * 60 + date.getMinutes();
  const inside = from <= to ? minutes >= from && minutes < to : minutes >= from || minutes < to;
  return inside ? prewarm : prewarmDay;
}
