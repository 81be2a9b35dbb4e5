import { createFilesystemStore } from '../../../core/object-store/filesystem.ts';
import { createMemoryStore } from '../../../core/object-store/memory.ts';
import { createStoredRegistry } from '../../../registry/stored-registry.ts';
import { startRegistryServer } from '../../helpers/registry-server.ts';
import { createTempDirectory } from '../../helpers/temp.ts';
import { conformanceSuite } from '../../suites/conformance.ts';

conformanceSuite('conformance over the memory store', () =>
  startRegistryServer(createStoredRegistry({ store: createMemoryStore() })),
);

conformanceSuite('conformance over the filesystem store', async () => {
  const directory = await createTempDirectory('conformance');
  const store = createFilesystemStore({ root: directory.path });
  const server = await startRegistryServer(createStoredRegistry({ store }));
  const close = async (): Promise<void> => {
    await server.close();
    store.close();
    await directory.remove();
  };
  return { url: server.url, close };
});

conformanceSuite(
  'conformance of a registry that accepts images with missing layers',
  () => startRegistryServer(createStoredRegistry({ store: createMemoryStore(), allowMissingBlobs: true })),
  { missingBlobs: 'accepted' },
);
