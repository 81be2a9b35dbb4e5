import { describe, expect, it } from 'vitest';
import type { Gate } from '../../../../cache-proxy/agent/gate.ts';
import { createPoolMetrics, type PoolReadings } from '../../../../cache-proxy/agent/pool-metrics.ts';
import type { PullRecord } from '../../../../cache-proxy/pull-record.ts';
import { createMetrics } from '../../../../core/metrics.ts';

const digest = `sha256:${'a'.repeat(64)}`;

function record(more: Partial<PullRecord>): PullRecord {
  return {
    time: 0,
    id: '1',
    side: 'client',
    kind: 'blob',
    repository: 'team/app',
    digest,
    method: 'GET',
    status: 200,
    cache: 'hit',
    bytes: 0,
    seconds: 0.1,
    prewarm: false,
    ...more,
  };
}

describe('what a pool counts', () => {
  function counted(readings: Partial<PoolReadings> = {}) {
    const metrics = createMetrics();
    const now: { -readonly [key in keyof PoolReadings]: PoolReadings[key] } = {
      usage: { entries: 0, bytes: 0 },
      maxSize: 1000,
      health: { state: 'up' },
      ...readings,
    };
    const pool = createPoolMetrics(metrics, () => Promise.resolve(now));
    return { metrics, pool, now };
  }

  it('tells hits, misses and bytes of clients from those of prewarming', async () => {
    const { metrics, pool } = counted();

    pool.onRecord(record({ cache: 'miss', bytes: 100, firstByteSeconds: 0.2 }));
    pool.onRecord(record({ side: 'origin', cache: 'miss', bytes: 100 }));
    pool.onRecord(record({ bytes: 100, firstByteSeconds: 0.01 }));
    pool.onRecord(record({ bytes: 100 }));
    pool.onRecord(record({ prewarm: true, bytes: 50 }));
    pool.onRecord(record({ side: 'origin', prewarm: true, bytes: 50 }));
    pool.onRecord(record({ kind: 'other', cache: 'bypass', bytes: 7 }));
    const text = await metrics.render();

    expect(pool.totals()).toEqual({
      clientRequests: 3,
      clientHits: 2,
      clientBytes: 300,
      originBytes: 100,
      prewarmBytes: 50,
      staleAnswers: 0,
      denials: 0,
    });
    expect(text).toContain('brickyard_pool_requests_total{kind="blob",cache="hit",status="2xx"} 2');
    expect(text).toContain('brickyard_pool_origin_bytes_total{kind="blob",cause="prewarm"} 50');
    expect(text).toContain('brickyard_pool_first_byte_seconds_bucket{le="0.02",kind="blob",cache="hit"} 1');
    expect(text).toMatch(/brickyard_pool_hit_ratio_requests 0\.66/);
    expect(text).toMatch(/brickyard_pool_hit_ratio_bytes 0\.66/);
    expect(text).toContain('brickyard_pool_saved_bytes 150');
  });

  it('counts an answer that nobody could compare with the origin', () => {
    const { pool } = counted();

    pool.onRecord(record({ kind: 'tag', tag: 'latest', cache: 'stale' }));

    expect(pool.totals()).toMatchObject({ staleAnswers: 1, clientHits: 1 });
  });

  it('counts prewarmed blobs once, and those of them that somebody pulled', async () => {
    const { metrics, pool } = counted();
    const other = `sha256:${'b'.repeat(64)}`;

    for (const piece of [1, 2]) pool.onRecord(record({ side: 'origin', prewarm: true, bytes: piece }));
    pool.onRecord(record({ side: 'origin', prewarm: true, bytes: 1, digest: other }));
    pool.onRecord(record({ status: 403 }));
    pool.onRecord(record({}));
    pool.onRecord(record({}));
    const text = await metrics.render();

    expect(text).toContain('brickyard_pool_prewarmed_blobs_total 2');
    expect(text).toContain('brickyard_pool_prewarmed_used_blobs_total 1');
    expect(text).toContain('brickyard_pool_prewarmed_used_ratio 0.5');
  });

  it('finds what was evicted from what came and what is there', async () => {
    const { metrics, pool, now } = counted({ usage: { entries: 1, bytes: 500 } });
    await metrics.render();

    pool.onRecord(record({ side: 'origin', bytes: 300 }));
    pool.purged({ entries: 1, bytes: 100 });
    now.usage = { entries: 1, bytes: 600 };
    const text = await metrics.render();
    now.usage = { entries: 1, bytes: 650 };
    const later = await metrics.render();

    expect(text).toContain('brickyard_pool_evicted_bytes_total 100');
    expect(text).toContain('brickyard_pool_purged_entries_total 1');
    expect(later).toContain('brickyard_pool_evicted_bytes_total 100');
  });

  it('counts what the gate says, and says the same', async () => {
    const { metrics, pool } = counted();
    const gate = pool.watch<Gate>({ decide: () => Promise.resolve({ outcome: 'denied' }) });

    const verdict = await gate.decide({ repository: 'a', reference: { digest }, kind: 'blob' });

    expect(verdict).toEqual({ outcome: 'denied' });
    expect(pool.totals().denials).toBe(1);
    expect(await metrics.render()).toContain('brickyard_pool_verdict_seconds_count{outcome="denied"} 1');
  });

  it('says that the origin is away', async () => {
    const { metrics } = counted({ health: { state: 'away', reason: 'refused' } });

    expect(await metrics.render()).toContain('brickyard_pool_origin_up 0');
  });

  it('says that the line to the origin crawls, which is no absence', async () => {
    const { metrics } = counted({ health: { state: 'slow', reason: '400 ms' } });

    const text = await metrics.render();
    expect(text).toContain('brickyard_pool_origin_up 1');
    expect(text).toContain('brickyard_pool_origin_slow 1');
  });
});
