import { randomBytes } from 'node:crypto';
import { readdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { describe, expect, it } from 'vitest';
import { dataKey } from '../../../../registry/store/paths.ts';
import { createKeyPartitions } from '../../../../registry/verify/key-partitions.ts';

const keys = Array.from({ length: 1000 }, () => dataKey(randomBytes(16).toString('hex')));
const folders = () => readdirSync(tmpdir()).filter((name) => name.startsWith('brickyard-verify-'));

describe('a set of data keys', () => {
  it.each([
    ['in memory', 1 << 30],
    ['on disk', 10_000],
  ])('knows what was added, %s', async (_, memoryBytes) => {
    const before = folders();
    const set = createKeyPartitions(memoryBytes);
    try {
      await Promise.all(keys.filter((_key, index) => index % 2 === 0).map((key) => set.add(key)));
      await set.add('data/odd');
      for (const [index, key] of keys.entries()) expect(await set.has(key)).toBe(index % 2 === 0);
      expect([await set.has('data/odd'), await set.has('data/other')]).toEqual([true, false]);
      await set.add(keys[1] as string);
      expect(await set.has(keys[1] as string)).toBe(true);
    } finally {
      await set.close();
    }
    expect(folders()).toEqual(before);
  });
});
