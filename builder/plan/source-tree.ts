import type { Readable } from 'node:stream';

/** Files of a commit, read straight from git objects, or those of a folder or an archive: no checkout, no filters, no hooks. */
export interface SourceTree {
  /** Names the content: equal keys, equal trees. The git tree's object id where there is one. */
  readonly key: string;
  /** Entries in byte order of their paths; directories are implied. Paths are bytes because git's are. */
  entries(): Promise<readonly SourceEntry[]>;
  /** One small file (App.yaml, .dockerignore), undefined when it is not there or is no regular file. Errors when larger than `limit`. */
  readFile(path: string, limit: number): Promise<Buffer | undefined>;
  /** Contents of many files in the order asked; the consumer takes each body to its end before the next. */
  read(entries: readonly SourceEntry[]): AsyncIterable<{ entry: SourceEntry; size: number; body: Readable }>;
  close(): Promise<void>;
}

export interface SourceEntry {
  /** Raw bytes as latin1 text, so that any name survives; '/' separates. */
  readonly path: string;
  readonly kind: 'file' | 'executable' | 'symlink' | 'submodule';
  /** Git's object id, or another name of the content. */
  readonly id: string;
}
