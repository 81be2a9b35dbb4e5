import { read as readCallback, readSync } from 'node:fs';
import type { ServerResponse } from 'node:http';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { promisify } from 'node:util';
import type { ReadBuffers } from '../../core/object-store/read-buffers.ts';

const readAt = promisify(readCallback);

/** A read that took longer came from the disk, not from the page cache. */
const slowReadMs = 1;
/** After a slow read, so many quick ones in a row until reads are done on the spot again. */
const enoughQuickReads = 8;
const readAtOnce = 64 * 1024;
/** Buffers sent before others get their turn. */
const buffersPerTurn = 8;

/** Bytes of open files to one client, with one buffer that goes round: no chunk is made anew, and none is kept. */
export interface Sender {
  /** Bytes `from` up to, not with, `to` of the file. Errors: the client left; the file is shorter. */
  readonly file: (fd: number, from: number, to: number) => Promise<void>;
  bytes(chunk: Buffer): Promise<void>;
  end(): Promise<void>;
  /** In any case, also after an error. */
  release(): void;
}

/** `wrote` is told of every piece. */
export function createSender(
  response: ServerResponse,
  buffers: ReadBuffers,
  wrote: (bytes: number) => void,
): Sender {
  const buffer = buffers.take();
  let reusable = true;
  let quickReads = 0;
  let turn = 0;
  let stopWaiting: ((reason: Error) => void) | undefined;
  const onEnd = (error?: Error): void => {
    stopWaiting?.(error ?? new Error('the client left in the middle of the answer'));
  };
  response.once('error', onEnd);
  response.once('close', onEnd);
  const waited = (begin: (done: (error?: Error | null) => void) => void): Promise<void> =>
    new Promise((resolve, reject) => {
      stopWaiting = reject;
      begin((error) => (error ? reject(error) : resolve()));
      if (response.destroyed) onEnd();
    });
  const write = async (bytes: Buffer): Promise<void> => {
    await waited((done) => response.write(bytes, done));
    wrote(bytes.length);
    // Towards a fast client every write is done at once, and nobody else would be heard until the end.
    if (++turn % buffersPerTurn === 0) await nextTurn();
  };
  /** Out of the page cache on the spot, which costs half of a trip through the thread pool; from the disk through the pool. */
  const fill = async (fd: number, position: number, length: number): Promise<number> => {
    const started = performance.now();
    const count =
      length <= readAtOnce || quickReads >= enoughQuickReads
        ? readSync(fd, buffer.bytes, 0, length, position)
        : (await readAt(fd, buffer.bytes, 0, length, position)).bytesRead;
    if (count === 0) throw new Error('a file of the cache is shorter than it was');
    quickReads = performance.now() - started > slowReadMs ? 0 : quickReads + 1;
    return count;
  };
  return {
    async file(fd, from, to) {
      for (let position = from; position < to; ) {
        reusable = false;
        const count = await fill(fd, position, Math.min(buffer.bytes.length, to - position));
        await write(buffer.bytes.subarray(0, count));
        reusable = true;
        position += count;
      }
    },
    bytes: write,
    end: () => waited((done) => response.end(done)),
    release() {
      response.removeListener('close', onEnd);
      response.removeListener('error', onEnd);
      buffer.release(reusable);
    },
  };
}
