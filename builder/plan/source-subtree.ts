import { createHash } from 'node:crypto';
import type { SourceEntry, SourceTree } from './source-tree.ts';

/** One folder (as text) of a tree as a tree of its own. Closing it closes nothing: `source` stays its owner's. */
export async function sourceSubtree(source: SourceTree, directory: string): Promise<SourceTree> {
  const prefix = `${Buffer.from(directory).toString('latin1')}/`;
  const inside = new Map<SourceEntry, SourceEntry>();
  const key = createHash('sha256').update('brickyard subtree 1\n');
  for (const entry of await source.entries()) {
    if (!entry.path.startsWith(prefix)) continue;
    const own = { ...entry, path: entry.path.slice(prefix.length) };
    inside.set(own, entry);
    key.update(JSON.stringify([own.path, own.kind, own.id]));
  }
  const entries = [...inside.keys()];
  return {
    key: key.digest('hex'),
    entries: () => Promise.resolve(entries),
    readFile: (path, limit) => source.readFile(prefix + path, limit),
    async *read(wanted) {
      const originals = wanted.map((entry) => inside.get(entry) ?? { ...entry, path: prefix + entry.path });
      let at = 0;
      for await (const content of source.read(originals)) {
        yield { ...content, entry: wanted[at] as SourceEntry };
        at += 1;
      }
    },
    close: () => Promise.resolve(),
  };
}
