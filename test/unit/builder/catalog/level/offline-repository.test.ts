import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { offlineRepository } from '../../../../../builder/catalog/level/offline-repository.ts';
import { createTempDirectory } from '../../../../helpers/temp.ts';

it('an offline repository names each package by a path that needs no quoting', async () => {
  const folder = await createTempDirectory('packages');
  try {
    const file = join(folder.path, 'x.deb');
    await writeFile(file, 'debian');
    const stanza =
      'Package: libnspr4\nVersion: 2:4.35-1\nFilename: pool/main/n/nspr/libnspr4_4.35-1_amd64.deb\nSize: 6\n';
    const found = { name: 'libnspr4', version: '2:4.35-1', architecture: 'amd64', sha256: '', stanza, file };

    const files = await offlineRepository([
      found,
      { ...found, name: 'other', stanza: stanza.replace('libnspr4', 'other') },
    ]);

    const content = (path: string) => files.find((each) => each.path === path)?.content;
    expect(content('apt/Packages')).toEqual(
      Buffer.from(
        'Package: libnspr4\nVersion: 2:4.35-1\nFilename: ./pool/libnspr4_amd64.deb\nSize: 6\n\n' +
          'Package: other\nVersion: 2:4.35-1\nFilename: ./pool/other_amd64.deb\nSize: 6\n',
      ),
    );
    expect(content('apt/pool/libnspr4_amd64.deb')).toEqual({ file, size: 6 });
  } finally {
    await folder.remove();
  }
});
