import { createMemoryRegistry } from '../../../oci/memory-registry.ts';
import { registrySuite } from '../../suites/registry.ts';

registrySuite('memory registry', async () => ({ registry: createMemoryRegistry() }));
