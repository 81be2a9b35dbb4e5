import { TarError } from './tar-decode.ts';

/** A stream of chunks of any size, read in parts of exact sizes; never holds more than one chunk and one `take`. */
export interface ByteSource {
  /** Exactly `size` bytes; undefined when the source ended just before them. Errors: TarError when it ends within them. */
  take(size: number): Promise<Buffer | undefined>;
  /** Errors: TarError when the source ends before. */
  skip(size: number): Promise<void>;
  /** The next `size` bytes as chunks. `skip` drops what was not read. */
  part(size: number): { read(): AsyncGenerator<Buffer, void, undefined>; skip(): Promise<void> };
  /** Reads and drops all that is left. */
  drain(): Promise<void>;
  /** Ends the source, also in the middle. */
  close(): Promise<void>;
}

export function createByteSource(source: AsyncIterable<Uint8Array>): ByteSource {
  const iterator = source[Symbol.asyncIterator]();
  let rest = Buffer.alloc(0);

  /** Up to `most` bytes; undefined at the end. */
  async function some(most: number): Promise<Buffer | undefined> {
    while (rest.length === 0) {
      const next = await iterator.next();
      if (next.done === true) return undefined;
      const chunk = next.value;
      rest = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength) as Buffer<ArrayBuffer>;
    }
    const chunk = rest.subarray(0, most);
    rest = rest.subarray(chunk.length);
    return chunk;
  }

  async function* chunks(remaining: { size: number }): AsyncGenerator<Buffer, void, undefined> {
    while (remaining.size > 0) {
      const chunk = await some(remaining.size);
      if (chunk === undefined) throw new TarError('cut short');
      remaining.size -= chunk.length;
      yield chunk;
    }
  }

  async function drain(remaining: { size: number }): Promise<void> {
    for await (const _ of chunks(remaining));
  }

  return {
    async take(size) {
      const first = size === 0 ? Buffer.alloc(0) : await some(size);
      if (first === undefined || first.length === size) return first;
      const parts = [first];
      for await (const chunk of chunks({ size: size - first.length })) parts.push(chunk);
      return Buffer.concat(parts);
    },
    skip: (size) => drain({ size }),
    part(size) {
      const remaining = { size };
      return { read: () => chunks(remaining), skip: () => drain(remaining) };
    },
    async drain() {
      while ((await some(Number.MAX_SAFE_INTEGER)) !== undefined);
    },
    async close() {
      await iterator.return?.();
    },
  };
}
