import { type ByteSource, createByteSource } from './byte-source.ts';
import { decodeHeader, isZeroBlock, parsePax, type RawHeader, TarError } from './tar-decode.ts';

export type TarEntryType =
  | 'file'
  | 'directory'
  | 'symlink'
  | 'hardlink'
  | 'character device'
  | 'block device'
  | 'fifo';

/** A member as the archive says it, nothing checked but the syntax. Names are raw bytes as latin1 text. */
export interface TarEntry {
  readonly type: TarEntryType;
  readonly path: string;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** Bytes of the body; 0 for everything but files. */
  readonly size: number;
  /** Empty for everything but links. */
  readonly target: string;
}

export interface TarLimits {
  /** Default 1,000,000. */
  readonly entries?: number;
  /** Bytes of all bodies together. Default 64 GiB. */
  readonly bytes?: number;
  /**
   * Also read and drop what stands behind the end of the archive: for sources that we trust and whose writer fails when nobody
   * takes its padding. Default false, since padding may be endless.
   */
  readonly readToEnd?: boolean;
}

const defaultLimits = { entries: 1_000_000, bytes: 64 * 1024 ** 3, readToEnd: false };
/** Longest name or PAX header that is read into memory. */
const longestExtension = 65_536;

/**
 * Reads an archive from an untrusted side with bounded memory: ustar, GNU long names, PAX. An unread body is skipped.
 * Errors: TarError for what is damaged, cut short, sparse, negative, of unknown type or over a limit.
 */
export async function* readTar(
  source: AsyncIterable<Uint8Array>,
  limits: TarLimits = {},
): AsyncGenerator<{ entry: TarEntry; body: AsyncIterable<Buffer> }, void, undefined> {
  const most = { ...defaultLimits, ...limits };
  const bytes = createByteSource(source);
  try {
    let count = 0;
    let total = 0;
    for (;;) {
      const header = await nextHeader(bytes);
      if (header === undefined) {
        if (most.readToEnd) await bytes.drain();
        return;
      }
      count += 1;
      total += header.size;
      if (count > most.entries) throw new TarError(`more than ${most.entries} entries`);
      if (total > most.bytes) throw new TarError(`more than ${most.bytes} bytes`);
      const entry = toEntry(header);
      const body = bytes.part(entry.size);
      yield { entry, body: body.read() };
      await body.skip();
      await bytes.skip(paddingOf(entry.size));
    }
  } finally {
    await bytes.close();
  }
}

/** The next real header with what its extension headers say; undefined at the end of the archive. */
async function nextHeader(bytes: ByteSource): Promise<RawHeader | undefined> {
  let pax = new Map<string, string>();
  let longPath: string | undefined;
  let longTarget: string | undefined;
  // A few extensions may precede a header; an endless chain of them is an attack.
  for (let extensions = 0; extensions < 8; extensions += 1) {
    const block = await bytes.take(512);
    // End of file on a block border is the end, with or without the two zero blocks.
    if (block === undefined || isZeroBlock(block)) {
      if (extensions > 0) throw new TarError('ends after an extension header');
      return undefined;
    }
    const header = decodeHeader(block);
    if (header.flag === 'x' || header.flag === 'g') {
      const records = parsePax(await extension(bytes, header));
      if (header.flag === 'x') pax = records;
      else checkGlobal(records);
    } else if (header.flag === 'L') longPath = cString(await extension(bytes, header));
    else if (header.flag === 'K') longTarget = cString(await extension(bytes, header));
    else return applyExtensions(header, pax, longPath, longTarget);
  }
  throw new TarError('too many extension headers in a row');
}

async function extension(bytes: ByteSource, header: RawHeader): Promise<Buffer> {
  if (header.size > longestExtension) throw new TarError('extension header too large');
  const body = await bytes.take(header.size);
  if (body === undefined && header.size > 0) throw new TarError('cut short');
  await bytes.skip(paddingOf(header.size));
  return body ?? Buffer.alloc(0);
}

/** Global headers carry comments (git archive); one that renames or resizes every later entry is refused. */
function checkGlobal(records: Map<string, string>): void {
  for (const key of records.keys()) {
    if (key !== 'comment') throw new TarError(`global header sets ${JSON.stringify(key)}`);
  }
}

function applyExtensions(
  header: RawHeader,
  pax: Map<string, string>,
  longPath: string | undefined,
  longTarget: string | undefined,
): RawHeader {
  for (const key of pax.keys()) {
    if (key.startsWith('GNU.sparse.')) throw new TarError('sparse file');
  }
  const size = pax.get('size');
  return {
    ...header,
    path: pax.get('path') ?? longPath ?? header.path,
    target: pax.get('linkpath') ?? longTarget ?? header.target,
    size: size === undefined ? header.size : decimal(size),
    uid: decimal(pax.get('uid') ?? String(header.uid)),
    gid: decimal(pax.get('gid') ?? String(header.gid)),
  };
}

function toEntry(header: RawHeader): TarEntry {
  const type = typeOf(header);
  if (header.path === '' || header.path.includes('\0')) throw new TarError('entry without a usable name');
  // POSIX lets a link carry a size without a body; no program writes links that way today, so a size there is a lie.
  if (type !== 'file' && header.size !== 0) throw new TarError(`${type} with a body`);
  const link = type === 'symlink' || type === 'hardlink';
  if (link && (header.target === '' || header.target.includes('\0'))) {
    throw new TarError('link without a target');
  }
  const { path, mode, uid, gid, size } = header;
  return { type, path, mode, uid, gid, size, target: link ? header.target : '' };
}

function typeOf(header: RawHeader): TarEntryType {
  switch (header.flag) {
    case '\0':
    case '0':
    case '7':
      return header.path.endsWith('/') ? 'directory' : 'file';
    case '1':
      return 'hardlink';
    case '2':
      return 'symlink';
    case '3':
      return 'character device';
    case '4':
      return 'block device';
    case '5':
      return 'directory';
    case '6':
      return 'fifo';
    case 'S':
      throw new TarError('sparse file');
    default:
      throw new TarError(`entry of unknown type ${JSON.stringify(header.flag)}`);
  }
}

function decimal(text: string): number {
  const value = /^[0-9]{1,16}$/.test(text) ? Number(text) : Number.NaN;
  if (!Number.isSafeInteger(value)) throw new TarError(`not a number: ${JSON.stringify(text.slice(0, 40))}`);
  return value;
}

function cString(bytes: Buffer): string {
  const end = bytes.indexOf(0);
  return bytes.toString('latin1', 0, end === -1 ? bytes.length : end);
}

function paddingOf(size: number): number {
  return (512 - (size % 512)) % 512;
}
