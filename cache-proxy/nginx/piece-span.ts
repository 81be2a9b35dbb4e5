/** Part of a blob; both ends belong to it. */
export interface Span {
  readonly first: number;
  readonly last: number;
}

/** A Range as nginx writes it for a piece; undefined: it is none. */
export function parseSpan(range = ''): Span | undefined {
  const [, first, last] = /^bytes=([0-9]{1,15})-([0-9]{1,15})$/.exec(range) ?? [];
  if (first === undefined || last === undefined || Number(last) < Number(first)) return undefined;
  return { first: Number(first), last: Number(last) };
}

/** A Content-Range; undefined: it is none, or does not say how long the whole is. */
export function parsePart(range = ''): (Span & { readonly total: number }) | undefined {
  const [, first, last, total] = /^bytes ([0-9]{1,15})-([0-9]{1,15})\/([0-9]{1,15})$/.exec(range) ?? [];
  if (first === undefined || last === undefined || total === undefined) return undefined;
  return { first: Number(first), last: Number(last), total: Number(total) };
}

/** The last byte that a client's Range asks for, of `total`; -1 where it is written as no client writes it. Undefined: it has none and wants everything. */
export function lastWanted(range: string | undefined, total: number): number {
  if (range === undefined || /^bytes=-[0-9]{1,15}$/.test(range)) return total - 1;
  const last = /^bytes=[0-9]{1,15}-([0-9]{0,15})$/.exec(range)?.[1];
  if (last === undefined) return -1;
  return last === '' ? total - 1 : Math.min(Number(last), total - 1);
}
