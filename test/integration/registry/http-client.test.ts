import { createMemoryStore } from '../../../core/object-store/memory.ts';
import { createRegistryClient } from '../../../oci/client.ts';
import { createStoredRegistry } from '../../../registry/stored-registry.ts';
import { startRegistryServer } from '../../helpers/registry-server.ts';
import { registrySuite } from '../../suites/registry.ts';

registrySuite('the HTTP client over the HTTP server over the stored registry', async () => {
  const server = await startRegistryServer(createStoredRegistry({ store: createMemoryStore() }));
  const client = createRegistryClient({ url: server.url });
  const close = async (): Promise<void> => {
    client.close();
    await server.close();
  };
  return { registry: client, close };
});
