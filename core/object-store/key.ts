/** Most bytes of one part of a key, and of a whole key (S3's own limit). */
const MAX_PART_BYTES = 255;
const MAX_KEY_BYTES = 1024;

/**
 * UTF-8 bytes as a string of code units 0–255, so that `<` on strings is byte order (UTF-16 order is not). ASCII stays what it is, at no cost.
 * Undo with `fromByteString`.
 */
export function toByteString(text: string): string {
  return isAscii(text) ? text : Buffer.from(text, 'utf8').toString('latin1');
}

export function fromByteString(bytes: string): string {
  return isAscii(bytes) ? bytes : Buffer.from(bytes, 'latin1').toString('utf8');
}

/** True for a part that may stand between two slashes of a key. `part` is a byte string. */
export function isKeyPart(part: string): boolean {
  return (
    part.length > 0 &&
    part.length <= MAX_PART_BYTES &&
    part !== '.' &&
    part !== '..' &&
    !part.includes('\0') &&
    !part.includes('/')
  );
}

/**
 * Parts of `key` as byte strings. Keys are made by our own code from names that were parsed at the edge, so a bad one is a bug: TypeError.
 */
export function keyParts(key: string): string[] {
  const bytes = toByteString(key);
  const parts = bytes.split('/');
  if (bytes.length > MAX_KEY_BYTES || !parts.every(isKeyPart) || !key.isWellFormed()) {
    throw new TypeError(`not an object key: ${JSON.stringify(key.slice(0, 300))}`);
  }
  return parts;
}

function isAscii(text: string): boolean {
  return Buffer.byteLength(text) === text.length;
}
