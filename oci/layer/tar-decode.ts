/** An archive that is refused, and why; the text names no host path and may be shown to the person who built it. */
export class TarError extends Error {
  override readonly name = 'TarError';
}

export interface RawHeader {
  readonly flag: string;
  readonly path: string;
  readonly target: string;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly size: number;
}

export function isZeroBlock(block: Buffer): boolean {
  return block.every((byte) => byte === 0);
}

/** Errors: TarError for a wrong checksum or a number that is none, negative or beyond 2^53. */
export function decodeHeader(block: Buffer): RawHeader {
  let sum = 8 * 32;
  for (let i = 0; i < 512; i += 1) if (i < 148 || i >= 156) sum += block[i] ?? 0;
  if (sum !== number(block, 148, 8)) throw new TarError('damaged header (wrong checksum)');
  const magic = block.toString('latin1', 257, 263);
  const prefix = magic === 'ustar\0' ? text(block, 345, 155) : '';
  const name = text(block, 0, 100);
  return {
    flag: String.fromCharCode(block[156] ?? 0),
    path: prefix === '' ? name : `${prefix}/${name}`,
    target: text(block, 157, 100),
    mode: number(block, 100, 8) & 0o7777,
    uid: number(block, 108, 8),
    gid: number(block, 116, 8),
    size: number(block, 124, 12),
  };
}

/** PAX records `<length> <key>=<value>\n`; the length must be true. Values are raw bytes as latin1 text. */
export function parsePax(body: Buffer): Map<string, string> {
  const records = new Map<string, string>();
  for (let offset = 0; offset < body.length; ) {
    const space = body.indexOf(0x20, offset);
    const digits = body.toString('latin1', offset, space === -1 ? offset : space);
    const length = /^[0-9]{1,6}$/.test(digits) ? Number(digits) : 0;
    const end = offset + length;
    const equals = body.indexOf(0x3d, space);
    if (length < 5 || end > body.length || body[end - 1] !== 0x0a || equals === -1 || equals >= end) {
      throw new TarError('damaged PAX header');
    }
    const key = body.toString('latin1', space + 1, equals);
    if (records.has(key)) throw new TarError(`PAX header names ${JSON.stringify(key)} twice`);
    records.set(key, body.toString('latin1', equals + 1, end - 1));
    offset = end;
  }
  return records;
}

function text(block: Buffer, offset: number, length: number): string {
  const field = block.subarray(offset, offset + length);
  const end = field.indexOf(0);
  return field.toString('latin1', 0, end === -1 ? length : end);
}

/** Octal text, or base 256 when the first bit is set (GNU, for sizes from 8 GiB). */
function number(block: Buffer, offset: number, length: number): number {
  const first = block[offset] ?? 0;
  if (first === 0x80) {
    let value = 0;
    for (let i = offset + 1; i < offset + length; i += 1) {
      value = value * 256 + (block[i] ?? 0);
      if (value > Number.MAX_SAFE_INTEGER) throw new TarError('number out of range');
    }
    return value;
  }
  const digits = text(block, offset, length).trim();
  if (digits === '') return 0;
  if (!/^[0-7]+$/.test(digits)) throw new TarError('damaged or negative number in a header');
  return Number.parseInt(digits, 8);
}
