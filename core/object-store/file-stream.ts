import { close, read as readCallback, readSync } from 'node:fs';
import { Readable, type Writable } from 'node:stream';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { promisify } from 'node:util';
import { unavailable } from './file-errors.ts';
import type { ReadBuffers } from './read-buffers.ts';

const readAt = promisify(readCallback);

/** One read of a stream that somebody else reads: the trip through the thread pool is paid for each. */
const STREAM_CHUNK = 512 * 1024;
/** A read this short is done on the spot in any case. */
const READ_AT_ONCE = 64 * 1024;
/** A read that took longer came from the disk, not from the page cache (50 µs for a buffer). */
const SLOW_READ_MS = 1;
/** After a slow read, so many quick ones in a row until reads are done on the spot again. */
const QUICK_READS = 8;
/** Buffers sent before other requests get their turn: about a millisecond. */
const BUFFERS_PER_TURN = 8;

/** Bytes from `start` up to, not with, `end` of an open file, which it closes. At most two chunks are in memory. */
export class FileStream extends Readable {
  readonly #fd: number;
  readonly #end: number;
  readonly #buffers: ReadBuffers;
  #position: number;
  #quickReads = 0;

  constructor(fd: number, start: number, end: number, buffers: ReadBuffers) {
    super({ highWaterMark: STREAM_CHUNK });
    this.#fd = fd;
    this.#position = start;
    this.#end = end;
    this.#buffers = buffers;
  }

  /**
   * What `pipeline(this, target)` does, at a fifth of its cost: one buffer goes round, where a stream's reader may keep each chunk and so
   * needs fresh memory for it. Only for a stream that nobody has read from, and a target that is done with a chunk when it calls back
   * (a socket, a response; not a transform). Errors: ObjectStoreUnavailable (then `errored` is the same
   * error), or that `target` ended early.
   */
  async sendTo(target: Writable): Promise<void> {
    const buffer = this.#buffers.take();
    let reusable = true;
    let stopWaiting: ((reason: Error) => void) | undefined;
    const onEnd = (error?: Error): void => {
      stopWaiting?.(error ?? new Error('the client left in the middle of the object'));
    };
    const waited = (begin: (done: (error?: Error | null) => void) => void): Promise<void> =>
      new Promise((resolve, reject) => {
        stopWaiting = reject;
        begin((error) => (error ? reject(error) : resolve()));
        if (target.destroyed) onEnd();
      });
    // Who called is told by the promise; without listeners the process would be told as well, and end.
    this.on('error', () => {});
    target.once('error', onEnd);
    target.once('close', onEnd);
    try {
      for (let sent = 1; this.#position < this.#end; sent++) {
        reusable = false;
        const count = await this.#fill(buffer.bytes);
        await waited((done) => target.write(buffer.bytes.subarray(0, count), done));
        reusable = true;
        // Towards a fast client every write is done at once, and nobody else would be heard until the end.
        if (sent % BUFFERS_PER_TURN === 0) await nextTurn();
      }
      await waited((done) => target.end(done));
    } catch (error) {
      if (!this.destroyed) this.destroy();
      target.destroy();
      throw error;
    } finally {
      target.removeListener('close', onEnd);
      buffer.release(reusable);
      this.destroy();
    }
  }

  /**
   * From the page cache on the spot, which takes half as long as a trip through the thread pool; from the disk through the pool, as
   * this thread serves everybody. Which of the two it will be shows only afterwards, so the last reads are asked.
   */
  async #fill(buffer: Buffer): Promise<number> {
    this.#checkOpen();
    const length = Math.min(buffer.length, this.#end - this.#position);
    const started = performance.now();
    try {
      const count =
        length <= READ_AT_ONCE || this.#quickReads >= QUICK_READS
          ? readSync(this.#fd, buffer, 0, length, this.#position)
          : (await readAt(this.#fd, buffer, 0, length, this.#position)).bytesRead;
      // While the pool was busy somebody may have closed the file, and its number may be another file's.
      this.#checkOpen();
      if (count === 0) throw new Error('it is shorter than it was');
      this.#quickReads = performance.now() - started > SLOW_READ_MS ? 0 : this.#quickReads + 1;
      this.#position += count;
      return count;
    } catch (cause) {
      const error = unavailable('reading an object', cause);
      this.destroy(error);
      throw error;
    }
  }

  #checkOpen(): void {
    if (this.destroyed) throw this.errored ?? new Error('the object is not read any more');
  }

  override _read(): void {
    const length = Math.min(STREAM_CHUNK, this.#end - this.#position);
    if (length <= 0) {
      this.push(null);
      return;
    }
    readCallback(
      this.#fd,
      Buffer.allocUnsafeSlow(length),
      0,
      length,
      this.#position,
      (error, count, buffer) => {
        if (error !== null) {
          this.destroy(unavailable('reading an object', error));
        } else if (count === 0) {
          this.destroy(unavailable('reading an object', new Error('it is shorter than it was')));
        } else {
          this.#position += count;
          this.push(count === buffer.length ? buffer : buffer.subarray(0, count));
        }
      },
    );
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    // A read may still be under way, perhaps of another file that was given this number: it fills a buffer that nobody looks at.
    close(this.#fd, (closeError) => callback(error ?? closeError));
  }
}
