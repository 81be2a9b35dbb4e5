import { Readable } from 'node:stream';
import { expect, it } from 'vitest';
import { sourceSubtree } from '../../../../builder/plan/source-subtree.ts';
import type { SourceTree } from '../../../../builder/plan/source-tree.ts';

function treeOf(files: Readonly<Record<string, string>>): SourceTree {
  const latin1 = (text: string): string => Buffer.from(text).toString('latin1');
  const contents = new Map(Object.entries(files).map(([path, text]) => [latin1(path), Buffer.from(text)]));
  const entries = [...contents].map(([path, body]) => ({ path, kind: 'file' as const, id: body.toString() }));
  return {
    key: 'whole',
    entries: () => Promise.resolve(entries),
    readFile: (path) => Promise.resolve(contents.get(path)),
    async *read(wanted) {
      for (const entry of wanted) {
        const body = contents.get(entry.path) as Buffer;
        yield { entry, size: body.length, body: Readable.from([body]) };
      }
    },
    close: () => Promise.reject(new Error('closed')),
  };
}

it('a folder of a tree reads as a tree of its own', async () => {
  const whole = treeOf({ 'grün/a.txt': 'A', 'grün/b/c': 'C', 'grünlich/x': 'X', y: 'Y' });
  const tree = await sourceSubtree(whole, 'grün');
  const entries = await tree.entries();
  const read: string[] = [];
  for await (const { entry, body } of tree.read(entries.toReversed())) {
    read.push(`${entry.path}=${Buffer.concat((await body.toArray()) as Buffer[]).toString()}`);
  }
  await tree.close();

  expect(entries.map(({ path }) => path)).toEqual(['a.txt', 'b/c']);
  expect(read).toEqual(['b/c=C', 'a.txt=A']);
  expect((await tree.readFile('a.txt', 10))?.toString()).toBe('A');
});

it('its key changes with its own files alone', async () => {
  const key = async (files: Readonly<Record<string, string>>): Promise<string> =>
    (await sourceSubtree(treeOf(files), 'a')).key;
  const first = await key({ 'a/x': '1', 'b/x': '1' });

  expect(await key({ 'a/x': '1', 'b/x': '2' })).toBe(first);
  expect(await key({ 'a/x': '2', 'b/x': '1' })).not.toBe(first);
  expect(await key({ 'a/y': '1', 'b/x': '1' })).not.toBe(first);
});
