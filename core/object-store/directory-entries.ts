import { readdir as readdirCallback, type Stats, statSync } from 'node:fs';
import { promisify } from 'node:util';
import { filePath } from './byte-path.ts';
import { isMissing } from './file-errors.ts';
import { type DirectoryEntry, parseEntry } from './key-path.ts';

const readdir = promisify(readdirCallback);

/** Smaller directories are quicker read than remembered. */
const WORTH_REMEMBERING = 2000;
/** Names over all remembered directories: about 30 MB. */
const REMEMBERED_NAMES = 200_000;
/** A directory's time of change moves in ticks of a few milliseconds: two changes within one look like one. */
const TICK_MS = 200;

export interface DirectoryQuestion {
  /** Entries whose suffix is smaller are of no interest, but for the last of them, which may hold what follows. */
  readonly from: string;
  /** Is this entry of interest? */
  readonly matters: (entry: DirectoryEntry) => boolean;
  /** How many of those, in key order. */
  readonly count: number;
}

/** Reads directories as sorted entries. */
export interface DirectoryEntries {
  /** `more`: there are further ones. A directory that is not there is empty. */
  read(directory: string, question: DirectoryQuestion): Promise<{ entries: DirectoryEntry[]; more: boolean }>;
}

/**
 * A long listing comes as one page after another out of the same large directory. As long as that has not changed, its sorted names are kept
 * from page to page; while it changes, each page reads it anew, since a listing must show every write that was acknowledged.
 */
export function createDirectoryEntries(): DirectoryEntries {
  const remembered = new Map<string, { stat: Stats; sorted: DirectoryEntry[] }>();

  const recall = (directory: string, stat: Stats): DirectoryEntry[] | undefined => {
    const known = remembered.get(directory);
    if (known === undefined) return undefined;
    const unchanged =
      known.stat.ino === stat.ino &&
      known.stat.mtimeMs === stat.mtimeMs &&
      known.stat.ctimeMs === stat.ctimeMs;
    if (!unchanged) remembered.delete(directory);
    return unchanged ? known.sorted : undefined;
  };
  const remember = (directory: string, stat: Stats, sorted: DirectoryEntry[]): void => {
    remembered.set(directory, { stat, sorted });
    let names = 0;
    for (const known of remembered.values()) names += known.sorted.length;
    for (const [oldest, known] of remembered) {
      if (names <= REMEMBERED_NAMES) break;
      names -= known.sorted.length;
      remembered.delete(oldest);
    }
  };

  return {
    async read(directory, question) {
      const stat = statSync(filePath(directory), { throwIfNoEntry: false });
      if (stat === undefined) return { entries: [], more: false };
      const known = recall(directory, stat);
      if (known !== undefined) return pick(known, question);
      const readAt = Date.now();
      const names = await readNames(directory);
      if (names.length < WORTH_REMEMBERING || readAt - Math.max(stat.mtimeMs, stat.ctimeMs) < TICK_MS) {
        return smallest(names, question);
      }
      const sorted = names.flatMap((name) => parseEntry(name) ?? []).sort(byKey);
      remember(directory, stat, sorted);
      return pick(sorted, question);
    },
  };
}

export async function readNames(directory: string): Promise<string[]> {
  try {
    return await readdir(filePath(directory), 'latin1');
  } catch (error) {
    if (isMissing(error)) return [];
    throw error;
  }
}

function byKey(a: DirectoryEntry, b: DirectoryEntry): number {
  return a.suffix < b.suffix ? -1 : 1;
}

function pick(sorted: readonly DirectoryEntry[], { from, matters, count }: DirectoryQuestion) {
  let low = 0;
  for (let high = sorted.length; low < high; ) {
    const middle = (low + high) >>> 1;
    if ((sorted[middle]?.suffix ?? '') < from) low = middle + 1;
    else high = middle;
  }
  const entries: DirectoryEntry[] = [];
  for (let index = Math.max(0, low - 1); index < sorted.length; index++) {
    const entry = sorted[index];
    if (entry === undefined || !matters(entry)) continue;
    if (entries.length === count) return { entries, more: true };
    entries.push(entry);
  }
  return { entries, more: false };
}

/** Sorts no more than it must: of a hundred thousand names a page needs a thousand. */
function smallest(names: readonly string[], { matters, count }: DirectoryQuestion) {
  let entries: DirectoryEntry[] = [];
  let more = false;
  let bound: string | undefined;
  const shrink = (): void => {
    entries.sort(byKey);
    if (entries.length <= count) return;
    entries = entries.slice(0, count);
    bound = entries.at(-1)?.suffix;
    more = true;
  };
  for (const name of names) {
    const entry = parseEntry(name);
    if (entry === undefined || (bound !== undefined && entry.suffix > bound) || !matters(entry)) continue;
    entries.push(entry);
    if (entries.length >= count * 4) shrink();
  }
  shrink();
  return { entries, more };
}
