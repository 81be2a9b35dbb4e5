import type { FileHandle } from 'node:fs/promises';
import { ArchiveError } from './archive-error.ts';

/** Bytes that can be read at any place: a zip's directory stands at its end. */
export interface RandomBytes {
  readonly size: number;
  /** Exactly `length` bytes. Errors: ArchiveError when they do not lie within. */
  read(position: number, length: number): Promise<Buffer>;
}

/** `size`: of the file, which must not change while it is read. The handle stays its owner's to close. */
export function fileBytes(handle: FileHandle, size: number): RandomBytes {
  return {
    size,
    async read(position, length) {
      checkRange(size, position, length);
      const buffer = Buffer.allocUnsafe(length);
      for (let done = 0; done < length; ) {
        const { bytesRead } = await handle.read(buffer, done, length - done, position + done);
        if (bytesRead === 0) throw new ArchiveError('it is cut short');
        done += bytesRead;
      }
      return buffer;
    },
  };
}

export function memoryBytes(bytes: Buffer): RandomBytes {
  return {
    size: bytes.length,
    async read(position, length) {
      checkRange(bytes.length, position, length);
      return bytes.subarray(position, position + length);
    },
  };
}

function checkRange(size: number, position: number, length: number): void {
  if (position < 0 || length < 0 || position + length > size) throw new ArchiveError('it is cut short');
}
