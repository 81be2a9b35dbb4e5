import { once } from 'node:events';
import { buffer } from 'node:stream/consumers';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { createGather } from '../../../../cache-proxy/fetch/gather.ts';

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
});
afterEach(() => vi.useRealTimers());

describe('chunks of a slow link', () => {
  it('are joined until there are enough of them', async () => {
    const gather = createGather({ bytes: 4, ms: 5 });
    const first = once(gather, 'data');
    for (const chunk of ['a', 'b', 'c', 'de']) gather.write(chunk);

    expect(String(await first)).toBe('abcde');
  });

  it('wait for others only so long', async () => {
    const gather = createGather({ bytes: 4, ms: 5 });
    const seen: string[] = [];
    gather.on('data', (chunk: Buffer) => seen.push(chunk.toString()));
    gather.write('a');
    gather.write('b');
    await new Promise(setImmediate);
    expect(seen).toEqual([]);

    vi.advanceTimersByTime(5);
    await new Promise(setImmediate);

    expect(seen).toEqual(['ab']);
  });

  it('come in their order, and whole', async () => {
    const gather = createGather({ bytes: 10, ms: 5 });
    const all = buffer(gather);
    const text = Array.from({ length: 100 }, (_, index) => `${index},`);
    for (const each of text) gather.write(each);
    gather.end();

    expect((await all).toString()).toBe(text.join(''));
    expect(vi.getTimerCount()).toBe(0);
  });

  it('leave no timer behind when the line breaks', async () => {
    const gather = createGather({ bytes: 10, ms: 5 });
    gather.write('a');
    gather.destroy(new Error('broke'));

    await expect(buffer(gather)).rejects.toThrow('broke');
    expect(vi.getTimerCount()).toBe(0);
  });
});
