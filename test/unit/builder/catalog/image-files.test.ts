import { expect, it } from 'vitest';
import { type ImageFiles, readImageFiles } from '../../../../builder/catalog/image-files.ts';
import { createMemoryStore } from '../../../../core/object-store/memory.ts';
import { digestOf } from '../../../../oci/digest.ts';
import type { LayerEntry } from '../../../../oci/layer/entry.ts';
import { mediaTypes } from '../../../../oci/media-types.ts';
import { createStoredRegistry } from '../../../../registry/stored-registry.ts';
import { createImage } from '../../../helpers/image.ts';

const owner = { uid: 0, gid: 0 };
const file = (path: string): LayerEntry => ({
  type: 'file',
  path,
  mode: 0o644,
  content: Buffer.from('x'),
  ...owner,
});
const link = (path: string, target: string): LayerEntry => ({ type: 'symlink', path, target, ...owner });

/** Those of an image with these layers, the lowest first. */
async function filesOf(entries: readonly LayerEntry[][]): Promise<ImageFiles> {
  const image = await createImage(entries, {});
  const registry = createStoredRegistry({ store: createMemoryStore() });
  for (const layer of image.layers) await registry.putBlob('team/x', digestOf(layer), layer);
  const layers = image.layers.map((layer) => ({
    mediaType: mediaTypes.ociLayerGzip,
    digest: digestOf(layer),
    size: layer.length,
  }));

  return readImageFiles(registry, { name: 'x', repository: 'team/x', digest: image.digest }, layers);
}

it('the files of an image are found through its links and hidden by its whiteouts', async () => {
  const files = await filesOf([
    [
      link('bin', 'usr/bin'),
      file('usr/bin/sh'),
      file('etc/gone'),
      file('opt/a/old'),
      link('loop', 'loop'),
      link('up', '../../etc'),
    ],
    [
      file('etc/.wh.gone'),
      file('etc/new'),
      file('opt/a/.wh..wh..opq'),
      file('opt/a/new'),
      link('etc/alternatives', '/usr/bin'),
    ],
  ]);

  const found = [
    '/bin/sh',
    '/etc/alternatives/sh',
    '/up/new',
    '/usr/bin',
    '/',
    '/etc/gone',
    '/opt/a/old',
    '/opt/a/new',
    '/loop',
  ];
  expect(found.map((path) => files.resolve(path))).toEqual([
    'file',
    'file',
    'file',
    'directory',
    'directory',
    undefined,
    undefined,
    'file',
    undefined,
  ]);
});

it('a file takes the place of a folder of a lower layer, and of all that was in it, also where no layer names the folder', async () => {
  const files = await filesOf([[file('opt/a/b/old'), file('opt/ab/kept')], [file('opt/a')]]);

  expect(['/opt/a', '/opt/a/b/old', '/opt/ab/kept'].map((path) => files.resolve(path))).toEqual([
    'file',
    undefined,
    'file',
  ]);
});
