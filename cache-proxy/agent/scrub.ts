import { createHash } from 'node:crypto';
import { readFile, rename, writeFile } from 'node:fs/promises';
import type { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { createBoundedCache } from '../../core/bounded-cache.ts';
import { type Digest, digestAlgorithm, digestOfHash, isDigest } from '../../oci/digest.ts';
import type { EngineLog, Freed, PoolCache } from '../pool-engine.ts';

/**
 * Reads cached blobs again in the background and removes those that are not what their digest says: a disk may forget, and nginx never looks. Blobs that
 * are not here whole cannot be checked.
 */
export interface Scrubber {
  /** Checks this one as soon as possible: somebody had wrong bytes. Once in ten minutes at most for one digest; of more than a hundred that wait, none. */
  report(digest: string): void;
  /** Reads one blob now. */
  check(digest: Digest): Promise<ScrubOutcome>;
  status(): ScrubStatus;
  close(): Promise<void>;
}

/** `absent`: not here whole, or evicted while it was read. */
export type ScrubOutcome = 'good' | 'damaged' | 'absent';

export interface ScrubStatus {
  readonly checkedBlobs: number;
  readonly checkedBytes: number;
  readonly damaged: number;
  /** When the last whole round ended, milliseconds since 1970. */
  readonly roundEnded?: number;
}

export interface ScrubberDeps {
  readonly cache: () => PoolCache;
  /** File with the digest that a round has come to, so that a restart goes on there. */
  readonly placeFile: string;
  readonly onChecked: (bytes: number, outcome: 'good' | 'damaged') => void;
  readonly onPurged: (freed: Freed) => void;
  readonly log: EngineLog;
  /** Of the round; what was reported is read without a limit. Default 20 MB/s: 2 TB in a bit more than a day. */
  readonly bytesPerSecond?: number;
  /** Milliseconds from the beginning of one round to that of the next, at least. Default a day. */
  readonly restMs?: number;
}

/** Digests that one pass over the cache's entries finds: a pass opens every file of a large cache, and the digests of one are kept in memory. */
const batch = 10_000;
/** A restart begins again with what was checked in the last seconds. */
const writePlaceEvery = 5_000;
const maxReported = 100;
const reportOnceMs = 600_000;
/** Waits are made of pieces, so that what is reported need not wait for a slow round. */
const longestWait = 1_000;

export function startScrubber(deps: ScrubberDeps): Scrubber {
  const { cache, placeFile, onChecked, onPurged, log } = deps;
  const { bytesPerSecond = 20e6, restMs = 86_400_000 } = deps;
  const ended = new AbortController();
  const reported: Digest[] = [];
  const seen = createBoundedCache<string, true>(10_000, { ttl: reportOnceMs });
  const counts = { checkedBlobs: 0, checkedBytes: 0, damaged: 0 };
  let roundEnded: number | undefined;
  let wake: (() => void) | undefined;

  const pause = async (ms: number): Promise<void> => {
    await sleep(ms, undefined, { signal: ended.signal }).catch(() => {});
  };
  /** Until so much later, or until something is reported. */
  const rest = async (ms: number): Promise<void> => {
    if (reported.length > 0) return;
    const woken = new AbortController();
    wake = () => woken.abort();
    const signal = AbortSignal.any([ended.signal, woken.signal]);
    await sleep(ms, undefined, { signal, ref: false }).catch(() => {});
    wake = undefined;
  };

  /** `rate` undefined: as fast as it goes. */
  const check = async (digest: Digest, rate?: number): Promise<ScrubOutcome> => {
    const algorithm = digestAlgorithm(digest);
    let body: Readable | undefined;
    const hash = createHash(algorithm);
    let bytes = 0;
    let started = performance.now();
    try {
      body = await cache().read(digest);
      if (body === undefined) return 'absent';
      for await (const chunk of body as AsyncIterable<Buffer>) {
        if (ended.signal.aborted) return 'absent';
        hash.update(chunk);
        bytes += chunk.length;
        if (rate === undefined) continue;
        const early = (bytes / rate) * 1000 - (performance.now() - started);
        if (early <= 20) continue;
        await pause(Math.min(early, longestWait));
        if (reported.length === 0) continue;
        const since = performance.now();
        await checkReported();
        started += performance.now() - since;
      }
    } catch (error) {
      log.info({ err: error, digest }, 'a cached blob went while it was checked');
      return 'absent';
    } finally {
      body?.destroy();
    }
    const found = digestOfHash(algorithm, hash);
    counts.checkedBlobs += 1;
    counts.checkedBytes += bytes;
    if (found === digest) {
      onChecked(bytes, 'good');
      return 'good';
    }
    counts.damaged += 1;
    onChecked(bytes, 'damaged');
    const freed = await cache().purge({ digest });
    onPurged(freed);
    log.error(
      { digest, found, bytes, entries: freed.entries },
      'a cached blob was damaged; removed, the next pull fetches it again',
    );
    return 'damaged';
  };
  const checkReported = async (): Promise<void> => {
    for (let digest = reported.shift(); digest !== undefined; digest = reported.shift()) await check(digest);
  };
  const round = async (): Promise<void> => {
    let place = await readPlace(placeFile);
    let written = performance.now();
    while (!ended.signal.aborted) {
      const digests = await nextDigests(cache(), place, batch);
      if (digests.length === 0) break;
      for (const digest of digests) {
        await checkReported();
        await check(digest, bytesPerSecond);
        if (ended.signal.aborted) {
          // Not this one: its check was broken off.
          await writePlace(placeFile, place);
          return;
        }
        place = digest;
        if (performance.now() - written < writePlaceEvery) continue;
        await writePlace(placeFile, place);
        written = performance.now();
      }
    }
    if (ended.signal.aborted) return;
    await writePlace(placeFile, '');
    roundEnded = Date.now();
  };
  const run = async (): Promise<void> => {
    while (!ended.signal.aborted) {
      let next = Date.now() + restMs;
      try {
        await round();
      } catch (error) {
        log.warn({ err: error }, 'cached blobs could not be checked');
      }
      next = Math.max(next, Date.now() + 1_000);
      while (!ended.signal.aborted && Date.now() < next) {
        await checkReported().catch((error: unknown) =>
          log.warn({ err: error }, 'a cached blob could not be checked'),
        );
        await rest(next - Date.now());
      }
    }
  };
  const running = run();

  return {
    report(digest) {
      if (!isDigest(digest) || seen.has(digest) || reported.length >= maxReported) return;
      seen.set(digest, true);
      reported.push(digest);
      wake?.();
    },
    check: (digest) => check(digest),
    status: () => ({ ...counts, ...(roundEnded === undefined ? {} : { roundEnded }) }),
    async close() {
      ended.abort();
      await running;
    },
  };
}

/** The first `limit` digests of blobs behind `after`, in order: however many blobs there are, no more than twice that many are held. */
export async function nextDigests(
  cache: Pick<PoolCache, 'entries'>,
  after: string,
  limit: number,
): Promise<Digest[]> {
  let kept = new Set<Digest>();
  let bound: string | undefined;
  const shrink = (): void => {
    const first = [...kept].sort().slice(0, limit);
    kept = new Set(first);
    bound = first.length === limit ? first.at(-1) : undefined;
  };
  for await (const { kind, digest } of cache.entries()) {
    if (kind !== 'blob' || digest === undefined || digest <= after || !isDigest(digest)) continue;
    if (bound !== undefined && digest > bound) continue;
    kept.add(digest);
    if (kept.size >= 2 * limit) shrink();
  }
  shrink();
  return [...kept];
}

/** '' = from the beginning, also when nobody can say. */
async function readPlace(file: string): Promise<string> {
  const text = await readFile(file, 'utf8').catch(() => '');
  return isDigest(text.trim()) ? text.trim() : '';
}

async function writePlace(file: string, place: string): Promise<void> {
  await writeFile(`${file}.new`, place);
  await rename(`${file}.new`, file);
}
