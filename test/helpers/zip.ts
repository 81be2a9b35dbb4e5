import { crc32, deflateRawSync } from 'node:zlib';

/** A member of a zip made for a test. What is not given is as an honest Unix program writes it. */
export interface TestZipEntry {
  readonly path: string | Buffer;
  readonly content?: string | Buffer;
  /** Unix mode with its type, e.g. 0o120777. 0 = made on DOS. */
  readonly mode?: number;
  readonly stored?: boolean;
  readonly flags?: number;
  readonly method?: number;
  /** What the directory says instead of the truth. */
  readonly says?: { size?: number; compressedSize?: number; crc?: number; offset?: number; name?: string };
  readonly extra?: Buffer;
  /** Appended to the compressed content. */
  readonly behind?: Buffer;
}

export interface TestZipOptions {
  readonly prefix?: Buffer;
  readonly comment?: string;
  readonly zip64?: boolean;
}

/** Builds the archive byte by byte, so that tests can lie at any place. */
export function zipOf(entries: readonly TestZipEntry[], options: TestZipOptions = {}): Buffer {
  const locals: Buffer[] = [];
  const records: Buffer[] = [];
  let offset = 0;
  for (const entry of entries) {
    const { says = {}, extra = Buffer.alloc(0), mode = 0o100_644, flags = 0x800 } = entry;
    const name = Buffer.from(entry.path as string);
    const content = Buffer.from((entry.content ?? '') as string);
    const packed = Buffer.concat([
      entry.stored === true ? content : deflateRawSync(content),
      entry.behind ?? Buffer.alloc(0),
    ]);
    const method = entry.method ?? (entry.stored === true ? 0 : 8);
    const crc = says.crc ?? crc32(content);
    const local = Buffer.alloc(30);
    local.writeUInt32LE(0x04034b50, 0);
    local.writeUInt16LE(20, 4);
    local.writeUInt16LE(flags, 6);
    local.writeUInt16LE(method, 8);
    local.writeUInt32LE(crc, 14);
    local.writeUInt32LE(packed.length, 18);
    local.writeUInt32LE(content.length, 22);
    local.writeUInt16LE(name.length, 26);
    const told = says.name === undefined ? name : Buffer.from(says.name);
    const record = Buffer.alloc(46);
    record.writeUInt32LE(0x02014b50, 0);
    record[5] = mode === 0 ? 0 : 3;
    record.writeUInt16LE(flags, 8);
    record.writeUInt16LE(method, 10);
    record.writeUInt32LE(crc, 16);
    record.writeUInt32LE(says.compressedSize ?? packed.length, 20);
    record.writeUInt32LE(says.size ?? content.length, 24);
    record.writeUInt16LE(told.length, 28);
    record.writeUInt16LE(extra.length, 30);
    record.writeUInt32LE((mode << 16) >>> 0, 38);
    record.writeUInt32LE(says.offset ?? offset, 42);
    records.push(record, told, extra);
    locals.push(local, name, packed);
    offset += local.length + name.length + packed.length;
  }
  const directory = Buffer.concat(records);
  const comment = Buffer.from(options.comment ?? '');
  const end = Buffer.alloc(22);
  end.writeUInt32LE(0x06054b50, 0);
  const short = options.zip64 === true ? 0xffff : entries.length;
  end.writeUInt16LE(short, 8);
  end.writeUInt16LE(short, 10);
  end.writeUInt32LE(options.zip64 === true ? 0xffffffff : directory.length, 12);
  end.writeUInt32LE(options.zip64 === true ? 0xffffffff : offset, 16);
  end.writeUInt16LE(comment.length, 20);
  return Buffer.concat([
    options.prefix ?? Buffer.alloc(0),
    ...locals,
    directory,
    ...(options.zip64 === true ? zip64End(entries.length, directory.length, offset) : []),
    end,
    comment,
  ]);
}

function zip64End(entries: number, size: number, offset: number): Buffer[] {
  const end = Buffer.alloc(56);
  end.writeUInt32LE(0x06064b50, 0);
  end.writeBigUInt64LE(44n, 4);
  end.writeBigUInt64LE(BigInt(entries), 24);
  end.writeBigUInt64LE(BigInt(entries), 32);
  end.writeBigUInt64LE(BigInt(size), 40);
  end.writeBigUInt64LE(BigInt(offset), 48);
  const locator = Buffer.alloc(20);
  locator.writeUInt32LE(0x07064b50, 0);
  locator.writeBigUInt64LE(BigInt(offset + size), 8);
  locator.writeUInt32LE(1, 16);
  return [end, locator];
}
