import type { Readable } from 'node:stream';
import { OciError } from '../../oci/errors.ts';

/** A request's body, read chunk by chunk and no further than announced. Whatever goes wrong is told after the last chunk. */
export interface UploadBody {
  /** Undefined at the end, be it good or bad. */
  next(): Promise<Buffer | undefined>;
  /** SIZE_INVALID when the body ended early or brought more than `length`. */
  readonly failure: OciError | undefined;
}

/** The stream is not destroyed when reading stops early: an HTTP server still has to answer on its socket. */
export function createUploadBody(body: Readable, length: number | undefined): UploadBody {
  const iterator = body.iterator({ destroyOnReturn: false });
  let received = 0;
  let ended = false;
  let failure: OciError | undefined;
  const end = (problem?: OciError): undefined => {
    ended = true;
    failure = problem;
  };
  return {
    async next() {
      if (ended) return undefined;
      let result: IteratorResult<unknown>;
      try {
        result = await iterator.next();
      } catch (cause) {
        return end(new OciError('SIZE_INVALID', { message: 'the body ended early', cause }));
      }
      if (result.done === true) return end(length === undefined || received === length ? undefined : short());
      const chunk = asBuffer(result.value);
      const room = length === undefined ? chunk.length : length - received;
      received += chunk.length;
      if (chunk.length <= room) return chunk;
      end(new OciError('SIZE_INVALID', { message: 'the body is longer than announced' }));
      return room === 0 ? undefined : chunk.subarray(0, room);
    },
    get failure() {
      return failure;
    },
  };
}

function short(): OciError {
  return new OciError('SIZE_INVALID', { message: 'the body is shorter than announced' });
}

function asBuffer(chunk: unknown): Buffer {
  if (Buffer.isBuffer(chunk)) return chunk;
  if (typeof chunk === 'string') return Buffer.from(chunk);
  if (chunk instanceof Uint8Array) return Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
  throw new TypeError('an upload body must be a stream of bytes');
}

/** Collects chunks until there are more than `limit` bytes or the body ends. */
export async function readHead(body: UploadBody, limit: number): Promise<{ head: Buffer; ended: boolean }> {
  const chunks: Buffer[] = [];
  let size = 0;
  for (;;) {
    const chunk = await body.next();
    if (chunk !== undefined) {
      chunks.push(chunk);
      size += chunk.length;
      if (size <= limit) continue;
    }
    const [only] = chunks;
    return {
      head: chunks.length === 1 && only !== undefined ? only : Buffer.concat(chunks),
      ended: chunk === undefined,
    };
  }
}
