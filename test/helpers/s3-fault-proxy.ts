import { once } from 'node:events';
import { createServer, request as httpRequest, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createSecureServer } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import { buffer } from 'node:stream/consumers';

export interface ProxiedRequest {
  readonly method: string;
  /** As it came, with its query. */
  readonly url: string;
}

/**
 * What happens to one request:
 * - `answer`: it never reaches the store. `answerAfter`: it does, and its answer is replaced.
 * - `resetBefore`, `resetAfter`: the connection breaks before or after the store carried it out.
 * - `late`: the client hears 500 at once, the store hears of it once the promise resolves.
 * - `truncate`: so many bytes of the answer's body, then the connection breaks.
 * - `stall`: so many bytes of the body, then nothing more.
 * - `delay`: milliseconds before it is passed on.
 */
export type ProxyFault =
  | { readonly answer: number; readonly code?: string }
  | { readonly answerAfter: number }
  | 'resetBefore'
  | 'resetAfter'
  | { readonly late: Promise<void> }
  | { readonly truncate: number }
  | { readonly stall: number }
  | { readonly delay: number };

export interface S3FaultProxy {
  /** `http://127.0.0.1:<port>` (`https:` with a certificate), to be used instead of the store's own. */
  readonly endpoint: string;
  /** Every request so far. */
  readonly seen: ProxiedRequest[];
  /** Asked for each request; undefined lets it through. */
  fault: (request: ProxiedRequest) => ProxyFault | undefined;
  /** Resolves when requests that were passed on late have been answered by the store. */
  settled(): Promise<void>;
  stop(): Promise<void>;
}

/** Stands before a real S3 store and does to requests what networks and stores do. Signatures stay good: the Host header is passed on. */
export async function startS3FaultProxy(
  target: string,
  certificate?: { readonly key: string; readonly cert: string },
): Promise<S3FaultProxy> {
  const { hostname, port } = new URL(target);
  const seen: ProxiedRequest[] = [];
  const sockets = new Set<Socket>();
  const late = new Set<Promise<unknown>>();

  const pass = async (incoming: IncomingMessage, body: Buffer): Promise<IncomingMessage> => {
    const outgoing = httpRequest({
      host: hostname,
      port,
      method: incoming.method,
      path: incoming.url,
      headers: incoming.headers,
      setHost: false,
      agent: false,
    });
    outgoing.end(body);
    const [answer] = (await once(outgoing, 'response')) as [IncomingMessage];
    return answer;
  };
  const send = (response: ServerResponse, answer: IncomingMessage, body: Buffer): void => {
    response.writeHead(answer.statusCode ?? 502, answer.rawHeaders);
    response.end(body);
  };
  const refuse = (response: ServerResponse, status: number, code = 'InternalError'): void => {
    response.writeHead(status, { 'content-type': 'application/xml', connection: 'close' });
    response.end(`<?xml version="1.0"?><Error><Code>${code}</Code><Message>fault</Message></Error>`);
  };

  const handle = async (incoming: IncomingMessage, response: ServerResponse): Promise<void> => {
    const request = { method: incoming.method ?? '', url: incoming.url ?? '' };
    seen.push(request);
    const fault = proxy.fault(request);
    const body = await buffer(incoming);
    const socket = incoming.socket;
    if (fault === 'resetBefore') {
      socket.resetAndDestroy();
    } else if (fault === 'resetAfter') {
      await buffer(await pass(incoming, body));
      socket.resetAndDestroy();
    } else if (fault === undefined || 'delay' in fault) {
      if (fault !== undefined) await new Promise((resolve) => setTimeout(resolve, fault.delay));
      const answer = await pass(incoming, body);
      send(response, answer, await buffer(answer));
    } else if ('answer' in fault) {
      refuse(response, fault.answer, fault.code);
    } else if ('answerAfter' in fault) {
      await buffer(await pass(incoming, body));
      refuse(response, fault.answerAfter);
    } else if ('late' in fault) {
      refuse(response, 500);
      const landing = fault.late.then(async () => buffer(await pass(incoming, body)));
      late.add(landing);
    } else {
      const answer = await pass(incoming, body);
      const whole = await buffer(answer);
      const bytes = 'truncate' in fault ? fault.truncate : fault.stall;
      response.writeHead(answer.statusCode ?? 502, answer.rawHeaders);
      response.write(whole.subarray(0, bytes), () => {
        if ('truncate' in fault) socket.destroy();
      });
    }
  };
  const listener = (incoming: IncomingMessage, response: ServerResponse): void => {
    handle(incoming, response).catch(() => incoming.socket.destroy());
  };
  const server =
    certificate === undefined ? createServer(listener) : createSecureServer(certificate, listener);
  server.on('connection', (socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');

  const proxy: S3FaultProxy = {
    endpoint: `${certificate === undefined ? 'http' : 'https'}://127.0.0.1:${(server.address() as AddressInfo).port}`,
    seen,
    fault: () => undefined,
    async settled() {
      await Promise.all(late);
    },
    async stop() {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
  return proxy;
}
