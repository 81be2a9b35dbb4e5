import type { LayerEntry } from '../../../oci/layer/entry.ts';
import { refuse } from './path-policy.ts';

/** Owner of everything under an app's directory; made in `baseimages/base`. */
export const appOwner = { uid: 10001, gid: 10001 } as const;

/**
 * Collects entries in any order and gives them sorted, each path once, no path below a file or a symlink: an archive that first makes
 * `a` a symlink to `/etc` and then writes `a/passwd` ends here.
 */
export interface EntryTable<T extends { readonly path: string; readonly directory: boolean }> {
  /** Errors: JobFailed for a path that is there already (two directories are one) or lies below a file or link. */
  add(entry: T): void;
  get(path: string): T | undefined;
  /** In byte order. Errors: JobFailed when a path lies below a file or link. */
  sorted(): readonly T[];
}

export function createEntryTable<
  T extends { readonly path: string; readonly directory: boolean },
>(): EntryTable<T> {
  const entries = new Map<string, T>();
  return {
    add(entry) {
      const existing = entries.get(entry.path);
      if (existing?.directory === true && entry.directory) return;
      if (existing !== undefined) throw refuse(entry.path, 'it is there twice');
      entries.set(entry.path, entry);
    },
    get: (path) => entries.get(path),
    sorted() {
      for (const path of entries.keys()) {
        for (const parent of parentsOf(path)) {
          if (entries.get(parent)?.directory === false) throw refuse(path, 'it lies below a file or a link');
        }
      }
      return [...entries.values()].sort((a, b) => (a.path < b.path ? -1 : 1));
    },
  };
}

/** The directories of `paths` from `directory` (absolute) downwards, owned by the app; what lies above stays the base's. */
export function appDirectories(paths: Iterable<string>, directory: string): LayerEntry[] {
  const found = new Set<string>([directory.slice(1)]);
  for (const path of paths) {
    for (const parent of parentsOf(path)) if (parent.length >= directory.length - 1) found.add(parent);
  }
  return [...found].map((path) => ({ type: 'directory', path, mode: 0o755, ...appOwner }));
}

/** The directories above `path`, nearest first. */
export function* parentsOf(path: string): Generator<string, void, undefined> {
  for (let slash = path.lastIndexOf('/'); slash > 0; slash = path.lastIndexOf('/', slash - 1)) {
    yield path.slice(0, slash);
  }
}
