import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { buildBaseImages } from '../../../../builder/catalog/build-base-images.ts';
import { recipeKey } from '../../../../builder/catalog/build-key.ts';
import { loadCatalog } from '../../../../builder/catalog/load-catalog.ts';
import { recipeAnnotation } from '../../../../builder/image-annotations.ts';
import { createMemoryStore } from '../../../../core/object-store/memory.ts';
import { digestOf, isDigest } from '../../../../oci/digest.ts';
import { mediaTypes } from '../../../../oci/media-types.ts';
import type { Registry } from '../../../../oci/registry.ts';
import { createStoredRegistry } from '../../../../registry/stored-registry.ts';
import { createTempDirectory } from '../../../helpers/temp.ts';

const architecture = 'amd64';
const catalog = {
  base: 'name: base\nversion: "12"\nchannels: ["12"]\ndebian: {suite: bookworm, packages: [dash]}\n',
  child: 'name: child\nversion: "1"\nchannels: ["1"]\nparent: base:12\n',
};

async function writeCatalog(folder: string): Promise<void> {
  for (const [name, text] of Object.entries(catalog)) {
    await mkdir(join(folder, name), { recursive: true });
    await writeFile(join(folder, name, 'base.yaml'), text);
  }
}

/** An image of the first entry that counts as built from its recipe: nothing has to be downloaded. */
async function pushParent(registry: Registry, catalogDir: string): Promise<void> {
  const [entry] = (await loadCatalog(catalogDir)).entries;
  if (entry === undefined) throw new Error('the catalog is empty');
  const recipe = recipeKey({ entry, staticFiles: [], parent: undefined, architecture });
  const layer = Buffer.from('layer');
  const rootfs = { type: 'layers', diff_ids: [digestOf(layer)] };
  const config = Buffer.from(JSON.stringify({ architecture, os: 'linux', rootfs }));
  for (const blob of [layer, config]) await registry.putBlob('baseimages/base', digestOf(blob), blob);
  const describe = (mediaType: string, bytes: Buffer) => ({
    mediaType,
    digest: digestOf(bytes),
    size: bytes.length,
  });
  const manifest = {
    schemaVersion: 2,
    mediaType: mediaTypes.ociManifest,
    config: describe(mediaTypes.ociConfig, config),
    layers: [describe(mediaTypes.ociLayerGzip, layer)],
    annotations: { [recipeAnnotation]: recipe },
  };
  const bytes = Buffer.from(JSON.stringify(manifest));
  await registry.putManifest('baseimages/base', '12', bytes, mediaTypes.ociManifest);
}

describe('a level of the catalog', () => {
  it('fails cleanly and moves no channel when its parent is deleted meanwhile (builder.md 6, row 31)', async () => {
    const folder = await createTempDirectory('catalog');
    try {
      await writeCatalog(join(folder.path, 'catalog'));
      const stored = createStoredRegistry({ store: createMemoryStore() });
      await pushParent(stored, join(folder.path, 'catalog'));
      const registry: Registry = {
        ...stored,
        async getManifest(repository, reference) {
          // Only whoever lays a level on it reads it by its digest.
          if (isDigest(reference)) await stored.deleteManifest(repository, reference);
          return stored.getManifest(repository, reference);
        },
      };
      const catalogDir = join(folder.path, 'catalog');
      const cacheDir = join(folder.path, 'cache');

      const building = buildBaseImages({ catalogDir, registry, cacheDir, architecture });

      await expect(building).rejects.toMatchObject({
        name: 'UserError',
        message: expect.stringMatching(
          /the base image base:12 .* was deleted or replaced during the build; no channel/,
        ),
      });
      await expect(stored.resolveManifest('baseimages/child', '1')).rejects.toMatchObject({
        code: 'NAME_UNKNOWN',
      });
    } finally {
      await folder.remove();
    }
  });
});
