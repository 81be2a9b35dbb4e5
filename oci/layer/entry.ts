/**
 * One member of a layer. Paths and link targets are raw bytes as latin1 text, so that any name survives; a path has no
 * leading or trailing slash and no `.`, `..` or empty part.
 */
export type LayerEntry = LayerFile | LayerDirectory | LayerSymlink | LayerHardlink;

interface LayerOwner {
  readonly path: string;
  /** Numeric, as are all owners: a layer never carries user names. */
  readonly uid: number;
  readonly gid: number;
}

export interface LayerFile extends LayerOwner {
  readonly type: 'file';
  /** Permission bits, at most 0o7777. */
  readonly mode: number;
  readonly content: Uint8Array | LayerContent;
}

export interface LayerDirectory extends LayerOwner {
  readonly type: 'directory';
  readonly mode: number;
}

export interface LayerSymlink extends LayerOwner {
  readonly type: 'symlink';
  /** Literal: never resolved by us. */
  readonly target: string;
}

export interface LayerHardlink extends LayerOwner {
  readonly type: 'hardlink';
  /** Path of an earlier file of the same layer. */
  readonly target: string;
  readonly mode: number;
  /** The hash of that file's content: both names share one inode, hence one time. */
  readonly sha256: Uint8Array;
}

/** Content too large to hold: where it lies, and its hash, which the header (written first) depends on. */
export interface LayerContent {
  /** Bytes. */
  readonly size: number;
  /** SHA-256 of the content, 32 bytes. */
  readonly sha256: Uint8Array;
  /** May be called once per written layer; the writer takes it to its end or returns it early. */
  open(): AsyncIterable<Uint8Array>;
}

/** Directories, links: 1980-01-01T00:00:01Z, the first second that zip and FAT tools can also hold. */
export const layerEpoch = 315_532_801;

/**
 * Seconds. The epoch plus 24 bits of the content's SHA-256: with one time for all files, web servers that make ETags of
 * size and time would call two different files of one size the same.
 */
export function fileTime(sha256: Uint8Array): number {
  return layerEpoch + (sha256[0] ?? 0) * 65_536 + (sha256[1] ?? 0) * 256 + (sha256[2] ?? 0);
}
