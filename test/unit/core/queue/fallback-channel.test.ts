import { describe, expect, it } from 'vitest';
import { createEventBus } from '../../../../core/events.ts';
import { createMemoryStore } from '../../../../core/object-store/memory.ts';
import type { DispatchChannel } from '../../../../core/queue/dispatch-channel.ts';
import { createFallbackChannel } from '../../../../core/queue/fallback-channel.ts';
import { createJobKeys } from '../../../../core/queue/job-keys.ts';
import { createStoreChannel } from '../../../../core/queue/store-channel.ts';
import { dispatchChannelSuite } from '../../../suites/dispatch-channel.ts';

function storeChannel(): () => DispatchChannel {
  const store = createMemoryStore();
  const events = createEventBus();
  const keys = createJobKeys('builds/');
  return () => createStoreChannel({ store, keys, events, pollMs: 10, onError: () => {} });
}

/** Of a transport that is away. */
const gone: DispatchChannel = {
  release: () => Promise.reject(new Error('away')),
  withdraw: () => Promise.reject(new Error('away')),
  released: () => Promise.reject(new Error('away')),
  listen: () => ({ close: () => Promise.resolve() }),
};

dispatchChannelSuite('a fallback whose fast channel is away', () => {
  const open = storeChannel();
  return { open: () => createFallbackChannel(gone, open()), close() {} };
});

describe('createFallbackChannel', () => {
  it('uses the safe channel for a hint that must be given again only', async () => {
    const [fast, safe] = [storeChannel()(), storeChannel()()];
    const channel = createFallbackChannel(fast, safe);

    await channel.release('worker-1', 'a');
    await channel.release('worker-1', 'b');
    expect(await safe.released()).toEqual([]);
    await channel.release('worker-1', 'a');

    expect(await safe.released()).toEqual([{ worker: 'worker-1', id: 'a' }]);
    expect(await channel.released()).toHaveLength(2);
  });

  it('brings hints of both, and withdraws from both', async () => {
    const [fast, safe] = [storeChannel()(), storeChannel()()];
    const channel = createFallbackChannel(fast, safe);
    for (const id of ['a', 'b']) for (const way of [fast, safe]) await way.release('worker-1', id);

    await channel.withdraw('worker-1', 'a');

    expect(await channel.released()).toEqual([{ worker: 'worker-1', id: 'b' }]);
    const heard = await new Promise<string>((resolve) => {
      const listener = channel.listen('worker-1', async (id) => {
        resolve(id);
        await listener.close();
      });
    });
    expect(heard).toBe('b');
  });

  it('tells when even the safe channel fails', async () => {
    await expect(createFallbackChannel(gone, gone).release('worker-1', 'a')).rejects.toThrow('away');
  });
});
