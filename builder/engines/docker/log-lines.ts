import type { Masker } from '../../secrets/masker.ts';

/** Longer lines are cut into parts of this many bytes: a build that never ends its line must not fill the memory. */
const longestLine = 32_768;

/**
 * Complete lines of a container's output. stdout and stderr are kept apart until a line is complete. Secrets are masked before that, as one may go
 * across frames and across the place where a long line is cut.
 */
export async function* logLines(
  frames: AsyncIterable<Uint8Array>,
  masker?: Masker,
): AsyncGenerator<string, void, undefined> {
  const streams = [0, 1, 2].map(() => ({ splitter: createSplitter(), mask: masker?.stream() }));
  for await (const { stream, bytes } of demultiplex(frames)) {
    const { splitter, mask } = streams[stream] as (typeof streams)[number];
    yield* splitter.add(mask === undefined ? bytes : mask.write(bytes));
  }
  for (const { splitter, mask } of streams) {
    if (mask !== undefined) yield* splitter.add(mask.end());
    yield* splitter.end();
  }
}

/**
 * Docker Engine API "Stream format" (containers/attach): 8 bytes [stream, 0, 0, 0, size as 32 bits big-endian], then the
 * bytes. Frames may be cut anywhere by the transport and are given out in the parts in which they come.
 */
export async function* demultiplex(
  chunks: AsyncIterable<Uint8Array>,
): AsyncGenerator<{ stream: 0 | 1 | 2; bytes: Buffer }, void, undefined> {
  const header = Buffer.alloc(8);
  let headerBytes = 0;
  let remaining = 0;
  for await (const part of chunks) {
    const chunk = Buffer.from(part.buffer, part.byteOffset, part.byteLength);
    for (let offset = 0; offset < chunk.length; ) {
      if (remaining === 0) {
        const copied = chunk.copy(header, headerBytes, offset, offset + 8 - headerBytes);
        headerBytes += copied;
        offset += copied;
        if (headerBytes < 8) continue;
        headerBytes = 0;
        remaining = header.readUInt32BE(4);
        continue;
      }
      const bytes = chunk.subarray(offset, offset + remaining);
      offset += bytes.length;
      remaining -= bytes.length;
      const stream = header[0];
      yield { stream: stream === 2 ? 2 : stream === 1 ? 1 : 0, bytes };
    }
  }
}

function createSplitter(): {
  add(bytes: Buffer): Generator<string, void, undefined>;
  end(): Generator<string, void, undefined>;
} {
  let held: Buffer[] = [];
  let size = 0;
  const take = (): string => {
    const line = Buffer.concat(held).toString();
    held = [];
    size = 0;
    return line.endsWith('\r') ? line.slice(0, -1) : line;
  };
  /** As much of a line that is full as may leave it; what stays begins the next part. */
  const takePart = (): string | undefined => {
    const line = Buffer.concat(held);
    // A progress bar writes its line over and over: nobody will see the earlier states.
    const state = line.lastIndexOf(0x0d, -2) + 1;
    const end = state > 0 ? state : wholeCharacters(line);
    held = [line.subarray(end)];
    size = line.length - end;
    return state > 0 ? undefined : line.subarray(0, end).toString();
  };
  return {
    *add(bytes) {
      for (let start = 0; start < bytes.length; ) {
        const newline = bytes.indexOf(0x0a, start);
        const end = Math.min(newline === -1 ? bytes.length : newline, start + longestLine - size);
        held.push(bytes.subarray(start, end));
        size += end - start;
        if (end === newline) {
          yield take();
          start = end + 1;
        } else {
          start = end;
          const part = size >= longestLine ? takePart() : undefined;
          if (part !== undefined) yield part;
        }
      }
    },
    *end() {
      if (size > 0) yield take();
    },
  };
}

/** How many of the bytes are whole characters of UTF-8, of which none is longer than four. */
function wholeCharacters(bytes: Buffer): number {
  for (let back = 1; back <= 3; back++) {
    const byte = bytes[bytes.length - back] ?? 0;
    if (byte < 0x80) return bytes.length;
    if (byte >= 0xc0)
      return bytes.length - back + (byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : 2) <= bytes.length
        ? bytes.length
        : bytes.length - back;
  }
  return bytes.length;
}
