import { describe, expect, it } from 'vitest';
import { createLeaseWatch } from '../../../../core/queue/lease-watch.ts';
import type { VersionedJob } from '../../../../core/queue/stored-job.ts';

function held(id: string, nonce: string, expiresAt = '2026-01-01T00:00:00.000Z'): VersionedJob {
  return {
    etag: nonce,
    nonce,
    job: {
      id,
      payload: {},
      state: 'running',
      createdAt: expiresAt,
      attempts: 1,
      fence: 1,
      strikes: 0,
      lease: { owner: 'other', fence: 1, expiresAt },
    },
  };
}

describe('a lease', () => {
  it('has run out once it stood still for its whole length, whatever time it names', () => {
    let time = 5;
    const watch = createLeaseWatch({ leaseMs: 100, elapsed: () => time });
    const seen = [0, 50, 99, 100].map((after) => {
      time = 5 + after;
      return watch.ranOut(held('a', 'n1', '1970-01-01T00:00:00.000Z'));
    });
    expect(seen).toEqual([false, false, false, true]);
  });

  it('counts from its last renewal', () => {
    let time = 0;
    const watch = createLeaseWatch({ leaseMs: 100, elapsed: () => time });
    watch.ranOut(held('a', 'n1'));
    time = 99;
    expect(watch.ranOut(held('a', 'n2'))).toBe(false);
    time = 198;
    expect(watch.ranOut(held('a', 'n2'))).toBe(false);
    time = 199;
    expect(watch.ranOut(held('a', 'n2'))).toBe(true);
  });

  it('is watched among ten thousand others, and memory stays bounded', () => {
    let time = 0;
    const watch = createLeaseWatch({ leaseMs: 100, elapsed: () => time });
    for (let index = 0; index <= 10_000; index++) watch.ranOut(held(`job-${index}`, 'n'));
    time = 100;
    expect(watch.ranOut(held('job-0', 'n'))).toBe(false);
    expect(watch.ranOut(held('job-10000', 'n'))).toBe(true);
  });
});
