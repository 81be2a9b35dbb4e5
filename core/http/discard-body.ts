import type { IncomingMessage } from 'node:http';

/**
 * Reads and drops what is left of a body, for a response that was decided before the body was read: end that response only
 * afterwards. Else Node may close the connection on unread bytes, which resets it, and a client that writes first and reads
 * afterwards never sees the answer. The limit is for those who would send for ever: beyond it the connection is ended.
 */
export function discardBody(request: IncomingMessage, limit = 32 * 1024 * 1024): Promise<void> {
  return new Promise((resolve) => {
    if (request.complete || request.destroyed) {
      request.resume();
      resolve();
      return;
    }
    let left = limit;
    // A reader that gave up in the middle would pause the request when its own buffer is full, and the rest would never come.
    request.removeAllListeners('data');
    request.on('data', (chunk: Buffer) => {
      left -= chunk.length;
      if (left < 0) request.socket.destroy();
    });
    request.on('error', () => {});
    request.once('end', resolve);
    request.once('close', resolve);
    request.resume();
  });
}
