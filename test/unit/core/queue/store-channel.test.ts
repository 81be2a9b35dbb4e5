import { expect, it, vi } from 'vitest';
import { createEventBus } from '../../../../core/events.ts';
import { createMemoryStore } from '../../../../core/object-store/memory.ts';
import { createJobKeys } from '../../../../core/queue/job-keys.ts';
import { createStoreChannel } from '../../../../core/queue/store-channel.ts';
import { dispatchChannelSuite } from '../../../suites/dispatch-channel.ts';

const common = { keys: createJobKeys('builds/'), pollMs: 20, onError: () => {} };

dispatchChannelSuite('the store', () => {
  const store = createMemoryStore();
  const events = createEventBus();
  return { open: () => createStoreChannel({ ...common, store, events }), close() {} };
});

dispatchChannelSuite('the store without events', () => {
  const store = createMemoryStore();
  return { open: () => createStoreChannel({ ...common, store, events: createEventBus() }), close() {} };
});

it('passes over events that are no hints', async () => {
  const events = createEventBus();
  const channel = createStoreChannel({ ...common, store: createMemoryStore(), events });
  const heard: string[] = [];
  const listener = channel.listen('worker-1', async (id) => void heard.push(id));

  for (const odd of [null, 7, 'text', [], { worker: 'worker-1' }, { worker: 'worker-1', id: 7 }])
    events.publish(common.keys.releasedTopic, odd);
  await channel.release('worker-1', 'a');
  await vi.waitFor(() => expect(heard).toEqual(['a']));

  await listener.close();
});
