import { createMemoryStore } from '../../../../core/object-store/memory.ts';
import { objectStoreSuite } from '../../../suites/object-store.ts';

objectStoreSuite('the memory store', () => ({ store: createMemoryStore(), close() {} }));
