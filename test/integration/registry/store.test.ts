import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createFilesystemStore } from '../../../core/object-store/filesystem.ts';
import { createStoredRegistry } from '../../../registry/stored-registry.ts';
import { registrySuite } from '../../suites/registry.ts';

registrySuite('stored registry over the filesystem store', async () => {
  const root = await mkdtemp(join(tmpdir(), 'brickyard-store-'));
  const store = createFilesystemStore({ root });
  return {
    registry: createStoredRegistry({ store }),
    async close() {
      store.close();
      await rm(root, { recursive: true });
    },
  };
});
