import type { IncomingMessage } from 'node:http';

/**
 * Reads and drops what is left of a body, for a response that was decided before the body was read. Without it a client
 * that writes first and reads afterwards never sees the response (the kernel resets the connection when unread bytes are
 * closed); without the limit, a hostile one could send for ever.
 */
export function discardBody(request: IncomingMessage, limit = 32 * 1024 * 1024): void {
  if (request.readableEnded || request.destroyed) return;
  let left = limit;
  request.on('data', (chunk: Buffer) => {
    left -= chunk.length;
    if (left < 0) request.socket.destroy();
  });
  request.on('error', () => {});
  request.resume();
}
