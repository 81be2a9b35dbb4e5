import { UserError } from '../../core/user-error.ts';
import type { LayerContent, LayerDirectory, LayerEntry, LayerFile } from '../../oci/layer/entry.ts';

/** The files of one level of the catalog while they are put together, by path. */
export interface FileTree {
  /** The first word counts for directories. Errors: UserError when something else is at the path already. */
  add(entry: LayerEntry): void;
  /** As `add`, but what was at the path is gone. */
  replace(entry: LayerEntry): void;
  /** Also removes what lies below. */
  remove(path: string): void;
  get(path: string): LayerEntry | undefined;
  /** Paths directly or further below `directory`, unsorted. */
  below(directory: string): readonly LayerEntry[];
  /** Content of a file that must be there. Errors: UserError. */
  read(path: string): Promise<Buffer>;
  /** In byte order. */
  sorted(): readonly LayerEntry[];
}

export function createFileTree(): FileTree {
  const entries = new Map<string, LayerEntry>();
  return {
    add(entry) {
      const existing = entries.get(entry.path);
      if (existing === undefined) entries.set(entry.path, entry);
      else if (existing.type !== 'directory' || entry.type !== 'directory') {
        throw new UserError(`two packages bring /${entry.path}`);
      }
    },
    replace(entry) {
      entries.set(entry.path, entry);
    },
    remove(path) {
      entries.delete(path);
      for (const key of entries.keys()) if (key.startsWith(`${path}/`)) entries.delete(key);
    },
    get: (path) => entries.get(path),
    below: (directory) => [...entries.values()].filter(({ path }) => path.startsWith(`${directory}/`)),
    async read(path) {
      const entry = entries.get(path);
      if (entry?.type !== 'file') throw new UserError(`/${path} is missing in the packages`);
      return readContent(entry.content);
    },
    sorted: () => [...entries.values()].sort((a, b) => (a.path < b.path ? -1 : 1)),
  };
}

/** Into memory: for small files only. */
export async function readContent(content: Uint8Array | LayerContent): Promise<Buffer> {
  if (content instanceof Uint8Array) return Buffer.from(content);
  const parts: Uint8Array[] = [];
  for await (const part of content.open()) parts.push(part);
  return Buffer.concat(parts);
}

/** A file of root with this text. */
export function textFile(path: string, text: string | Buffer, mode = 0o644, gid = 0): LayerFile {
  return { type: 'file', path, mode, uid: 0, gid, content: Buffer.from(text as string) };
}

export function directory(path: string, mode = 0o755, gid = 0): LayerDirectory {
  return { type: 'directory', path, mode, uid: 0, gid };
}

export function symlink(path: string, target: string): LayerEntry {
  return { type: 'symlink', path, target, uid: 0, gid: 0 };
}
