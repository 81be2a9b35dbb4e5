import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { type EngineClient, EngineUnreachable } from './engine-client.ts';
import { acceptManifests, ImageUnreadable, OriginAway, refuseFailure } from './image-reader.ts';
import type { Pace } from './pace.ts';
import type { FetchItem } from './plan.ts';

/** What became of one blob, manifest or tag. */
export interface WarmedItem {
  readonly kind: FetchItem['kind'];
  readonly ns?: string;
  readonly repository: string;
  readonly reference: string;
  readonly reason: FetchItem['reason'];
  /** Bytes that were in the cache already. */
  readonly hit: number;
  /** Bytes that came over the link. */
  readonly missed: number;
  readonly seconds: number;
  /** Why it is not there whole; what arrived stays and is not fetched again. */
  readonly error?: string;
}

/** A run, in the order in which things happen. */
export type WarmEvent =
  | { readonly event: 'begin'; readonly items: number; readonly missing: number }
  | { readonly event: 'progress'; readonly reference: string; readonly done: number; readonly size: number }
  | { readonly event: 'item'; readonly item: WarmedItem }
  /** The origin cannot be asked; it goes on by itself. Seconds until the next attempt. */
  | { readonly event: 'paused'; readonly seconds: number };

export interface WarmReport {
  readonly items: readonly WarmedItem[];
  readonly hit: number;
  readonly missed: number;
  readonly failed: number;
  readonly seconds: number;
  /** All of it was tried. */
  readonly complete: boolean;
}

export interface WarmDeps {
  readonly engine: EngineClient;
  readonly pace: Pace;
  /** Bytes; as the engine's own, so that each request is one piece of the cache. */
  readonly slice: number;
  /** Items at a time. Default 3: on a link with long ways one request alone would leave it idle. */
  readonly inFlight?: number;
  /** Whether the origin is known to be away: then nothing is asked of it. */
  readonly away?: () => boolean;
  readonly onEvent?: (event: WarmEvent) => void;
  /** Asked between two slices: something else is wanted first, so this run ends here and another one goes on with the rest. */
  readonly stop?: () => boolean;
  /** Milliseconds that one item may wait for an origin that does not answer. Default ten minutes. */
  readonly patience?: number;
  readonly signal?: AbortSignal;
}

/** Items of a report. A run may have more; their bytes are counted all the same. */
const maxReported = 10_000;

/**
 * Fetches what is planned, in its order, and never raises for one item what another one need not suffer from. An aborted run ends with what it has; another
 * one later finds that in the cache.
 */
export async function runWarm(items: readonly FetchItem[], deps: WarmDeps): Promise<WarmReport> {
  const { inFlight = 3, onEvent, signal, stop = () => false } = deps;
  const started = performance.now();
  const report = { items: [] as WarmedItem[], hit: 0, missed: 0, failed: 0 };
  let next = 0;
  onEvent?.({
    event: 'begin',
    items: items.length,
    missing: items.reduce((sum, { missing }) => sum + missing, 0),
  });
  const work = async (): Promise<void> => {
    for (let item = items[next++]; item !== undefined; item = items[next++]) {
      if (signal?.aborted === true || stop()) return;
      const warmed = await warmItem(item, deps);
      report.hit += warmed.hit;
      report.missed += warmed.missed;
      if (warmed.error !== undefined) report.failed += 1;
      if (report.items.length < maxReported) report.items.push(warmed);
      onEvent?.({ event: 'item', item: warmed });
    }
  };
  await Promise.all(Array.from({ length: inFlight }, work));
  const seconds = (performance.now() - started) / 1000;
  return { ...report, seconds, complete: signal?.aborted !== true && !stop() };
}

/**
 * Tells a cache that evicts what was used least recently that these are wanted, by one byte of each slice. What is gone meanwhile comes back by that.
 */
export async function touch(items: readonly FetchItem[], deps: WarmDeps): Promise<void> {
  const { engine, slice, signal, pace } = deps;
  for (const item of items) {
    for (let start = 0; start < item.size; start += slice) {
      signal?.throwIfAborted();
      try {
        const answer = await engine.get({
          ...requestOf(item),
          range: { start, end: start },
          ...withSignal(signal),
        });
        await refuseFailure(answer, item.reference);
        await drain(answer, () => {});
        // It was fetched whole for its one byte; the next one waits for that.
        if (!isHit(answer)) await pace.take(Math.min(slice, item.size - start), signal);
      } catch (error) {
        // An origin that is away keeps nothing from being touched, and the rest of a blob that is gone would be fetched by its next plan.
        if (error instanceof OriginAway || error instanceof ImageUnreadable) break;
        throw error;
      }
    }
  }
}

async function warmItem(item: FetchItem, deps: WarmDeps): Promise<WarmedItem> {
  const { kind, ns, repository, reference, reason, size } = item;
  const { slice, onEvent, signal, stop = () => false } = deps;
  const started = performance.now();
  const counts = { hit: 0, missed: 0 };
  let error: string | undefined;
  try {
    if (kind === 'blob') {
      for (let start = 0; start < size; start += slice) {
        if (stop()) throw new Error('something else goes first');
        await fetchSlice(item, { start, end: Math.min(size, start + slice) - 1 }, counts, deps);
        onEvent?.({ event: 'progress', reference, done: Math.min(size, start + slice), size });
      }
      // A blob without bytes has no slice.
      if (size === 0) await fetchWhole(item, counts, deps);
    } else await fetchWhole(item, counts, deps);
  } catch (cause) {
    error = signal?.aborted === true ? 'stopped' : (cause as Error).message;
  }
  return {
    kind,
    ...(ns === undefined ? {} : { ns }),
    repository,
    reference,
    reason,
    ...counts,
    seconds: (performance.now() - started) / 1000,
    ...(error === undefined ? {} : { error }),
  };
}

interface Counts {
  hit: number;
  missed: number;
}

async function fetchSlice(
  item: FetchItem,
  range: { readonly start: number; readonly end: number },
  counts: Counts,
  deps: WarmDeps,
): Promise<void> {
  const { engine, pace, signal } = deps;
  const length = range.end - range.start + 1;
  await untilAnswered(deps, async () => {
    await pace.take(length, signal);
    const answer = await engine.get({ ...requestOf(item), range, ...withSignal(signal) });
    await refuseFailure(answer, item.reference);
    let bytes = 0;
    await drain(answer, (more) => {
      bytes += more;
    });
    if (bytes < length) throw new EngineUnreachable('the answer was cut off');
    if (isHit(answer)) {
      counts.hit += length;
      pace.refund(length);
    } else counts.missed += length;
  });
}

async function fetchWhole(item: FetchItem, counts: Counts, deps: WarmDeps): Promise<void> {
  const { engine, signal } = deps;
  await untilAnswered(deps, async () => {
    const accept = item.kind === 'blob' ? {} : { accept: acceptManifests };
    const answer = await engine.get({ ...requestOf(item), ...accept, ...withSignal(signal) });
    await refuseFailure(answer, `${item.repository}:${item.reference}`);
    await drain(answer, (bytes) => {
      if (isHit(answer)) counts.hit += bytes;
      else counts.missed += bytes;
    });
  });
}

/** Again and again while the origin is away, more and more rarely. Errors: ImageUnreadable, the last OriginAway, `signal`'s reason. */
async function untilAnswered(deps: WarmDeps, attempt: () => Promise<void>): Promise<void> {
  const { signal, onEvent, away = () => false, patience = 600_000 } = deps;
  const since = performance.now();
  for (let tries = 0; ; tries++) {
    let seconds = Math.min(60, 2 ** tries);
    try {
      if (!away()) {
        await attempt();
        return;
      }
    } catch (error) {
      signal?.throwIfAborted();
      const mayHeal = error instanceof OriginAway || error instanceof EngineUnreachable || isCut(error);
      if (!mayHeal || performance.now() - since > patience) throw error;
      if (error instanceof OriginAway) seconds = Math.max(seconds, error.retryAfter);
    }
    if (performance.now() - since > patience) throw new OriginAway(seconds);
    onEvent?.({ event: 'paused', seconds });
    await sleep(seconds * 1000, undefined, withSignal(signal));
  }
}

function isCut(error: unknown): boolean {
  return ['ECONNRESET', 'EPIPE', 'ERR_STREAM_PREMATURE_CLOSE'].includes(
    (error as NodeJS.ErrnoException).code ?? '',
  );
}

function requestOf({ kind, ns, repository, reference }: FetchItem) {
  const path = kind === 'blob' ? ('blobs' as const) : ('manifests' as const);
  return { ...(ns === undefined ? {} : { ns }), repository, kind: path, reference };
}

/** Engines say with `X-Cache` where an answer came from; one that says nothing is taken to have fetched it. */
function isHit(answer: IncomingMessage): boolean {
  return String(answer.headers['x-cache'] ?? '').toUpperCase() === 'HIT';
}

async function drain(answer: IncomingMessage, onBytes: (bytes: number) => void): Promise<void> {
  answer.on('data', (chunk: Buffer) => onBytes(chunk.length));
  await once(answer, 'end');
}

function withSignal(signal: AbortSignal | undefined): { signal?: AbortSignal } {
  return signal === undefined ? {} : { signal };
}
