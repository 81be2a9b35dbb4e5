import type { EngineLog } from '../pool-engine.ts';

/**
 * Whether the origin answers, as everybody found who asked it: one for the process, so that a client never waits for what another one has just waited for.
 * While the origin is away this asks it by itself, and nobody else needs to.
 */
export interface OriginHealth {
  /** Asking would only cost time: answer from what is remembered, or that it is not available. */
  readonly away: boolean;
  /** Somebody had an answer of the origin (any status but 429 and 5xx). */
  answered(): void;
  /** Somebody had none: refused, no answer in time, 429 or 5xx. `reason` is for people; no secrets. */
  failed(reason: string): void;
  snapshot(): HealthSnapshot;
  /** Ends the asking. */
  close(): void;
}

export interface HealthSnapshot {
  readonly state: 'up' | 'away';
  /** Milliseconds since 1970; undefined where it never changed. */
  readonly since?: number;
  /** Why it is taken for away. */
  readonly reason?: string;
}

export interface OriginHealthDeps {
  /** Asks the origin something small; rejects when there is no answer. `signal` ends it. */
  readonly probe: (signal: AbortSignal) => Promise<void>;
  readonly log: EngineLog;
  readonly now?: () => number;
  /** Milliseconds between two probes while it is away. Default 1,000. */
  readonly probeEvery?: number;
  /** Milliseconds that a probe may take. Default 2,500: what takes longer would cost every client that. */
  readonly probeTimeout?: number;
  /** Told of each change, e.g. to begin fetching again. Must not throw. */
  readonly onChange?: (snapshot: HealthSnapshot) => void;
}

export function createOriginHealth(deps: OriginHealthDeps): OriginHealth {
  const { probe, log, now = Date.now, probeEvery = 1_000, probeTimeout = 2_500, onChange } = deps;
  let current: HealthSnapshot = { state: 'up' };
  let timer: NodeJS.Timeout | undefined;
  let closed = false;
  const ended = new AbortController();

  const change = (next: HealthSnapshot): void => {
    current = next;
    onChange?.(next);
  };
  const answered = (): void => {
    if (current.state === 'up') return;
    clearTimeout(timer);
    timer = undefined;
    log.info(
      { awaySeconds: Math.round((now() - (current.since ?? now())) / 1000) },
      'the origin answers again',
    );
    change({ state: 'up', since: now() });
  };
  const look = async (): Promise<void> => {
    try {
      await probe(AbortSignal.any([ended.signal, AbortSignal.timeout(probeTimeout)]));
      answered();
    } catch {
      // Why it is away was said when it went; that it still is needs no line every second.
      if (!closed && current.state === 'away') later(probeEvery);
    }
  };
  const later = (ms: number): void => {
    timer = setTimeout(() => void look(), ms);
    timer.unref();
  };

  return {
    get away() {
      return current.state === 'away';
    },
    answered,
    failed(reason) {
      if (closed || current.state === 'away') return;
      log.warn({ reason }, 'the origin does not answer; the pool goes on with what it has');
      change({ state: 'away', since: now(), reason });
      // Soon for the first time: one odd answer among good ones must not make everything stale for long.
      later(Math.min(200, probeEvery));
    },
    snapshot: () => current,
    close() {
      closed = true;
      clearTimeout(timer);
      ended.abort();
    },
  };
}
