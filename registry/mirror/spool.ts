import { randomUUID } from 'node:crypto';
import { type FileHandle, mkdir, open, statfs, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { UpstreamError } from './upstream-error.ts';

/**
 * Bytes on their way from an upstream, in a file without a name that grows while any number of readers follow it. A slow reader
 * delays neither the upstream nor the others, and all of them together need the memory of their own buffers.
 */
export interface Spool {
  /** Bytes, once complete. */
  readonly size: number;
  /** True: all readers are gone and nobody may come any more. */
  readonly closed: boolean;
  /** Takes the content in. Errors: what `source` or the disk failed with; readers fail with it too. */
  fill(source: Readable): Promise<void>;
  /**
   * `start` to `end`, both included. The very last byte waits: for 'storing' until `fill` has succeeded, for 'serving' until
   * `release`, so that nobody has a whole blob in hand which is wrong, and who has one can count on its being stored.
   */
  read(purpose: 'storing' | 'serving', start: number, end: number): Readable;
  /** Nothing more happens to the content: lets the last byte go, and the file as soon as its last reader is gone. */
  release(): void;
}

const chunkBytes = 256 * 1024;
/** Kept free on the disk for everybody else. */
const reserveBytes = 256 * 1024 * 1024;

/** Errors: UpstreamError when the disk has no room for it. */
export async function createSpool(folder: string, size: number): Promise<Spool> {
  await mkdir(folder, { recursive: true });
  const disk = await statfs(folder);
  if (disk.bavail * disk.bsize < size + reserveBytes) {
    throw new UpstreamError('UNAVAILABLE', 'the mirror has no room on its disk for this blob', {
      retryAfter: 60,
    });
  }
  const path = join(folder, randomUUID());
  const file = await open(path, 'wx+', 0o600);
  // Without a name it goes with the process, however that ends.
  await unlink(path);
  return followFile(file, size);
}

function followFile(file: FileHandle, size: number): Spool {
  let written = 0;
  let whole = false;
  let failure: unknown;
  let released = false;
  let closed = false;
  let readers = 0;
  let changed = Promise.withResolvers<void>();
  const tell = (): void => {
    changed.resolve();
    changed = Promise.withResolvers<void>();
  };
  const closeIfIdle = (): void => {
    if (!released || readers > 0 || closed) return;
    closed = true;
    file.close().catch(() => {});
  };
  const isComplete = (purpose: 'storing' | 'serving'): boolean =>
    whole && (purpose === 'storing' || released);

  async function* bytes(purpose: 'storing' | 'serving', start: number, end: number): AsyncGenerator<Buffer> {
    let position = start;
    while (position <= end || (end === size - 1 && !isComplete(purpose))) {
      if (failure !== undefined) throw failure;
      const available = isComplete(purpose) ? size : Math.min(written, size - 1);
      const length = Math.min(available, end + 1) - position;
      if (length <= 0) {
        await changed.promise;
        continue;
      }
      const buffer = Buffer.allocUnsafe(Math.min(length, chunkBytes));
      const { bytesRead } = await file.read(buffer, 0, buffer.length, position);
      if (bytesRead === 0) throw new Error('the spooled bytes of a blob vanished');
      position += bytesRead;
      yield buffer.subarray(0, bytesRead);
    }
  }

  return {
    size,
    get closed() {
      return closed;
    },
    async fill(source) {
      try {
        for await (const chunk of source as AsyncIterable<Buffer>) {
          if (written + chunk.length > size) throw new Error('more bytes came than were announced');
          await writeAll(file, chunk, written).catch((cause: unknown) => {
            throw new UpstreamError('UNAVAILABLE', 'the mirror cannot keep this blob on its disk', { cause });
          });
          written += chunk.length;
          tell();
        }
        if (written !== size) throw new Error('fewer bytes came than were announced');
        whole = true;
      } catch (error) {
        failure = error;
        throw error;
      } finally {
        tell();
      }
    },
    read(purpose, start, end) {
      readers += 1;
      const body = Readable.from(bytes(purpose, start, end), {
        objectMode: false,
        highWaterMark: chunkBytes,
      });
      // An iteration that never began has no end of its own.
      body.once('close', () => {
        readers -= 1;
        closeIfIdle();
      });
      return body;
    },
    release() {
      released = true;
      tell();
      closeIfIdle();
    },
  };
}

async function writeAll(file: FileHandle, chunk: Buffer, position: number): Promise<void> {
  for (let done = 0; done < chunk.length; ) {
    const { bytesWritten } = await file.write(chunk, done, chunk.length - done, position + done);
    done += bytesWritten;
  }
}
