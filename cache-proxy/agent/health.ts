import type { EngineLog } from '../pool-engine.ts';

/**
 * Whether the origin answers, and how soon, as everybody found who asked it: one for the process, so that a client never waits for what another one has just
 * waited for. While the origin is away or the line to it crawls this asks it by itself, and nobody else needs to.
 */
export interface OriginHealth {
  /** Asking would only cost time: answer from what is remembered, or that it is not available. */
  readonly away: boolean;
  /**
   * Milliseconds for which whoever has something to go on with waits for an answer, as the line crawls: the question goes on behind his back. Undefined: every
   * answer is worth waiting for.
   */
  readonly hurry: number | undefined;
  /** Somebody had an answer of the origin (any status but 429 and 5xx). `took`: milliseconds, where the question and its answer were small. */
  answered(took?: number): void;
  /** Somebody asks something small, and calls the result when that is over: what takes long is looked into while he waits. */
  asking(): () => void;
  /** Somebody had none: refused, no answer in time, 429 or 5xx. `reason` is for people; no secrets. */
  failed(reason: string): void;
  snapshot(): HealthSnapshot;
  /** Ends the asking. */
  close(): void;
}

export interface HealthSnapshot {
  /** `slow`: it answers, over a line that crawls. */
  readonly state: 'up' | 'slow' | 'away';
  /** Milliseconds since 1970; undefined where it never changed. */
  readonly since?: number;
  /** Why it is taken for away, or for slow. */
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
  /** Milliseconds between two probes while the line crawls: each is some hundred bytes on it. Default 3,000. */
  readonly slowProbeEvery?: number;
  /** Told of each change, e.g. to begin fetching again. Must not throw. */
  readonly onChange?: (snapshot: HealthSnapshot) => void;
}

/** Milliseconds over the usual: such an answer makes the line one that crawls, if probes take as long; one of at most so much ends it. */
const slowMs = 250;
const quickMs = 100;
/** A far line is none that crawls, so its own time counts as usual, up to this. */
const maxUsualMs = 300;
/** How fast the usual follows answers that take longer; shorter ones it follows at once. */
const usualShare = 0.02;
/** Who asks by password and tag may wait twice: once for each. */
const hurryMs = 20;
/** Much that is slow by itself, such as checking passwords, must not become as many probes. */
const suspectEveryMs = 1_000;

export function createOriginHealth(deps: OriginHealthDeps): OriginHealth {
  const { probe, log, now = Date.now, onChange } = deps;
  const { probeEvery = 1_000, probeTimeout = 2_500, slowProbeEvery = 3_000 } = deps;
  let current: HealthSnapshot = { state: 'up' };
  let timer: NodeJS.Timeout | undefined;
  let closed = false;
  let looking = false;
  let suspectedAt = Number.NEGATIVE_INFINITY;
  /** Milliseconds of a small answer while nothing is wrong. */
  let usual: number | undefined;
  const ended = new AbortController();

  const change = (next: HealthSnapshot): void => {
    current = next;
    onChange?.(next);
  };
  const learn = (took: number): void => {
    const next = usual === undefined || took < usual ? took : usual + (took - usual) * usualShare;
    usual = Math.min(next, maxUsualMs);
  };
  const isSlow = (took: number): boolean => usual !== undefined && took > usual + slowMs;
  const isQuick = (took: number): boolean => took <= (usual ?? 0) + quickMs;
  const rise = (): void => {
    clearTimeout(timer);
    timer = undefined;
    const seconds = Math.round((now() - (current.since ?? now())) / 1000);
    if (current.state === 'away') log.info({ awaySeconds: seconds }, 'the origin answers again');
    else log.info({ slowSeconds: seconds }, 'the origin answers as soon as ever again');
    change({ state: 'up', since: now() });
  };
  const answered = (took?: number): void => {
    if (current.state === 'away' || (current.state === 'slow' && took !== undefined && isQuick(took))) rise();
    if (current.state === 'slow' || took === undefined) return;
    if (isSlow(took)) suspect();
    else learn(took);
  };
  /** It may be this one question: only what everybody would wait for makes the line a slow one. */
  const suspect = (): void => {
    if (closed || looking || current.state !== 'up' || now() - suspectedAt < suspectEveryMs) return;
    suspectedAt = now();
    void look();
  };
  const judge = (took: number): void => {
    if (closed) return;
    if (isSlow(took) && current.state !== 'slow') {
      const reason = `a question that usually takes ${Math.round(usual ?? 0)} ms took ${Math.round(took)} ms`;
      log.warn(
        { reason },
        'the line to the origin crawls; who has something to go on with does not wait for it',
      );
      change({ state: 'slow', since: now(), reason });
    } else if (current.state !== 'slow' || isQuick(took)) {
      if (current.state !== 'up') rise();
      learn(took);
    }
    if (current.state === 'slow') later(slowProbeEvery);
  };
  const measure = async (): Promise<number> => {
    const started = now();
    await probe(AbortSignal.any([ended.signal, AbortSignal.timeout(probeTimeout)]));
    return now() - started;
  };
  const look = async (): Promise<void> => {
    looking = true;
    try {
      let took = await measure();
      // Opening a connection takes several times as long as asking over it.
      if (isSlow(took) && current.state !== 'slow') took = await measure();
      judge(took);
    } catch {
      // Why it is away was said when it went; that it still is needs no line every second.
      if (current.state === 'away') later(probeEvery);
      else if (current.state === 'slow') later(slowProbeEvery);
    } finally {
      looking = false;
    }
  };
  const later = (ms: number): void => {
    if (closed) return;
    clearTimeout(timer);
    timer = setTimeout(() => void look(), ms);
    timer.unref();
  };

  return {
    get away() {
      return current.state === 'away';
    },
    get hurry() {
      // A far line's own time comes on top, or nothing new would ever come in time over it.
      return current.state === 'slow' ? hurryMs + (usual ?? 0) : undefined;
    },
    answered,
    asking() {
      if (current.state !== 'up') return () => {};
      const late = setTimeout(suspect, (usual ?? maxUsualMs) + slowMs).unref();
      return () => clearTimeout(late);
    },
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
