import { isUtf8 } from 'node:buffer';
import { crc32 } from 'node:zlib';
import { ArchiveError } from './archive-error.ts';
import { shownPath } from './entry-path.ts';
import type { RandomBytes } from './random-bytes.ts';

/** `other`: devices, sockets and named pipes. */
export type ZipEntryType = 'file' | 'directory' | 'symlink' | 'other';

/** A member as the archive's central directory says it; its path is not checked. */
export interface ZipEntry {
  readonly type: ZipEntryType;
  /** Raw bytes as latin1. Where they are no UTF-8 their encoding is unknown and they stay as they are. */
  readonly path: string;
  /** Permission bits with setuid, setgid and sticky; 0644 or 0755 where the archive was not made on Unix. */
  readonly mode: number;
  /** Unpacked; a symbolic link's content is its target. Bytes. */
  readonly size: number;
}

/** What the reader needs to find an entry's content. */
export interface ZipRecord extends ZipEntry {
  /** As it stands in the directory, to be compared with the local header. */
  readonly rawName: string;
  readonly flags: number;
  readonly method: number;
  readonly crc: number;
  readonly compressedSize: number;
  /** Of the local header, from the first byte of the file. */
  readonly offset: number;
}

/** Where the central directory lies. */
interface DirectoryPlace {
  readonly entries: number;
  readonly size: number;
  readonly start: number;
  /** What was put before the archive (a program that unpacks itself); all offsets count from behind it. */
  readonly prefix: number;
}

const endSize = 22;
const longestComment = 65_535;
const recordSize = 46;
/** All names, extra fields and comments together. */
const largestDirectory = 64 * 1024 * 1024;
const longestName = 4096;
const windowSize = 256 * 1024;

/**
 * The directory at the archive's end (APPNOTE 6.3.10, sections 4.3.12 to 4.3.16), with zip64. Errors: ArchiveError when it is
 * damaged, of several volumes, of more than `most` entries, or larger than 64 MiB.
 */
export async function readZipDirectory(bytes: RandomBytes, most: number): Promise<ZipRecord[]> {
  const place = await findDirectory(bytes);
  if (place.entries > most) throw new ArchiveError(`it holds more than ${most} entries`);
  if (place.size > largestDirectory) {
    throw new ArchiveError(`its directory is larger than ${largestDirectory} bytes`);
  }
  const take = createWindow(bytes, place.start, place.start + place.size);
  const records: ZipRecord[] = [];
  for (let index = 0; index < place.entries; index += 1) records.push(await readRecord(take, place.prefix));
  return records;
}

async function findDirectory(bytes: RandomBytes): Promise<DirectoryPlace> {
  const tailSize = Math.min(bytes.size, endSize + longestComment);
  const tail = await bytes.read(bytes.size - tailSize, tailSize);
  let at = tail.length - endSize;
  // The comment's length must lead exactly to the end: otherwise a comment could hold a second directory.
  while (
    at >= 0 &&
    !(tail.readUInt32LE(at) === 0x06054b50 && at + endSize + tail.readUInt16LE(at + 20) === tail.length)
  )
    at -= 1;
  if (at < 0) throw new ArchiveError('it is no zip archive, or its end is missing');

  const position = bytes.size - tailSize + at;
  const plain = {
    disks: [tail.readUInt16LE(at + 4), tail.readUInt16LE(at + 6)],
    here: tail.readUInt16LE(at + 8),
    entries: tail.readUInt16LE(at + 10),
    size: tail.readUInt32LE(at + 12),
    offset: tail.readUInt32LE(at + 16),
    end: position,
  };
  const end = (await findZip64(bytes, position)) ?? plain;
  if (end.disks.some((disk) => disk !== 0) || end.here !== end.entries) {
    throw new ArchiveError('it is split into several volumes');
  }
  const start = end.end - end.size;
  const prefix = start - end.offset;
  if (start < 0 || prefix < 0) throw new ArchiveError('its directory is damaged');
  return { entries: end.entries, size: end.size, start, prefix };
}

async function findZip64(
  bytes: RandomBytes,
  end: number,
): Promise<
  { disks: number[]; here: number; entries: number; size: number; offset: number; end: number } | undefined
> {
  if (end < 20) return undefined;
  const locator = await bytes.read(end - 20, 20);
  if (locator.readUInt32LE(0) !== 0x07064b50) return undefined;
  // Its own place is given from the archive's first byte, which a prefix moves; without extensible data it lies right before.
  const position = end - 20 - 56;
  const record = position < 0 ? undefined : await bytes.read(position, 56);
  if (record?.readUInt32LE(0) !== 0x06064b50) throw new ArchiveError('its zip64 directory is damaged');
  return {
    disks: [record.readUInt32LE(16), record.readUInt32LE(20)],
    here: safeNumber(record, 24),
    entries: safeNumber(record, 32),
    size: safeNumber(record, 40),
    offset: safeNumber(record, 48),
    end: position,
  };
}

type Take = (length: number) => Promise<Buffer>;

/** Reads on from `start`, never beyond `end`, holding one window. */
function createWindow(bytes: RandomBytes, start: number, end: number): Take {
  let held: Buffer = Buffer.alloc(0);
  let next = start;
  return async (length) => {
    if (held.length < length) {
      const more = Math.min(Math.max(windowSize, length - held.length), end - next);
      held = Buffer.concat([held, await bytes.read(next, more)]);
      next += more;
      if (held.length < length) throw new ArchiveError('its directory is damaged');
    }
    const part = held.subarray(0, length);
    held = held.subarray(length);
    return part;
  };
}

async function readRecord(take: Take, prefix: number): Promise<ZipRecord> {
  const head = await take(recordSize);
  if (head.readUInt32LE(0) !== 0x02014b50) throw new ArchiveError('its directory is damaged');
  const nameLength = head.readUInt16LE(28);
  const extraLength = head.readUInt16LE(30);
  const rest = await take(nameLength + extraLength + head.readUInt16LE(32));
  const rawName = rest.toString('latin1', 0, nameLength);
  const extra = rest.subarray(nameLength, nameLength + extraLength);
  if (nameLength === 0 || nameLength > longestName) {
    throw new ArchiveError(
      `entry ${shownPath(rawName)}: its name is empty or longer than ${longestName} bytes`,
    );
  }
  const system = head[5] ?? 0;
  const flags = head.readUInt16LE(8);
  const path = nameOf(rawName, flags, system, extra);
  const attributes = head.readUInt32LE(38);
  const { size, compressedSize, offset } = sizesOf(head, extra, path);
  const unix = system === 3 || system === 19 ? attributes >>> 16 : 0;
  const type = typeOf(path, unix, attributes);
  if (type === 'directory' && size !== 0)
    throw new ArchiveError(`entry ${shownPath(path)}: a directory with a content`);
  return {
    type,
    path,
    mode: (unix & 0o7777) !== 0 ? unix & 0o7777 : type === 'directory' ? 0o755 : 0o644,
    size,
    rawName,
    flags,
    method: head.readUInt16LE(10),
    crc: head.readUInt32LE(16),
    compressedSize,
    offset: prefix + offset,
  };
}

function typeOf(path: string, unix: number, attributes: number): ZipEntryType {
  const kind = unix & 0o170_000;
  if (kind === 0o120_000) return 'symlink';
  if (kind === 0o040_000 || path.endsWith('/')) return 'directory';
  if (kind !== 0 && kind !== 0o100_000) return 'other';
  return kind === 0 && (attributes & 0x10) !== 0 ? 'directory' : 'file';
}

/** The name, or what an Info-ZIP "Unicode Path" field (0x7075) says instead, as long as it belongs to this name. */
function nameOf(rawName: string, flags: number, system: number, extra: Buffer): string {
  const raw = Buffer.from(rawName, 'latin1');
  const field = extraField(extra, 0x7075);
  const told =
    field !== undefined && field.length > 5 && field[0] === 1 && field.readUInt32LE(1) === crc32(raw)
      ? field.subarray(5)
      : undefined;
  const name = told ?? raw;
  if ((told !== undefined || (flags & 0x800) !== 0) && !isUtf8(name)) {
    throw new ArchiveError(`entry ${shownPath(rawName)}: its name says that it is UTF-8 and is not`);
  }
  const text = name.toString('latin1');
  // Some programs of Windows write its own separator, against APPNOTE 4.4.17.1; there it cannot be part of a name.
  return system === 0 || system === 10 || system === 11 ? text.replaceAll('\\', '/') : text;
}

/** Zip64 (APPNOTE 4.5.3): the field holds, in this order, those of the values that do not fit into 32 bits. */
function sizesOf(
  head: Buffer,
  extra: Buffer,
  path: string,
): { size: number; compressedSize: number; offset: number } {
  const field = extraField(extra, 1);
  let at = 0;
  const value = (position: number): number => {
    const short = head.readUInt32LE(position);
    if (short !== 0xffffffff || field === undefined) return short;
    if (at + 8 > field.length) throw new ArchiveError(`entry ${shownPath(path)}: its zip64 field is damaged`);
    at += 8;
    return safeNumber(field, at - 8);
  };
  const size = value(24);
  const compressedSize = value(20);
  return { size, compressedSize, offset: value(42) };
}

function extraField(extra: Buffer, id: number): Buffer | undefined {
  for (let at = 0; at + 4 <= extra.length; ) {
    const length = extra.readUInt16LE(at + 2);
    if (extra.readUInt16LE(at) === id && at + 4 + length <= extra.length) {
      return extra.subarray(at + 4, at + 4 + length);
    }
    at += 4 + length;
  }
  return undefined;
}

function safeNumber(bytes: Buffer, at: number): number {
  const value = bytes.readBigUInt64LE(at);
  if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw new ArchiveError('it holds a number out of range');
  return Number(value);
}
