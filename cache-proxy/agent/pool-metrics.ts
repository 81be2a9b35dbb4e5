import { createBoundedCache } from '../../core/bounded-cache.ts';
import type { Metrics } from '../../core/metrics.ts';
import type { Freed } from '../pool-engine.ts';
import type { PullRecord } from '../pull-record.ts';
import type { Gate } from './gate.ts';
import type { HealthSnapshot } from './health.ts';

/** What a pool counts about itself, since its process started. */
export interface PoolMetrics {
  /** Counts one record of the engine. Never throws. */
  readonly onRecord: (record: PullRecord) => void;
  /** The same gate, with its verdicts counted and timed. */
  readonly watch: <Watched extends Gate>(gate: Watched) => Watched;
  /** The scrubber compared so many bytes of one blob with its digest. */
  scrubbed(bytes: number, outcome: 'good' | 'damaged'): void;
  /** Somebody had entries removed. */
  purged(freed: Freed): void;
  /** The same sums as the metrics, for `/_pool/status`. */
  totals(): PoolTotals;
}

/** Images only, not what passes through to the origin. Prewarming's own requests are no client's. */
export interface PoolTotals {
  readonly clientRequests: number;
  /** Of `clientRequests`, those that were answered without a byte of a body from the origin. */
  readonly clientHits: number;
  readonly clientBytes: number;
  /** What clients' requests made come over the link. */
  readonly originBytes: number;
  /** What prewarming made come over the link. */
  readonly prewarmBytes: number;
  readonly staleAnswers: number;
  /** Requests of people who are known and may not have it. */
  readonly denials: number;
}

/** What is asked for at each scrape. */
export interface PoolReadings {
  readonly usage: Freed;
  readonly maxSize: number;
  readonly health: HealthSnapshot;
}

/** Blobs of which is remembered that prewarming fetched them; of more, those that were touched longest ago are forgotten. */
const rememberedBlobs = 50_000;

const firstByteBuckets = [0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 1.5, 3, 5, 15, 60];
const verdictBuckets = [0.001, 0.005, 0.02, 0.05, 0.2, 1, 3, 10];

/**
 * Labels are kinds and outcomes, never names. Ratios and what was saved follow from the counters; the gauges say them since the start, for a look
 * without a query.
 */
export function createPoolMetrics(metrics: Metrics, read: () => Promise<PoolReadings>): PoolMetrics {
  const requests = metrics.counter(
    'brickyard_pool_requests_total',
    'Requests of clients, by what they asked for and where the answer came from.',
    ['kind', 'cache', 'status'],
  );
  const clientBytes = metrics.counter(
    'brickyard_pool_client_bytes_total',
    'Bytes of bodies that clients were sent.',
    ['kind'],
  );
  const originBytes = metrics.counter(
    'brickyard_pool_origin_bytes_total',
    'Bytes of bodies that came over the link, because of a client or of prewarming.',
    ['kind', 'cause'],
  );
  const stale = metrics.counter(
    'brickyard_pool_stale_answers_total',
    'Tags answered from the cache because the origin could not be asked.',
  );
  const firstByte = metrics.histogram(
    'brickyard_pool_first_byte_seconds',
    'Time from a client’s request to the first byte of its answer.',
    firstByteBuckets,
    ['kind', 'cache'],
  );
  const verdicts = metrics.histogram(
    'brickyard_pool_verdict_seconds',
    'Time until it was decided whether somebody may have something: allowed, unauthenticated, denied, unknown or unavailable.',
    verdictBuckets,
    ['outcome'],
  );
  const scrubbedBytes = metrics.counter(
    'brickyard_pool_scrubbed_bytes_total',
    'Bytes of cached blobs that were compared with their digest.',
  );
  const damaged = metrics.counter(
    'brickyard_pool_damaged_blobs_total',
    'Cached blobs that were not what their digest says, and were removed.',
  );
  const purgedEntries = metrics.counter(
    'brickyard_pool_purged_entries_total',
    'Entries that were removed because somebody said so, or because they were damaged.',
  );
  const prewarmed = metrics.counter(
    'brickyard_pool_prewarmed_blobs_total',
    'Blobs of which prewarming fetched something.',
  );
  const prewarmedUsed = metrics.counter(
    'brickyard_pool_prewarmed_used_blobs_total',
    'Prewarmed blobs that a client pulled afterwards.',
  );

  const sums = {
    clientRequests: 0,
    clientHits: 0,
    clientBytes: 0,
    originBytes: 0,
    prewarmBytes: 0,
    staleAnswers: 0,
    denials: 0,
  };
  let prewarmedCount = 0;
  let usedCount = 0;
  const fates = createBoundedCache<string, 'waits' | 'used'>(rememberedBlobs);
  const evictions = createEvictionEstimate();

  const countOrigin = ({ kind, bytes, prewarm, digest }: PullRecord): void => {
    originBytes.inc({ kind, cause: prewarm ? 'prewarm' : 'client' }, bytes);
    if (kind === 'other') return;
    if (prewarm) sums.prewarmBytes += bytes;
    else sums.originBytes += bytes;
    if (kind !== 'blob') return;
    evictions.fetched(bytes);
    if (!prewarm || digest === undefined || fates.has(digest)) return;
    fates.set(digest, 'waits');
    prewarmedCount += 1;
    prewarmed.inc();
  };
  const countClient = (record: PullRecord): void => {
    const { kind, cache, status, bytes, digest, firstByteSeconds } = record;
    requests.inc({ kind, cache, status: `${Math.floor(status / 100)}xx` });
    clientBytes.inc({ kind }, bytes);
    if (kind === 'other') return;
    sums.clientRequests += 1;
    sums.clientBytes += bytes;
    if (status < 400 && cache !== 'miss' && cache !== 'bypass') sums.clientHits += 1;
    if (cache === 'stale') {
      sums.staleAnswers += 1;
      stale.inc();
    }
    if (firstByteSeconds !== undefined) firstByte.observe({ kind, cache }, firstByteSeconds);
    if (digest === undefined || status >= 400 || fates.get(digest) !== 'waits') return;
    fates.set(digest, 'used');
    usedCount += 1;
    prewarmedUsed.inc();
  };

  metrics.readings(
    {
      brickyard_pool_hit_ratio_requests: 'Share of requests for images answered without the origin’s bytes.',
      brickyard_pool_hit_ratio_bytes:
        'Share of the bytes for clients that did not come over the link for them.',
      brickyard_pool_saved_bytes:
        'Bytes sent to clients less those that came over the link, also for prewarming.',
      brickyard_pool_prewarmed_used_ratio: 'Share of prewarmed blobs that a client pulled afterwards.',
      brickyard_pool_cache_bytes: 'What the cache has on disk.',
      brickyard_pool_cache_entries: 'Pieces of blobs, manifests and tags that are cached.',
      brickyard_pool_cache_limit_bytes: 'What the cache may have on disk.',
      brickyard_pool_evicted_bytes_total:
        'What was removed to stay within the limits or because nobody asked for it; counted from what came and what is there.',
      brickyard_pool_origin_up: '1 while the origin answers, 0 while the pool goes on without it.',
      brickyard_pool_origin_slow:
        '1 while the line to the origin crawls and nobody waits for it who need not.',
    },
    async () => {
      const { usage, maxSize, health } = await read();
      const { clientRequests, clientHits, clientBytes: sent, originBytes: fetched, prewarmBytes } = sums;
      return {
        brickyard_pool_hit_ratio_requests: ratio(clientHits, clientRequests),
        brickyard_pool_hit_ratio_bytes: ratio(Math.max(0, sent - fetched), sent),
        brickyard_pool_saved_bytes: sent - fetched - prewarmBytes,
        brickyard_pool_prewarmed_used_ratio: ratio(usedCount, prewarmedCount),
        brickyard_pool_cache_bytes: usage.bytes,
        brickyard_pool_cache_entries: usage.entries,
        brickyard_pool_cache_limit_bytes: maxSize,
        brickyard_pool_evicted_bytes_total: evictions.at(usage.bytes),
        brickyard_pool_origin_up: health.state === 'away' ? 0 : 1,
        brickyard_pool_origin_slow: health.state === 'slow' ? 1 : 0,
      };
    },
  );

  return {
    onRecord(record) {
      if (record.side === 'origin') countOrigin(record);
      else if (!record.prewarm) countClient(record);
    },
    watch: (gate) => ({
      ...gate,
      async decide(request) {
        const started = performance.now();
        const verdict = await gate.decide(request);
        const { outcome } = verdict;
        verdicts.observe({ outcome }, (performance.now() - started) / 1000);
        if (outcome === 'denied') sums.denials += 1;
        return verdict;
      },
    }),
    scrubbed(bytes, outcome) {
      scrubbedBytes.inc(bytes);
      if (outcome === 'damaged') damaged.inc();
    },
    purged({ entries, bytes }) {
      purgedEntries.inc(entries);
      evictions.purged(bytes);
    },
    totals: () => ({ ...sums }),
  };
}

function ratio(part: number, whole: number): number {
  return whole === 0 ? 0 : part / whole;
}

/** Neither engine tells of evictions as they come: nginx' happen in a process of its own without a word. */
function createEvictionEstimate() {
  let expected: number | undefined;
  let pending = 0;
  let evicted = 0;
  return {
    fetched(bytes: number): void {
      pending += bytes;
    },
    purged(bytes: number): void {
      pending -= bytes;
    },
    /** Bytes evicted up to now, with so many on the disk. Never falls. */
    at(onDisk: number): number {
      const before = expected ?? onDisk;
      evicted += Math.max(0, before + (expected === undefined ? 0 : pending) - onDisk);
      expected = onDisk;
      pending = 0;
      return evicted;
    },
  };
}
