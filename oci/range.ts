import type { ByteRange } from './registry.ts';

/**
 * A `Range` request header against a blob of `size` bytes. 'whole' = answer as if there were no header;
 * 'unsatisfiable' = 416 with the size in its `Content-Range`.
 *
 * Other units, nonsense and several ranges at once give the whole blob, as RFC 9110 14.2 allows. An inverted range
 * would be nonsense by the RFC too; the OCI conformance suite wants 416 for it.
 */
export function parseRange(header: string | undefined, size: number): ByteRange | 'whole' | 'unsatisfiable' {
  const match = header === undefined ? null : /^bytes=[ \t]*([0-9]*)-([0-9]*)[ \t]*$/.exec(header);
  const first = match?.[1];
  const last = match?.[2];
  if (first === undefined || last === undefined || (first === '' && last === '')) return 'whole';
  if (first === '') {
    const length = Math.min(Number(last), size);
    return length === 0 ? 'unsatisfiable' : { start: size - length, end: size - 1 };
  }
  // Beyond 2^53 a number is no longer exact, but it still is larger than any blob.
  const start = Number(first);
  const end = last === '' ? size - 1 : Math.min(Number(last), size - 1);
  return start > end ? 'unsatisfiable' : { start, end };
}

/**
 * The `Content-Range` of a chunk: `<start>-<end>` by the distribution-spec, `bytes <start>-<end>/<size or *>` by RFC 9110,
 * and clients send either. Undefined = not one of them, inverted, or beyond 2^53.
 */
export function parseContentRange(header: string): ByteRange | undefined {
  const match = /^(?:bytes[ =])?([0-9]{1,16})-([0-9]{1,16})(?:\/(?:[0-9]+|\*))?$/.exec(header.trim());
  if (match === null) return undefined;
  const start = Number(match[1]);
  const end = Number(match[2]);
  return end >= start && Number.isSafeInteger(end) ? { start, end } : undefined;
}
