import { describe, expect, it } from 'vitest';
import { readConfig } from '../../../cli/config.ts';
import { openCollector } from '../../../cli/serve/collection.ts';
import { createSilentLogger } from '../../../core/log.ts';
import { createMemoryStore } from '../../../core/object-store/memory.ts';
import { digestOf } from '../../../oci/digest.ts';
import { createStoredRegistry } from '../../../registry/stored-registry.ts';
import { pushStackedImage } from '../../helpers/stacked-image.ts';

describe('the policy for untagged manifests', () => {
  it('leaves base images alone, which apps name by their digest only', async () => {
    const store = createMemoryStore();
    const registry = createStoredRegistry({ store, hintUntagged: true });
    const config = readConfig({
      env: {
        BRICKYARD_COLLECTION_UNTAGGED_ENABLED: 'true',
        BRICKYARD_COLLECTION_UNTAGGED_OLDER_THAN: '0',
        BRICKYARD_COLLECTION_GRACE: '0',
      },
      cwd: '/nowhere',
    });
    const old = await pushStackedImage(registry, 'baseimages/jdk', { layers: ['jdk 1'] }, [
      '17',
      '17.1-00000001',
    ]);
    await pushStackedImage(registry, 'baseimages/jdk', { layers: ['jdk 2'] }, ['17']);
    await registry.deleteTag('baseimages/jdk', '17.1-00000001');
    const app = await pushStackedImage(registry, 'team/app', { layers: ['app'] }, ['main']);
    await registry.deleteTag('team/app', 'main');
    const collector = openCollector(config, store as never, createSilentLogger());

    for (let run = 0; run < 3; run++) await collector.run({ full: true });

    expect((await registry.resolveManifest('baseimages/jdk', old)).digest).toBe(old);
    expect((await registry.resolveBlob('baseimages/jdk', digestOf('jdk 1'))).size).toBe(5);
    await expect(registry.resolveManifest('team/app', app)).rejects.toMatchObject({
      code: 'MANIFEST_UNKNOWN',
    });
    await collector.close();
  });
});
