import { open } from 'node:fs/promises';

/** What the head of a file in nginx' cache says. */
export interface CacheHeader {
  readonly key: string;
  /** Where the body begins. */
  readonly bodyStart: number;
  /** When it was written or last confirmed: seconds since 1970. */
  readonly date: bigint;
  /** Of the answer, by their names in lower case. */
  readonly headers: ReadonlyMap<string, string>;
  /** Size of the whole that this is a piece of, from Content-Range; undefined where it is no piece. */
  readonly total?: number;
}

/** Of the head; ours are below 2 KiB. */
const headBytes = 8 * 1024;
const keyMark = Buffer.from('\nKEY: ');
/** `ngx_http_file_cache_header_t` of nginx 1.11.10 to 1.29, on machines of 64 bits: version 5; then where the answer's header and its body begin. */
const version = 5;
const offsets = { version: 0, date: 40, headerStart: 54, bodyStart: 56 } as const;

/** Undefined: there is no such file (any more), or it is none that nginx wrote. Errors: those of reading. */
export async function readCacheHeader(file: string): Promise<CacheHeader | undefined> {
  let head: Buffer;
  try {
    await using handle = await open(file, 'r');
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(headBytes), 0, headBytes, 0);
    head = buffer.subarray(0, bytesRead);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
  return parseCacheHeader(head);
}

export function parseCacheHeader(head: Buffer): CacheHeader | undefined {
  if (head.length < 64 || head.readBigUInt64LE(offsets.version) !== BigInt(version)) return undefined;
  const headerStart = head.readUInt16LE(offsets.headerStart);
  const bodyStart = head.readUInt16LE(offsets.bodyStart);
  const mark = head.indexOf(keyMark);
  if (mark < 0 || mark > headerStart || bodyStart <= headerStart) return undefined;
  const keyEnd = head.indexOf(0x0a, mark + keyMark.length);
  if (keyEnd < 0 || keyEnd > headerStart) return undefined;
  const key = head.toString('latin1', mark + keyMark.length, keyEnd);
  const headers = new Map<string, string>();
  for (const line of head.toString('latin1', headerStart, bodyStart).split('\r\n')) {
    const [, name = '', value = ''] = /^([A-Za-z0-9-]+): *(.*)$/.exec(line) ?? [];
    if (name !== '') headers.set(name.toLowerCase(), value);
  }
  const total = /^bytes [0-9]+-[0-9]+\/([0-9]+)$/.exec(headers.get('content-range') ?? '')?.[1];
  return {
    key,
    bodyStart,
    date: head.readBigInt64LE(offsets.date),
    headers,
    ...(total === undefined ? {} : { total: Number(total) }),
  };
}
