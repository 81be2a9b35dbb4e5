import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { crc32, createInflateRaw } from 'node:zlib';
import { ArchiveError } from './archive-error.ts';
import { type ArchiveLimits, checkExpansion, type ResolvedLimits, resolveLimits } from './archive-limits.ts';
import { shownPath } from './entry-path.ts';
import type { RandomBytes } from './random-bytes.ts';
import { readZipDirectory, type ZipEntry, type ZipRecord } from './zip-directory.ts';

/**
 * A zip archive from an untrusted side (also .jar and .war). What is read is what the central directory lists, and only where
 * the local headers say the same: programs that follow one of the two must not see different archives.
 */
export interface ZipReader {
  /** In the directory's order. Paths are not checked: see `entryPath`. Names may stand twice. */
  readonly entries: readonly ZipEntry[];
  /**
   * The entry's content in bounded memory; entries may be read in any order, also at once. Errors: ArchiveError naming the entry
   * when it is encrypted, damaged, compressed in a way that is not read (all but "stored" and "deflated"), or of another size
   * than it says.
   */
  read(entry: ZipEntry): AsyncGenerator<Buffer, void, undefined>;
}

const chunkSize = 64 * 1024;
const localHeaderSize = 30;

/** Errors: ArchiveError when it is no zip, damaged, over a limit, or entries share bytes. */
export async function openZip(bytes: RandomBytes, limits: ArchiveLimits = {}): Promise<ZipReader> {
  const most = resolveLimits(limits);
  const records = await readZipDirectory(bytes, most.entries);
  checkSizes(records, bytes.size, most);
  const ends = checkOverlaps(records, bytes.size);
  return {
    entries: records,
    async *read(entry) {
      const record = entry as ZipRecord;
      const end = ends.get(record);
      if (end === undefined) throw new RangeError('the entry is of another archive');
      const start = await findContent(bytes, record, end);
      yield* checked(record, unpacked(bytes, record, start));
    },
  };
}

function checkSizes(records: readonly ZipRecord[], packed: number, most: ResolvedLimits): void {
  let total = 0;
  for (const record of records) {
    total += record.size;
    checkExpansion(total, packed, most);
  }
}

/**
 * Entries that share compressed bytes make a small file huge ("A better zip bomb", Fifield 2019). Returns, for each entry, where
 * the next thing begins: its content must end before.
 */
function checkOverlaps(records: readonly ZipRecord[], size: number): Map<ZipRecord, number> {
  const sorted = records.toSorted((a, b) => a.offset - b.offset);
  const ends = new Map<ZipRecord, number>();
  for (const [index, record] of sorted.entries()) {
    const end = sorted[index + 1]?.offset ?? size;
    const least = record.offset + localHeaderSize + record.rawName.length + record.compressedSize;
    if (least > end)
      throw new ArchiveError(
        `entry ${shownPath(record.path)}: its bytes are also another entry's, or missing`,
      );
    ends.set(record, end);
  }
  return ends;
}

/** Position of the entry's content, behind its local header (APPNOTE 4.3.7). */
async function findContent(bytes: RandomBytes, record: ZipRecord, end: number): Promise<number> {
  const refuse = (reason: string): ArchiveError =>
    new ArchiveError(`entry ${shownPath(record.path)}: ${reason}`);
  if ((record.flags & 0x41) !== 0) throw refuse('it is encrypted');
  if (record.method !== 0 && record.method !== 8) {
    throw refuse(
      `its compression (method ${record.method}) is not read; pack it with "deflate", the default`,
    );
  }
  const head = await bytes.read(record.offset, localHeaderSize);
  const nameLength = head.readUInt16LE(26);
  const name = (await bytes.read(record.offset + localHeaderSize, nameLength)).toString('latin1');
  if (
    head.readUInt32LE(0) !== 0x04034b50 ||
    name !== record.rawName ||
    head.readUInt16LE(8) !== record.method
  ) {
    throw refuse('its header and the directory differ');
  }
  const start = record.offset + localHeaderSize + nameLength + head.readUInt16LE(28);
  if (start + record.compressedSize > end) throw refuse("its bytes are also another entry's, or missing");
  return start;
}

async function* unpacked(
  bytes: RandomBytes,
  record: ZipRecord,
  start: number,
): AsyncGenerator<Buffer, void, undefined> {
  const packed = chunksOf(bytes, start, start + record.compressedSize);
  if (record.method === 0) return yield* packed;
  const inflate = createInflateRaw({ chunkSize });
  const fed = pipeline(Readable.from(packed), inflate);
  // The loop below meets the same failure.
  fed.catch(() => {});
  try {
    yield* inflate as AsyncIterable<Buffer>;
    await fed;
  } catch (cause) {
    if (cause instanceof ArchiveError) throw cause;
    throw new ArchiveError(`entry ${shownPath(record.path)}: its compressed content is damaged`, { cause });
  } finally {
    inflate.destroy();
  }
  if (inflate.bytesWritten !== record.compressedSize) {
    throw new ArchiveError(`entry ${shownPath(record.path)}: bytes stand behind its content`);
  }
}

async function* chunksOf(
  bytes: RandomBytes,
  start: number,
  end: number,
): AsyncGenerator<Buffer, void, undefined> {
  for (let at = start; at < end; at += chunkSize) yield await bytes.read(at, Math.min(chunkSize, end - at));
}

async function* checked(
  record: ZipRecord,
  content: AsyncIterable<Buffer>,
): AsyncGenerator<Buffer, void, undefined> {
  let size = 0;
  let crc = 0;
  for await (const chunk of content) {
    size += chunk.length;
    if (size > record.size) break;
    crc = crc32(chunk, crc);
    yield chunk;
  }
  if (size !== record.size)
    throw new ArchiveError(
      `entry ${shownPath(record.path)}: it is not ${record.size} bytes long, as it says`,
    );
  if (crc !== record.crc) throw new ArchiveError(`entry ${shownPath(record.path)}: its checksum is wrong`);
}
