import { expect, it } from 'vitest';
import { createArtifactStore } from '../../../../builder/farm/artifact-store.ts';
import { createMemoryStore } from '../../../../core/object-store/memory.ts';

it('artifacts are listed in order and read back by their path, whatever that is', async () => {
  const artifacts = createArtifactStore(createMemoryStore());
  const writer = artifacts.writer('b1');
  await writer.add([{ path: 'a\n/../x', content: Buffer.from('one') }]);
  await writer.add([{ path: 'b.xml', content: Buffer.alloc(0) }]);

  expect(await artifacts.list('b1')).toEqual([
    { path: 'a\n/../x', size: 3 },
    { path: 'b.xml', size: 0 },
  ]);
  expect((await artifacts.get('b1', 'a\n/../x'))?.toString()).toBe('one');
  expect(await artifacts.get('b1', 'c.xml')).toBeUndefined();
  expect(await artifacts.list('b2')).toEqual([]);
});

it('another attempt of the build keeps its own artifacts alone', async () => {
  const artifacts = createArtifactStore(createMemoryStore());
  await artifacts.writer('b1').add([
    { path: 'a', content: Buffer.from('1') },
    { path: 'b', content: Buffer.from('1') },
  ]);
  await artifacts.writer('b1').add([{ path: 'b', content: Buffer.from('2') }]);

  expect(await artifacts.list('b1')).toEqual([{ path: 'b', size: 1 }]);
  expect((await artifacts.get('b1', 'b'))?.toString()).toBe('2');
});
