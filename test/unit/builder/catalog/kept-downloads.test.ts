import { createHash } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import {
  createKeptDownloads,
  downloadTag,
  keepDownload,
} from '../../../../builder/catalog/debian/kept-downloads.ts';
import { createKeptSources } from '../../../../builder/catalog/sources/kept-sources.ts';
import { createMemoryStore } from '../../../../core/object-store/memory.ts';
import { createStoredRegistry } from '../../../../registry/stored-registry.ts';
import { createTempDirectory } from '../../../helpers/temp.ts';

const request = { suite: 'bookworm', architecture: 'amd64', packages: ['b', 'a'] };
const options = { signal: new AbortController().signal, onProgress: () => undefined };

describe('Debian packages in our own store', () => {
  it('are those that were kept, without what is installed already', async () => {
    await using folder = await createTempDirectory('kept');
    const store = createKeptSources(createStoredRegistry({ store: createMemoryStore() }));
    const packages = await Promise.all(
      ['a', 'b', 'libc6'].map(async (name) => {
        const file = join(folder.path, `${name}.deb`);
        await writeFile(file, name);
        const sha256 = createHash('sha256').update(name).digest('hex');
        return { name, version: '1:2', architecture: 'amd64', sha256, stanza: `Package: ${name}\n`, file };
      }),
    );
    await keepDownload(store, request, { sources: 'Types: deb\n', packages });
    const downloads = createKeptDownloads(store, join(folder.path, 'cache'));
    const installed = Buffer.from(
      'Package: libc6\nStatus: install ok installed\n\nPackage: b\nStatus: deinstall ok config-files\n',
    );

    const all = await downloads.download({ ...request, packages: ['a', 'b'] }, options);
    const further = await downloads.download({ ...request, installed }, options);

    const cached = ({ sha256 }: { sha256: string }) => join(folder.path, 'cache/sources', sha256);
    expect(all.packages).toEqual(packages.map((each) => ({ ...each, file: cached(each) })));
    expect(await readFile(all.packages[0]?.file ?? '', 'utf8')).toBe('a');
    expect(all.sources).toBe('Types: deb\n');
    expect(further.packages.map(({ name }) => name)).toEqual(['a', 'b']);
  });

  it('that were never kept are said to be missing, and what to do about it', async () => {
    const store = createKeptSources(createStoredRegistry({ store: createMemoryStore() }));

    await expect(createKeptDownloads(store, '/nonexistent').download(request, options)).rejects.toThrow(
      /packages b, a \(amd64\) are not in our own store; .*base mirror/,
    );
    expect(downloadTag(request)).not.toBe(downloadTag({ ...request, architecture: 'arm64' }));
  });
});
