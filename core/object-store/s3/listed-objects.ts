export interface ListedEntry {
  /** Percent-encoded. */
  readonly key: string;
  readonly size: number;
  readonly modified: Date;
}

const opening = '<Contents>';
const closing = '</Contents>';

/**
 * The objects of an answer to ListObjectsV2, and the answer without them, for the library to read what is left. Its parser makes a tree of everything,
 * which takes longer than the store needs for the list; a thousand flat entries can be read as they stand. Only answers with percent-encoded
 * keys, whose text needs no other decoding: of all others nothing is taken.
 */
export function takeListed(xml: string): { objects: readonly ListedEntry[]; rest: string } {
  const first = xml.indexOf(opening);
  if (first < 0 || !xml.includes('<EncodingType>url</EncodingType>')) return { objects: [], rest: xml };
  const objects: ListedEntry[] = [];
  const rest: string[] = [xml.slice(0, first)];
  for (let start = first; ; ) {
    const end = xml.indexOf(closing, start);
    if (end < 0) return { objects: [], rest: xml };
    const key = textOf(xml, 'Key', start, end);
    const size = Number(textOf(xml, 'Size', start, end));
    const modified = new Date(textOf(xml, 'LastModified', start, end) ?? '');
    if (key === undefined || !Number.isSafeInteger(size) || Number.isNaN(modified.getTime())) {
      return { objects: [], rest: xml };
    }
    objects.push({ key, size, modified });
    const after = end + closing.length;
    const next = xml.indexOf(opening, after);
    rest.push(xml.slice(after, next < 0 ? undefined : next));
    if (next < 0) return { objects, rest: rest.join('') };
    start = next;
  }
}

/** Undefined: it has no such element, or an empty one. */
function textOf(xml: string, name: string, from: number, to: number): string | undefined {
  const tag = `<${name}>`;
  const start = xml.indexOf(tag, from);
  if (start < 0 || start >= to) return undefined;
  const end = xml.indexOf('<', start + tag.length);
  return end > start + tag.length ? xml.slice(start + tag.length, end) : undefined;
}
