/** A shared library as the dynamic linker looks for it. */
export interface LinkedLibrary {
  /** The name that programs ask for (SONAME). */
  readonly name: string;
  /** Absolute. */
  readonly path: string;
}

/** glibc's dl-cache.h: FLAG_ELF_LIBC6 with the machine's bits. */
const flags: Readonly<Record<string, number>> = { amd64: 0x0303, arm64: 0x0a03 };

/**
 * The bytes of /etc/ld.so.cache in glibc's format `glibc-ld.so.cache1.1`, which glibc 2.2 and newer read. Written by us because ldconfig would need the
 * files unpacked on a machine of the same architecture. Errors: RangeError for another architecture.
 */
export function encodeLinkerCache(libraries: readonly LinkedLibrary[], architecture: string): Buffer {
  const flag = flags[architecture];
  if (flag === undefined) throw new RangeError(`no linker cache for ${architecture}`);
  // The linker searches by halving, in the reverse of this order.
  const sorted = [...libraries].sort((a, b) => compareNames(b.name, a.name) || (a.path < b.path ? -1 : 1));
  const headerSize = 48;
  const entrySize = 24;
  const texts: Buffer[] = [];
  let offset = headerSize + sorted.length * entrySize;
  const place = (text: string): number => {
    const bytes = Buffer.from(`${text}\0`, 'latin1');
    texts.push(bytes);
    offset += bytes.length;
    return offset - bytes.length;
  };
  const entries = Buffer.alloc(sorted.length * entrySize);
  for (const [index, { name, path }] of sorted.entries()) {
    const at = index * entrySize;
    entries.writeUInt32LE(flag, at);
    entries.writeUInt32LE(place(name), at + 4);
    entries.writeUInt32LE(place(path), at + 8);
  }
  const strings = Buffer.concat(texts);
  const header = Buffer.alloc(headerSize);
  header.write('glibc-ld.so.cache1.1', 'latin1');
  header.writeUInt32LE(sorted.length, 20);
  header.writeUInt32LE(strings.length, 24);
  // Little endian; readers from glibc 2.33 on check it.
  header.writeUInt8(2, 28);
  return Buffer.concat([header, entries, strings]);
}

/** glibc's _dl_cache_libcmp: runs of digits compare as numbers. */
export function compareNames(a: string, b: string): number {
  const digit = (text: string, at: number): boolean => /[0-9]/.test(text[at] ?? '');
  let i = 0;
  let j = 0;
  while (i < a.length) {
    if (digit(a, i)) {
      if (!digit(b, j)) return 1;
      const left = /^[0-9]+/.exec(a.slice(i))?.[0] ?? '';
      const right = /^[0-9]+/.exec(b.slice(j))?.[0] ?? '';
      if (Number(left) !== Number(right)) return Number(left) - Number(right);
      i += left.length;
      j += right.length;
    } else if (digit(b, j)) return -1;
    else if (a[i] !== b[j]) return a.charCodeAt(i) - (b.charCodeAt(j) || 0);
    else {
      i += 1;
      j += 1;
    }
  }
  return 0 - (b.charCodeAt(j) || 0);
}

/** The SONAME of a 64-bit little-endian ELF file; undefined when it is none or has none. */
export function sonameOf(file: Buffer): string | undefined {
  if (file.length < 64 || file.toString('latin1', 0, 6) !== '\x7fELF\x02\x01') return undefined;
  try {
    return readSoname(file);
  } catch (error) {
    if (error instanceof RangeError) return undefined;
    throw error;
  }
}

function readSoname(file: Buffer): string | undefined {
  const tableOffset = Number(file.readBigUInt64LE(32));
  const entrySize = file.readUInt16LE(54);
  const segments = Array.from({ length: file.readUInt16LE(56) }, (_, index) => {
    const at = tableOffset + index * entrySize;
    return {
      type: file.readUInt32LE(at),
      offset: Number(file.readBigUInt64LE(at + 8)),
      address: Number(file.readBigUInt64LE(at + 16)),
      size: Number(file.readBigUInt64LE(at + 32)),
    };
  });
  const dynamic = segments.find(({ type }) => type === 2);
  if (dynamic === undefined) return undefined;
  let soname: number | undefined;
  let strings: number | undefined;
  for (let at = dynamic.offset; at < dynamic.offset + dynamic.size; at += 16) {
    const tag = Number(file.readBigUInt64LE(at));
    const value = Number(file.readBigUInt64LE(at + 8));
    if (tag === 0) break;
    if (tag === 5) strings = value;
    if (tag === 14) soname = value;
  }
  if (soname === undefined || strings === undefined) return undefined;
  const table = strings;
  const segment = segments.find(
    ({ type, address, size }) => type === 1 && table >= address && table < address + size,
  );
  if (segment === undefined) return undefined;
  const start = segment.offset + table - segment.address + soname;
  const end = file.indexOf(0, start);
  return end === -1 ? undefined : file.toString('latin1', start, end);
}
