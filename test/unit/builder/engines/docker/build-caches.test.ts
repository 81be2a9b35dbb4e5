import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { describe, expect, it } from 'vitest';
import { restoreCaches, type Unpack } from '../../../../../builder/engines/docker/build-caches.ts';
import type { BuildCache } from '../../../../../builder/engines/engine.ts';
import { createSilentLogger } from '../../../../../core/log.ts';

/** Restores one cache of that many bytes; `engine` gets what the engine itself was to unpack. */
async function restore(size: number, unpack: Unpack) {
  const lines: string[] = [];
  const engine: string[] = [];
  let forgotten = 0;
  const cache = {
    name: 'npm',
    place: 'home',
    paths: ['.npm'],
    limits: { bytes: 1, entries: 1 },
    find: () =>
      Promise.resolve({
        exact: true,
        size,
        open: () => Promise.resolve(Readable.from(['the archive'], { objectMode: false })),
        forget: () => {
          forgotten++;
          return Promise.resolve();
        },
      }),
  } as BuildCache;
  const done = await restoreCaches([cache], {
    api: {
      putArchive: async (_id, path, archive) => {
        engine.push(`${path}: ${(await buffer(archive)).toString()}`);
      },
      getArchive: () => Promise.reject(new Error('nothing is saved')),
    },
    log: createSilentLogger(),
    container: 'container',
    places: { home: '/home/app/.build', workspace: '/home/app/app' },
    context: { signal: new AbortController().signal, log: (line) => lines.push(line) },
    unpack,
  }).catch((error: Error) => error.message);
  return { lines, engine, done, forgotten: () => forgotten };
}

const large = 3 * 1024 ** 2;

describe('a dependency cache is laid out', () => {
  it('by the base image where it is large', async () => {
    const { engine, lines } = await restore(large, async (_, archive) => {
      await buffer(archive);
      return true;
    });

    expect(engine).toEqual([]);
    expect(lines).toEqual([expect.stringMatching(/^cache restored 3\.1 MB \(npm\)/)]);
  });

  it('by the engine where the base image cannot, from its beginning', async () => {
    const { engine, lines } = await restore(large, (_, archive) => {
      archive.destroy();
      return Promise.resolve(false);
    });

    expect(engine).toEqual(['/home/app/.build: the archive']);
    expect(lines).toHaveLength(1);
  });

  it('by the engine where it is small', async () => {
    const { engine } = await restore(1000, () => Promise.reject(new Error('not for this')));

    expect(engine).toHaveLength(1);
  });

  it('not at all, and not again, when it is damaged', async () => {
    const { done, forgotten } = await restore(large, () => Promise.reject(new Error('damaged')));

    expect(done).toBe('damaged');
    expect(forgotten()).toBe(1);
  });
});
