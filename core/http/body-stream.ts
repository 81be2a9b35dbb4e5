import type { IncomingMessage } from 'node:http';
import { Readable } from 'node:stream';

/**
 * The body of `request` as a stream that its reader may destroy. Destroying the request itself would end the connection, and
 * with it the response that says what was wrong. It fails with the connection's error when the client leaves in the middle.
 * `arrived` is told the size of every chunk.
 */
export function bodyStream(request: IncomingMessage, arrived: (bytes: number) => void = () => {}): Readable {
  const body = new Readable({
    highWaterMark: 256 * 1024,
    read() {
      request.resume();
    },
    destroy(error, callback) {
      request.removeListener('data', onData);
      request.removeListener('end', onEnd);
      callback(error);
    },
  });
  // Nobody may be reading when the client leaves: before the first read, or after a failure. That must not end the process.
  body.on('error', () => {});
  const onData = (chunk: Buffer): void => {
    if (!body.push(chunk)) request.pause();
    arrived(chunk.length);
  };
  const onEnd = (): void => {
    body.push(null);
  };
  request.on('data', onData);
  request.on('end', onEnd);
  request.once('error', (error) => body.destroy(error));
  request.once('close', () => {
    if (!request.complete) body.destroy(new Error('the client left in the middle of the body'));
  });
  return body;
}
