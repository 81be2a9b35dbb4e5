import { createMemoryStore } from '../../../../core/object-store/memory.ts';
import { createStoredRegistry } from '../../../../registry/stored-registry.ts';
import { registrySuite } from '../../../suites/registry.ts';

registrySuite('stored registry over the memory store', async () => ({
  registry: createStoredRegistry({ store: createMemoryStore() }),
}));
