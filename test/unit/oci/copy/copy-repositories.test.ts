import { describe, expect, it } from 'vitest';
import {
  type CopyReport,
  type CopyRepositoriesOptions,
  copyRepositories,
} from '../../../../oci/copy/copy-repositories.ts';
import { OciError } from '../../../../oci/errors.ts';
import { createMemoryRegistry } from '../../../../oci/memory-registry.ts';
import type { Registry } from '../../../../oci/registry.ts';
import { pushContent } from '../../../helpers/content.ts';

const names = ['team/a', 'team/b', 'team/c'];

async function filled(): Promise<Registry> {
  const source = createMemoryRegistry();
  for (const name of names) {
    await pushContent(source, {
      [name]: {
        blobs: { shared: 'shared', own: name },
        manifests: { one: { layers: ['shared'] }, two: { layers: ['shared', 'own'] } },
        tags: { '1': 'one', '2': 'two', latest: 'two' },
      },
    });
  }
  return source;
}

function copy(
  source: Registry,
  target: Registry,
  more: Partial<CopyRepositoriesOptions> = {},
): Promise<CopyReport> {
  const repositories = names.map((name) => ({ from: name, to: `copies/${name}` }));
  return copyRepositories({ source, target, repositories, retryDelayMs: 1, ...more });
}

describe('copying repositories', () => {
  it('brings all tags of all, and tells of each that is done', async () => {
    const [source, target] = [await filled(), createMemoryRegistry()];
    const done: string[] = [];

    const report = await copy(source, target, {
      onRepository: ({ to, images, failures }) => done.push(`${to} ${images} ${failures}`),
    });

    expect(report).toMatchObject({ repositories: 3, images: 9, failures: [], notices: [], unlisted: 0 });
    expect(report.ended).toBeUndefined();
    expect(done.toSorted()).toEqual(names.map((name) => `copies/${name} 3 0`));
    expect((await target.listTags('copies/team/b', { limit: 9 })).entries).toEqual(['1', '2', 'latest']);
    // `shared`, the empty config, and one layer of each repository.
    expect(report.counts.blobs.copied).toBe(5);
  });

  it('goes on behind what fails, and names it', async () => {
    const [source, target] = [await filled(), createMemoryRegistry()];
    const partly: Registry = {
      ...source,
      async getManifest(repository, reference) {
        if (repository === 'team/b' && reference === '2')
          throw new OciError('DIGEST_INVALID', { message: 'damaged' });
        return source.getManifest(repository, reference);
      },
      async listTags(repository, page) {
        if (repository === 'team/c') throw new OciError('NAME_UNKNOWN');
        const { entries } = await source.listTags(repository, page);
        return { entries: [...entries, '../x'] };
      },
    };
    const repositories = [...names, '../etc'].map((name) => ({ from: name, to: name }));

    const report = await copy(partly, target, { repositories });

    expect(report.images).toBe(5);
    expect(report.failures.map(({ image, side }) => `${side} ${image}`).toSorted()).toEqual([
      'source ../etc',
      'source team/a:../x',
      'source team/b:../x',
      'source team/b:2',
      'source team/c',
    ]);
  });

  it('tries no further image where nothing may be uploaded', async () => {
    const [source, target] = [await filled(), createMemoryRegistry()];
    let asked = 0;
    const closed: Registry = {
      ...target,
      async putBlob(repository, ...rest) {
        if (repository !== 'copies/team/b') return target.putBlob(repository, ...rest);
        asked += 1;
        throw new OciError('DENIED');
      },
      mountBlob: async (repository, ...rest) =>
        repository !== 'copies/team/b' && (await target.mountBlob(repository, ...rest)),
    };

    const report = await copy(source, closed, { images: 1, parallel: 1 });

    expect(report).toMatchObject({ images: 6, failures: [{ image: 'team/b:1', side: 'target' }] });
    // The config and the layer of the first image.
    expect(asked).toBe(2);
  });

  it('goes on where one tag may not be moved', async () => {
    const [source, target] = [await filled(), createMemoryRegistry()];
    const immutable: Registry = {
      ...target,
      async putManifest(repository, reference, ...rest) {
        if (reference === '1') throw new OciError('DENIED', { message: 'immutable tag' });
        return target.putManifest(repository, reference, ...rest);
      },
    };

    const report = await copy(source, immutable);

    expect(report).toMatchObject({ images: 6 });
    expect(report.failures).toHaveLength(3);
  });

  it.each([
    ['the target goes away', 'target'],
    ['the source goes away', 'source'],
  ] as const)('ends when %s', async (_, side) => {
    const [source, target] = [await filled(), createMemoryRegistry()];
    let manifests = 0;
    const gone = async (): Promise<never> => {
      throw new OciError('UNAVAILABLE');
    };
    const dying = (registry: Registry): Registry => ({
      ...registry,
      async putManifest(...args) {
        manifests += 1;
        return manifests > 2 ? gone() : registry.putManifest(...args);
      },
      async getManifest(...args) {
        if (side === 'source' && manifests >= 2) return gone();
        manifests += side === 'source' ? 1 : 0;
        return registry.getManifest(...args);
      },
    });

    const report = await copy(
      side === 'source' ? dying(source) : source,
      side === 'target' ? dying(target) : target,
      { images: 1 },
    );

    expect(report.images).toBe(2);
    expect(report.ended).toMatchObject({ side });
    expect(report.failures.length).toBeLessThanOrEqual(3);
  });

  it('ends when it is interrupted, without calling that a failure', async () => {
    const [source, target] = [await filled(), createMemoryRegistry()];
    const controller = new AbortController();
    const interrupting: Registry = {
      ...target,
      async putManifest(...args) {
        controller.abort();
        return target.putManifest(...args);
      },
    };

    const report = await copy(source, interrupting, { signal: controller.signal, images: 1 });

    expect(report).toMatchObject({ images: 1, failures: [], ended: { name: 'CopyAborted' } });
  });
});
