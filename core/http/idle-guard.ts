import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';

/**
 * Ends connections on which nothing moves, instead of limiting how long a request may take: a 10 GB layer over a slow
 * line takes hours and is fine, a client that went silent in the middle of it is not.
 */
export interface IdleGuard {
  /** While the body of `request` is read. It stops by itself when the body or the connection ends. */
  watchBody(request: IncomingMessage): void;
  /** While the body of `response` is written; until it is sent. */
  watchResponse(response: ServerResponse): void;
}

/** `timeoutMs`: without a byte for so long, the connection is ended. */
export function createIdleGuard(timeoutMs: number): IdleGuard {
  const watched = new WeakSet<IncomingMessage>();
  return {
    watchBody(request) {
      const { socket } = request;
      if (request.complete || request.destroyed || watched.has(request)) return;
      watched.add(request);
      const onTimeout = (): void => {
        // Bytes that wait for us are our slowness (a busy disk), not the client's.
        if (request.readableLength > 0 || request.isPaused()) socket.setTimeout(timeoutMs);
        else socket.destroy(new Error('no bytes of the request arrived within the idle time-out'));
      };
      watch(socket, onTimeout);
      request.once('close', () => unwatch(socket, onTimeout));
    },
    watchResponse(response) {
      const { socket } = response;
      // Not connected any more, or a test's injected request.
      if (socket === null) return;
      const onTimeout = (): void => {
        // Nothing to send: the store is slow, and the client waits for us.
        if (socket.writableLength === 0) socket.setTimeout(timeoutMs);
        else socket.destroy(new Error('no bytes of the response left within the idle time-out'));
      };
      watch(socket, onTimeout);
      response.once('close', () => unwatch(socket, onTimeout));
    },
  };

  function watch(socket: Socket, onTimeout: () => void): void {
    socket.setTimeout(timeoutMs);
    socket.on('timeout', onTimeout);
  }
  function unwatch(socket: Socket, onTimeout: () => void): void {
    socket.removeListener('timeout', onTimeout);
    // Behind the last byte of an answer Node has begun to count until it ends an unused connection; without that it would stand for ever.
    if (socket.timeout === timeoutMs) socket.setTimeout(0);
  }
}
