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
