import { close as closeCallback, constants, open as openCallback, write as writeCallback } from 'node:fs';
import { promisify } from 'node:util';
import { createAlignedBuffers } from './aligned-buffers.ts';
import { filePath } from './byte-path.ts';

const open = promisify(openCallback);
const close = promisify(closeCallback);
const write = promisify(writeCallback);

/** As many as libuv has threads to write with. */
const buffers = 4;
const bufferBytes = 1024 * 1024;

/**
 * Writes that go to the disk without passing through the page cache (O_DIRECT). Copying a layer into fresh pages costs more
 * than taking it off the network and hashing it together, and pushes out of memory what is being pulled.
 */
export interface DirectFiles {
  /** Most bytes of one write, and the least that are worth one. */
  readonly writeBytes: number;
  /** Undefined: this file system does not do it (tmpfs, some network ones). The file must exist. */
  open(path: string): Promise<DirectFile | undefined>;
}

export interface DirectFile {
  /**
   * Writes the first `bytes` bytes that `fill` puts into a buffer, at `position`; both are multiples of `blockBytes`.
   * False: the file system refuses after all, nothing was written.
   */
  write(bytes: number, position: number, fill: (buffer: Buffer) => void): Promise<boolean>;
  close(): Promise<void>;
}

export function createDirectFiles(): DirectFiles {
  const pool = createAlignedBuffers(bufferBytes, buffers);
  let supported = true;
  /** Says no once, and nobody asks again. */
  const refused = (error: unknown): boolean => {
    if ((error as NodeJS.ErrnoException).code !== 'EINVAL') return false;
    supported = false;
    return true;
  };
  return {
    writeBytes: bufferBytes,
    async open(path) {
      if (!supported || constants.O_DIRECT === undefined) return undefined;
      let fd: number;
      try {
        fd = await open(filePath(path), constants.O_WRONLY | constants.O_DIRECT);
      } catch (error) {
        if (refused(error)) return undefined;
        throw error;
      }
      return {
        async write(bytes, position, fill) {
          const buffer = await pool.take();
          try {
            fill(buffer);
            let done = 0;
            while (done < bytes) {
              const { bytesWritten } = await write(fd, buffer, done, bytes - done, position + done);
              done += bytesWritten;
            }
            return true;
          } catch (error) {
            if (refused(error)) return false;
            throw error;
          } finally {
            pool.give(buffer);
          }
        },
        close: () => close(fd),
      };
    },
  };
}
