import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { createByteBudget } from '../../../../../core/object-store/byte-budget.ts';
import { createPartBuffers, type PartBuffers } from '../../../../../core/object-store/s3/part-buffers.ts';

const size = 1000;

describe('buffers for parts', () => {
  let buffers: PartBuffers;

  beforeEach(() => {
    vi.useFakeTimers();
    buffers = createPartBuffers(createByteBudget(4 * size), 4 * size, [size]);
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  it('of the usual size are used again, the one that was used last first', () => {
    const [first, second] = [buffers.take(size), buffers.take(size)];
    buffers.recycle(first);
    buffers.recycle(second);

    expect(buffers.take(size)).toBe(second);
    expect(buffers.take(size)).toBe(first);
    expect(buffers.take(size)).not.toBe(first);
  });

  it('of other sizes are not kept', () => {
    const odd = buffers.take(size + 1);
    buffers.recycle(odd);

    expect(buffers.take(size + 1)).not.toBe(odd);
  });

  it('go back to the system when nobody needed them for ten seconds', () => {
    const buffer = buffers.take(size);
    buffers.recycle(buffer);
    vi.advanceTimersByTime(10_000);

    expect(vi.getTimerCount()).toBe(0);
    expect(buffers.take(size)).not.toBe(buffer);
  });

  it('stay while they are needed now and then', () => {
    const [busy, idle] = [buffers.take(size), buffers.take(size)];
    buffers.recycle(idle);
    buffers.recycle(busy);
    for (let second = 0; second < 25; second++) {
      expect(buffers.take(size)).toBe(busy);
      buffers.recycle(busy);
      vi.advanceTimersByTime(1000);
    }

    expect(buffers.take(size)).toBe(busy);
    expect(buffers.take(size)).not.toBe(idle);
  });

  it('make others wait when the budget is used up, and tell so', async () => {
    expect(buffers.reserve(3 * size)).toBeUndefined();
    let granted = false;
    const turn = buffers.reserve(2 * size)?.then(() => {
      granted = true;
    });
    expect(turn).toBeDefined();
    expect(buffers.crowded).toBe(true);

    buffers.give(3 * size);
    await turn;

    expect(granted).toBe(true);
    expect(buffers.crowded).toBe(false);
  });
});
