import type { SecretPattern } from './secret-patterns.ts';

/** What stands at one place of a text. */
export interface Found {
  /** The longest pattern that is there as a whole. */
  readonly pattern?: SecretPattern;
  /** The text ends within a pattern that may go on. */
  readonly unfinished: boolean;
}

/** Looks for many patterns at once. */
export interface PatternFinder {
  /** The first place from `from` on with anything to tell; undefined = none. */
  next(text: Buffer, from: number): { at: number; found: Found } | undefined;
}

/** Patterns have at least four bytes. */
export function createPatternFinder(patterns: readonly SecretPattern[]): PatternFinder {
  /** By the first four bytes; the longest first. */
  const buckets = new Map<number, SecretPattern[]>();
  /** Pairs of bytes that a pattern begins with: most places of a text are passed over by this alone. */
  const pairs = new Uint8Array(65_536);
  const firsts = new Uint8Array(256);
  for (const pattern of [...patterns].sort((a, b) => b.bytes.length - a.bytes.length)) {
    const { bytes } = pattern;
    const key = bytes.readUInt32BE(0);
    const bucket = buckets.get(key);
    if (bucket === undefined) buckets.set(key, [pattern]);
    else bucket.push(pattern);
    pairs[bytes.readUInt16BE(0)] = 1;
    firsts[bytes[0] ?? 0] = 1;
  }

  /** Fewer than four bytes are left: whether a pattern begins with them. */
  function beginsWith(rest: Buffer): boolean {
    return patterns.some(({ bytes }) => bytes.subarray(0, rest.length).equals(rest));
  }

  function look(text: Buffer, at: number): Found | undefined {
    const left = text.length - at;
    if (left < 4) return beginsWith(text.subarray(at)) ? { unfinished: true } : undefined;
    const bucket = buckets.get(text.readUInt32BE(at));
    if (bucket === undefined) return undefined;
    let unfinished = false;
    for (const pattern of bucket) {
      const { bytes } = pattern;
      const common = Math.min(bytes.length, left);
      if (!equal(text, at, bytes, common)) continue;
      if (common === bytes.length) return { pattern, unfinished };
      unfinished = true;
    }
    return unfinished ? { unfinished } : undefined;
  }

  return {
    next(text, from) {
      const last = text.length - 1;
      if (from > last) return undefined;
      // Hundreds of megabytes may come through here: one load and one look-up for each byte.
      let byte = text[from] as number;
      for (let at = from; at < last; at++) {
        const behind = text[at + 1] as number;
        if (pairs[(byte << 8) | behind] === 1) {
          const found = look(text, at);
          if (found !== undefined) return { at, found };
        }
        byte = behind;
      }
      return firsts[byte] === 1 ? { at: last, found: { unfinished: true } } : undefined;
    },
  };
}

/** The first four bytes are known to be equal. `Buffer.compare` costs more than it saves where most places differ soon. */
function equal(text: Buffer, at: number, bytes: Buffer, length: number): boolean {
  for (let index = 4; index < length; index++) {
    if (text[at + index] !== bytes[index]) return false;
  }
  return true;
}
