import { mkdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { fetchCatalogRepository } from '../../../../builder/catalog/catalog-repository.ts';
import { loadCatalog } from '../../../../builder/catalog/load-catalog.ts';
import { createRecorder, createWorkshop, gitOk, serveGit } from '../git-fixture.ts';

const { signal } = new AbortController();
const entry = (version: string) =>
  `name: ours\nversion: "${version}"\nchannels: ["1"]\nparent: base:12\nruntime: {order: 5}\n`;

describe('a catalog in a git repository', () => {
  it('is what its branch holds now, and offline what it held last', async () => {
    await using shop = await createWorkshop();
    const work = join(shop.path, 'work');
    const commit = async (): Promise<void> => {
      await gitOk(work, 'add', '--all');
      await gitOk(work, 'commit', '--quiet', '--message=x');
      await gitOk(work, 'push', '--quiet', remote, 'main');
    };
    const git = await serveGit({ ...shop, listener: createRecorder() });
    const remote = `${git.url}/git/team/bases.git`;
    const options = { cacheDir: join(shop.path, 'kept'), signal };
    try {
      await gitOk(shop.path, 'init', '--quiet', '--initial-branch=main', work);
      await mkdir(join(work, 'ours/static/usr/bin'), { recursive: true });
      await writeFile(join(work, 'ours/base.yaml'), entry('1'));
      await writeFile(join(work, 'ours/runtime.sh'), '#!/bin/sh\n', { mode: 0o755 });
      await symlink('/usr/bin/env', join(work, 'ours/static/usr/bin/link'));
      await commit();

      const first = await fetchCatalogRepository(`${remote}#main`, options);
      const shipped = join(import.meta.dirname, '../../../../baseimages');
      const { entries, faults } = await loadCatalog([shipped, first]);
      expect(faults).toEqual([]);
      expect(entries.find(({ id }) => id === 'ours:1')).toMatchObject({
        parent: 'base:12',
        directory: join(first, 'ours'),
      });

      await writeFile(join(work, 'ours/base.yaml'), entry('2'));
      await commit();
      const second = await fetchCatalogRepository(`${remote}#main`, options);
      expect(await readFile(join(second, 'ours/base.yaml'), 'utf8')).toContain('"2"');
      // Whoever reads the state before goes on reading it.
      expect(await readFile(join(first, 'ours/base.yaml'), 'utf8')).toContain('"1"');

      await symlink('/etc/passwd', join(work, 'ours/static.sh'));
      await commit();
      await expect(fetchCatalogRepository(`${remote}#main`, options)).rejects.toThrow(
        'ours/static.sh is a link',
      );
      await expect(fetchCatalogRepository(`${remote}#gone`, options)).rejects.toThrow(
        /cannot be fetched: git failed/,
      );
    } finally {
      await git.close();
    }

    await expect(fetchCatalogRepository(`${remote}#main`, options)).rejects.toThrow('cannot be fetched');
    const kept = await fetchCatalogRepository(`${remote}#main`, { ...options, offline: true });
    expect(await readFile(join(kept, 'ours/base.yaml'), 'utf8')).toContain('"2"');
  });

  it.each([
    ['http://example.org/x', 'must begin with https://'],
    ['ssh://-oProxyCommand=x/y', 'must begin with https://'],
    ['https://me:secret@example.org/x', 'no user name'],
    ['https://example.org/x#--upload-pack=x', 'no branch'],
    ['https://example.org/x#a/../b', 'no branch'],
  ])('is refused as %s', async (address, message) => {
    await expect(fetchCatalogRepository(address, { cacheDir: '/nonexistent', signal })).rejects.toThrow(
      message,
    );
  });
});
