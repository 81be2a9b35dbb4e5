import type { LayerEntry } from './entry.ts';

const blockSize = 512;
/** The most that eleven octal digits hold (8 GiB - 1). */
const largestOctalSize = 0o77777777777;

const typeFlags = { file: '0', hardlink: '1', symlink: '2', directory: '5', pax: 'x' } as const;

interface Header {
  readonly type: keyof typeof typeFlags;
  readonly path: Buffer;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly size: number;
  readonly mtime: number;
  readonly linkTarget: Buffer;
}

/**
 * The header blocks of one entry: ustar, with a PAX header before it only where a name, a link target or a size does not
 * fit. Written by hand because tar-stream takes text and would re-encode names that are not UTF-8; ustar fields hold raw bytes.
 */
export function encodeHeader(entry: LayerEntry, size: number, mtime: number): Buffer {
  const path = Buffer.from(entry.type === 'directory' ? `${entry.path}/` : entry.path, 'latin1');
  const linkTarget = 'target' in entry ? Buffer.from(entry.target, 'latin1') : Buffer.alloc(0);
  const header: Header = {
    type: entry.type,
    path,
    mode: entry.type === 'symlink' ? 0o777 : entry.mode,
    uid: entry.uid,
    gid: entry.gid,
    size,
    mtime,
    linkTarget,
  };
  const records: Buffer[] = [];
  if (splitPath(path) === undefined) records.push(paxRecord('path', path));
  if (linkTarget.length > 100) records.push(paxRecord('linkpath', linkTarget));
  if (size > largestOctalSize) records.push(paxRecord('size', Buffer.from(String(size))));
  if (records.length === 0) return ustar(header);

  const body = Buffer.concat(records);
  const extension = ustar({
    ...header,
    type: 'pax',
    path: Buffer.from('PaxHeader'),
    mode: 0o644,
    size: body.length,
    linkTarget: Buffer.alloc(0),
  });
  return Buffer.concat([extension, body, padding(body.length), ustar(header)]);
}

export function padding(size: number): Buffer {
  const rest = size % blockSize;
  return Buffer.alloc(rest === 0 ? 0 : blockSize - rest);
}

function ustar(header: Header): Buffer {
  const block = Buffer.alloc(blockSize);
  // A name that does not fit stands whole in the PAX header; what stands here is only for people with old tools.
  const { name, prefix } = splitPath(header.path) ?? {
    name: header.path.subarray(0, 100),
    prefix: Buffer.alloc(0),
  };
  name.copy(block, 0);
  octal(block, header.mode, 100, 8);
  octal(block, header.uid, 108, 8);
  octal(block, header.gid, 116, 8);
  octal(block, header.size > largestOctalSize ? 0 : header.size, 124, 12);
  octal(block, header.mtime, 136, 12);
  block.write(typeFlags[header.type], 156, 'latin1');
  header.linkTarget.copy(block, 157, 0, 100);
  block.write('ustar\x0000', 257, 'latin1');
  octal(block, 0, 329, 8);
  octal(block, 0, 337, 8);
  prefix.copy(block, 345);
  block.fill(0x20, 148, 156);
  let sum = 0;
  for (const byte of block) sum += byte;
  block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
  return block;
}

function octal(block: Buffer, value: number, offset: number, width: number): void {
  const digits = value.toString(8);
  if (digits.length >= width) throw new RangeError(`${value} does not fit a tar header`);
  block.write(`${digits.padStart(width - 1, '0')}\0`, offset, 'latin1');
}

/** ustar's name (100 bytes) and prefix (155 bytes), parted at a slash; undefined = it does not fit. */
function splitPath(path: Buffer): { name: Buffer; prefix: Buffer } | undefined {
  if (path.length <= 100) return { name: path, prefix: Buffer.alloc(0) };
  if (path.length > 256) return undefined;
  const slash = path.indexOf(0x2f, path.length - 101);
  if (slash <= 0 || slash > 155 || slash === path.length - 1) return undefined;
  return { name: path.subarray(slash + 1), prefix: path.subarray(0, slash) };
}

/** `<length> <key>=<value>\n`, where the length counts its own digits. */
function paxRecord(key: string, value: Buffer): Buffer {
  const rest = key.length + value.length + 3;
  let length = rest + String(rest).length;
  if (String(length).length !== String(rest).length) length = rest + String(length).length;
  return Buffer.concat([Buffer.from(`${length} ${key}=`), value, Buffer.from('\n')]);
}
