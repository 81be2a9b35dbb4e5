import { describe, expect, it } from 'vitest';
import { createImageRecords, type ImageBuild } from '../../../../builder/farm/image-records.ts';
import { createMemoryStore } from '../../../../core/object-store/memory.ts';
import { digestOf } from '../../../../oci/digest.ts';

const digest = digestOf('image');
const build = (number: number, more: Partial<ImageBuild> = {}): ImageBuild => ({
  build: `b${number}`,
  ref: `refs/heads/${number}`,
  commit: 'c',
  tested: false,
  ...more,
});

describe('what the farm knows of its images', () => {
  it('is every ref that led to one, newest first, and nothing of other repositories', async () => {
    const records = createImageRecords(createMemoryStore());
    await Promise.all([1, 2, 3].map((number) => records.add('team/app', digest, build(number))));

    expect((await records.read('team/app', digest)).map(({ build: id }) => id).toSorted()).toEqual([
      'b1',
      'b2',
      'b3',
    ]);
    expect(await records.read('team/other', digest)).toEqual([]);
  });

  it('keeps that tests passed, whatever is built of the same ref later', async () => {
    const records = createImageRecords(createMemoryStore());
    await records.add('team/app', digest, build(1, { tested: true }));
    await records.add('team/app', digest, build(2, { ref: 'refs/heads/1' }));
    expect((await records.read('team/app', digest)).map((each) => each.tested)).toEqual([true]);

    await records.add('team/app', digest, build(3, { ref: 'refs/heads/1', tested: true }));

    expect(await records.read('team/app', digest)).toMatchObject([{ build: 'b3', tested: true }]);
  });

  it('goes with an image into another repository, and stays within a bound', async () => {
    const records = createImageRecords(createMemoryStore());
    for (let number = 0; number < 30; number++) await records.add('team/app', digest, build(number));

    await records.carry('team/app', 'release/app', digest);

    const carried = await records.read('release/app', digest);
    expect(carried).toEqual(await records.read('team/app', digest));
    expect(carried).toHaveLength(20);
    expect(carried[0]?.build).toBe('b29');
  });
});
