import { Agent, type IncomingHttpHeaders, type OutgoingHttpHeaders, request } from 'node:http';
import type { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { pipeline } from 'node:stream/promises';

export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
}

/** No answer came, or only a part of one: what the request did is unknown. */
export class ConnectionLost extends Error {
  override readonly name = 'ConnectionLost';
}

/** No answer came in time, though the connection stands: a fault of the server, whoever was killed. */
export class NoAnswer extends Error {
  override readonly name = 'NoAnswer';
}

export interface Http {
  /** `path` may be an address, as a Location is. Errors: ConnectionLost, NoAnswer. */
  send(
    method: string,
    path: string,
    options?: { headers?: OutgoingHttpHeaders; body?: Buffer | Readable; signal?: AbortSignal },
  ): Promise<Answer>;
  close(): void;
}

/** Plain HTTP over few connections that are used again, as real clients do; `base` is asked before each request. */
export function createHttp(base: () => string, timeoutMs = 20_000): Http {
  const agent = new Agent({ keepAlive: true, maxSockets: 8 });
  return {
    send(method, path, { headers = {}, body, signal } = {}) {
      const url = new URL(path, base());
      return new Promise<Answer>((resolve, reject) => {
        let late = false;
        const message = request(url, {
          method,
          agent,
          headers: Buffer.isBuffer(body) ? { 'content-length': body.length, ...headers } : headers,
          ...(signal === undefined ? {} : { signal }),
        });
        const timer = setTimeout(() => {
          late = true;
          message.destroy();
        }, timeoutMs);
        const fail = (cause: unknown): void => {
          clearTimeout(timer);
          const what = `${method} ${url.pathname}`;
          reject(
            late
              ? new NoAnswer(`${what}: no answer after ${timeoutMs} ms`)
              : new ConnectionLost(what, { cause }),
          );
        };
        message.on('error', fail);
        message.on('response', (response) => {
          buffer(response).then((bytes) => {
            clearTimeout(timer);
            const { statusCode: status = 0 } = response;
            if (response.complete) resolve({ status, headers: response.headers, body: bytes });
            else fail(new Error('the answer was cut'));
          }, fail);
        });
        if (body === undefined || Buffer.isBuffer(body)) {
          message.end(body);
        } else {
          pipeline(body, message).catch(fail);
        }
      });
    },
    close: () => agent.destroy(),
  };
}
