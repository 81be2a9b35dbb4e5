import { isKeyPart, keyParts } from './key.ts';

/**
 * How keys become file names. One key may be a prefix of another, a part may be 255 bytes long (as long as a file name can be, which leaves
 * no room for a mark), and the sorted names must give back the byte order of the keys. So:
 *
 * - the object `a/b` is the file `a/b=`; the directory of the keys below `a/b/` is `a/b`
 * - a directory whose part is empty, `.`, `..` or ends in `=` or `~` gets a `~` behind it
 * - a part of SPLIT_BYTES or more is cut: its first SPLIT_BYTES bytes become the directory `…+~`, the rest is a name in it. *Every* such part is
 *   cut, also when the rest is empty, so nothing outside of `…+~` starts with those bytes and its place in the order is clear.
 *
 * All paths here are byte strings (key.ts).
 */
const SPLIT_BYTES = 200;
const OBJECT_MARK = '=';
const ESCAPE = '~';
const CUT_MARK = '+~';

/** Path of the key's file below the objects directory. Errors: TypeError for what is no key. */
export function objectPath(key: string): string {
  const parts = keyParts(key);
  let path = '';
  for (let index = 0; index < parts.length - 1; index++) path += `${directoryName(parts[index] ?? '')}/`;
  const last = parts.at(-1) ?? '';
  return `${path}${cut(last)}${last.length < SPLIT_BYTES ? last : last.slice(SPLIT_BYTES)}${OBJECT_MARK}`;
}

/** Path of the directory of all keys that start with `prefix`, a byte string that is empty or ends in `/`; undefined when no key can start with it. */
export function directoryPath(prefix: string): string | undefined {
  if (prefix === '') return '';
  const parts = prefix.slice(0, -1).split('/');
  return parts.every(isKeyPart) ? parts.map((part) => directoryName(part)).join('/') : undefined;
}

export interface DirectoryEntry {
  readonly kind: 'object' | 'directory' | 'cut';
  /** The file's own name, a byte string. */
  readonly name: string;
  /**
   * What the entry adds to the key of its directory: `part`, `part/` or the first bytes of a cut part. It is also the sort key: everything below
   * an entry starts with it, and nothing else sorts in between.
   */
  readonly suffix: string;
}

/** Undefined for a file name that is none of ours. */
export function parseEntry(name: string): DirectoryEntry | undefined {
  if (name.endsWith(OBJECT_MARK)) return { kind: 'object', name, suffix: name.slice(0, -1) };
  if (name.endsWith(CUT_MARK)) return { kind: 'cut', name, suffix: name.slice(0, -CUT_MARK.length) };
  const part = name.endsWith(ESCAPE) ? name.slice(0, -1) : name;
  return escaped(part) === name ? { kind: 'directory', name, suffix: `${part}/` } : undefined;
}

function directoryName(part: string): string {
  return cut(part) + escaped(part.length < SPLIT_BYTES ? part : part.slice(SPLIT_BYTES));
}

function cut(part: string): string {
  return part.length < SPLIT_BYTES ? '' : `${part.slice(0, SPLIT_BYTES)}${CUT_MARK}/`;
}

function escaped(part: string): string {
  const dangerous =
    part === '' || part === '.' || part === '..' || part.endsWith(OBJECT_MARK) || part.endsWith(ESCAPE);
  return dangerous ? part + ESCAPE : part;
}
