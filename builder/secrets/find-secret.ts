import { createPatternFinder } from './find-patterns.ts';
import { contentPatterns, type SecretValues } from './secret-patterns.ts';

/** Looks for secrets in what is about to enter an image. */
export interface SecretFinder {
  /** Name of a secret that stands in a name or a link. */
  inText(text: string): string | undefined;
  /** Passes `content` on; `found` is called with the name of a secret before the piece that completes it would be given out. */
  inContent(content: AsyncIterable<Buffer>, found: (secret: string) => never): AsyncGenerator<Buffer>;
}

/** See `contentPatterns` for what counts; nothing compressed is unpacked. */
export function createSecretFinder(values: SecretValues): SecretFinder {
  const finder = createPatternFinder(contentPatterns(values));

  /** The name of a secret, or from where on one may have begun. */
  function search(text: Buffer, last: boolean): { secret?: string; open: number } {
    for (let next = finder.next(text, 0); next !== undefined; next = finder.next(text, next.at + 1)) {
      if (next.found.pattern !== undefined) return { secret: next.found.pattern.secret, open: next.at };
      if (next.found.unfinished && !last) return { open: next.at };
    }
    return { open: text.length };
  }

  return {
    inText: (text) => search(Buffer.from(text), true).secret,
    async *inContent(content, found) {
      let held: Buffer = Buffer.alloc(0);
      for await (const chunk of content) {
        const text = held.length === 0 ? chunk : Buffer.concat([held, chunk]);
        const { secret, open } = search(text, false);
        if (secret !== undefined) found(secret);
        held = Buffer.from(text.subarray(open));
        if (open > 0) yield text.subarray(0, open);
      }
      const { secret } = search(held, true);
      if (secret !== undefined) found(secret);
      if (held.length > 0) yield held;
    },
  };
}
