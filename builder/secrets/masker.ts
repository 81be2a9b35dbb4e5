import { createPatternFinder } from './find-patterns.ts';
import { logPatterns, type SecretValues } from './secret-patterns.ts';

/** Takes secrets out of what people read. */
export interface Masker {
  /** A text as a whole. */
  mask(text: string): string;
  /** A file as a whole. */
  bytes(content: Buffer): Buffer;
  /** For a text that comes in pieces. */
  stream(): MaskStream;
}

/** Holds back only what may be the beginning of a secret, at most 1,024 bytes; a line is complete when no secret goes on behind it. */
export interface MaskStream {
  write(chunk: Buffer): Buffer;
  /** What was held back. */
  end(): Buffer;
}

const stars = Buffer.from('***');
const nothing = Buffer.alloc(0);

/** See `logPatterns` for what counts as a secret. */
export function createMasker(values: SecretValues): Masker {
  const finder = createPatternFinder(logPatterns(values));

  function stream(): MaskStream {
    let held: Buffer = nothing;
    /** Bytes at the start of `held` that belong to a secret whose stars are written. */
    let covered = 0;
    /** Stars are the last that was written. */
    let starred = false;

    function scan(chunk: Buffer, last: boolean): Buffer {
      const text = held.length === 0 ? chunk : Buffer.concat([held, chunk]);
      const out: Buffer[] = [];
      let hold = text.length;
      let end = covered;
      for (let next = finder.next(text, 0); next !== undefined; next = finder.next(text, next.at + 1)) {
        const { at, found } = next;
        if (found.pattern !== undefined) {
          // Parts of secrets that overlap or follow each other are one.
          if (at > end || (end === 0 && !starred)) out.push(text.subarray(end, at), stars);
          end = Math.max(end, at + found.pattern.bytes.length);
        }
        if (found.unfinished && !last) {
          hold = at;
          break;
        }
      }
      if (end < hold) out.push(text.subarray(end, hold));
      // A copy: a chunk may be a small part of a large buffer.
      held = Buffer.from(text.subarray(hold));
      covered = Math.max(0, end - hold);
      if (hold > 0 || covered > 0) starred = end >= hold;
      return out.length === 1 && out[0] !== undefined ? out[0] : Buffer.concat(out);
    }

    return {
      write: (chunk) => scan(chunk, false),
      end: () => scan(nothing, true),
    };
  }

  function bytes(content: Buffer): Buffer {
    const masking = stream();
    return Buffer.concat([masking.write(content), masking.end()]);
  }

  return { stream, bytes, mask: (text) => bytes(Buffer.from(text)).toString() };
}
