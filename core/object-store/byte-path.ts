/** A path as the fs calls take it. Byte strings (key.ts) beyond ASCII must go as bytes, or Node would encode them a second time. */
export function filePath(bytes: string): string | Buffer {
  return Buffer.byteLength(bytes) === bytes.length ? bytes : Buffer.from(bytes, 'latin1');
}

/** Everything before the last slash. */
export function parentPath(path: string): string {
  return path.slice(0, path.lastIndexOf('/'));
}
