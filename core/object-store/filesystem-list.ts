import { statSync } from 'node:fs';
import { filePath } from './byte-path.ts';
import { type DirectoryEntries, readNames } from './directory-entries.ts';
import { fromByteString, toByteString } from './key.ts';
import { type DirectoryEntry, directoryPath, parseEntry } from './key-path.ts';
import type { ListedObject, ListOptions, ListPage } from './object-store.ts';

const LARGEST_PAGE = 1000;

interface Found {
  /** Byte string: a key, or a common prefix. */
  readonly key: string;
  /** Undefined for a common prefix. */
  readonly path?: string;
}

/** One page of the keys below `top`, read from the directories that can hold them and no others. */
export async function listFiles(
  directories: DirectoryEntries,
  top: string,
  options: ListOptions,
): Promise<ListPage> {
  const limit = Math.min(options.limit ?? LARGEST_PAGE, LARGEST_PAGE);
  const prefix = toByteString(options.prefix);
  const base = prefix.slice(0, prefix.lastIndexOf('/') + 1);
  const relative = directoryPath(base);
  if (relative === undefined || limit <= 0) return { objects: [], prefixes: [] };

  const walk: Walk = {
    directories,
    prefix,
    after: toByteString(options.startAfter ?? ''),
    fold: options.delimiter !== undefined,
    wanted: limit + 1,
    found: [],
  };
  await visit(walk, relative === '' ? top : `${top}/${relative}`, base);

  const more = walk.found.length > limit;
  const page = more ? walk.found.slice(0, limit) : walk.found;
  const objects: ListedObject[] = [];
  const prefixes: string[] = [];
  for (const { key, path } of page) {
    if (path === undefined) {
      prefixes.push(fromByteString(key));
      continue;
    }
    const stat = statSync(filePath(path), { throwIfNoEntry: false });
    // Deleted since its directory was read.
    if (stat !== undefined) objects.push({ key: fromByteString(key), size: stat.size, modified: stat.mtime });
  }
  const last = page.at(-1);
  return more && last !== undefined
    ? { objects, prefixes, next: fromByteString(last.key) }
    : { objects, prefixes };
}

interface Walk {
  readonly directories: DirectoryEntries;
  readonly prefix: string;
  readonly after: string;
  readonly fold: boolean;
  readonly wanted: number;
  readonly found: Found[];
}

/** `base`: what the keys of `directory` start with. */
async function visit(walk: Walk, directory: string, base: string): Promise<void> {
  const start = walk.after > walk.prefix ? walk.after : walk.prefix;
  let from = start.startsWith(base) ? start.slice(base.length) : '';
  let last: string | undefined;
  for (;;) {
    const { entries, more } = await walk.directories.read(directory, {
      from,
      count: walk.wanted - walk.found.length,
      matters: (entry) =>
        (last === undefined || entry.suffix > last) && mayMatter(walk, base + entry.suffix, entry.kind),
    });
    for (const entry of entries) {
      if (walk.found.length >= walk.wanted) return;
      await take(walk, entry, `${directory}/${entry.name}`, base + entry.suffix);
    }
    last = entries.at(-1)?.suffix;
    // Directories that turned out to hold nothing wanted have left room for what comes behind them.
    if (!more || last === undefined || walk.found.length >= walk.wanted) return;
    from = last;
  }
}

async function take(walk: Walk, entry: DirectoryEntry, path: string, key: string): Promise<void> {
  if (entry.kind === 'object') {
    walk.found.push({ key, path });
  } else if (walk.fold && entry.kind === 'directory' && key.length > walk.prefix.length) {
    if (await holdsObject(path)) walk.found.push({ key });
  } else {
    await visit(walk, path, key);
  }
}

/** Could this entry, or anything below it, be part of the answer? */
function mayMatter(walk: Walk, key: string, kind: DirectoryEntry['kind']): boolean {
  if (key.startsWith(walk.prefix)) {
    const whole = kind === 'object' || (walk.fold && kind === 'directory' && key.length > walk.prefix.length);
    return key > walk.after || (!whole && walk.after.startsWith(key));
  }
  return kind !== 'object' && walk.prefix.startsWith(key);
}

/** A put that died, or is about to happen, leaves directories without objects: they are no common prefix. */
async function holdsObject(directory: string): Promise<boolean> {
  const entries = (await readNames(directory)).flatMap((name) => parseEntry(name) ?? []);
  if (entries.some((entry) => entry.kind === 'object')) return true;
  for (const entry of entries) {
    if (await holdsObject(`${directory}/${entry.name}`)) return true;
  }
  return false;
}
