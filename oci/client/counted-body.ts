import { pipeline, type Readable, Transform } from 'node:stream';
import { OciError } from '../errors.ts';

/** A body on its way to a server, that sends no more than was announced and tells afterwards whether it was that much. */
export interface CountedBody {
  readonly stream: Readable;
  /** Bytes sent so far. */
  sent(): number;
  /** Errors: SIZE_INVALID. */
  check(): void;
}

/** `strict`: a body that ends early fails while it is sent, as a Content-Length would leave the server waiting for the rest. */
export function countBody(body: Readable, length: number | undefined, strict: boolean): CountedBody {
  let seen = 0;
  const wrong = (): boolean => length !== undefined && seen !== length;
  const stream = new Transform({
    highWaterMark: 256 * 1024,
    transform(chunk: Buffer, _encoding, callback) {
      const room = length === undefined ? chunk.length : Math.max(0, length - seen);
      seen += chunk.length;
      callback(null, chunk.length <= room ? chunk : chunk.subarray(0, room));
    },
    flush(callback) {
      callback(strict && length !== undefined && seen < length ? new OciError('SIZE_INVALID') : null);
    },
  });
  // An error of `body` reaches whoever reads `stream`; should nobody do so any more, it must not end the process.
  stream.on('error', () => {});
  pipeline(body, stream, () => {});
  return {
    stream,
    sent: () => (length === undefined ? seen : Math.min(seen, length)),
    check() {
      if (wrong()) throw new OciError('SIZE_INVALID');
    },
  };
}
