import { createServer, type IncomingMessage, request, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { pipeline } from 'node:stream/promises';

export interface SeenRequest {
  readonly method: string;
  readonly path: string;
  readonly authorization: string | undefined;
}

/** Answers by itself and returns true, or leaves the request to the server behind. */
export type Interference = (request: IncomingMessage, response: ServerResponse) => boolean | Promise<boolean>;

/** A listener that passes requests on to a server (or to none), writes them down, and can be told to misbehave. */
export interface ObservedServer extends AsyncDisposable {
  readonly url: string;
  readonly host: string;
  readonly seen: SeenRequest[];
  /** What was asked for, as `GET /v2/…`, without those that only fetch tokens or are refused for lack of one. */
  reads(): string[];
  interfere: Interference | undefined;
  close(): Promise<void>;
}

/** `target` undefined: every request that nobody interferes with is answered 404. The Host header stays, so realms name this listener. */
export async function observeServer(target?: string): Promise<ObservedServer> {
  const seen: SeenRequest[] = [];
  const refused = new WeakSet<SeenRequest>();
  const server = createServer((incoming, response) => {
    const { method = '', url = '', headers } = incoming;
    const note = { method, path: url, authorization: headers.authorization };
    seen.push(note);
    response.on('finish', () => {
      if (response.statusCode === 401) refused.add(note);
    });
    answer(incoming, response).catch(() => response.destroy());
  });

  async function answer(incoming: IncomingMessage, response: ServerResponse): Promise<void> {
    if ((await observed.interfere?.(incoming, response)) === true) return;
    if (target === undefined) {
      response.writeHead(404).end();
      return;
    }
    const { hostname, port } = new URL(target);
    const { method, url, headers } = incoming;
    const onward = request({ hostname, port, method, path: url, headers, agent: false });
    const answered = new Promise<IncomingMessage>((resolve, reject) => {
      onward.once('response', resolve);
      onward.once('error', reject);
    });
    await pipeline(incoming, onward);
    const reply = await answered;
    response.writeHead(reply.statusCode ?? 502, reply.rawHeaders);
    await pipeline(reply, response);
  }

  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const host = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  const close = async (): Promise<void> => {
    server.closeAllConnections();
    if (!server.listening) return;
    await new Promise<void>((resolve) => server.close(() => resolve()));
  };
  const observed: ObservedServer = {
    url: `http://${host}`,
    host,
    seen,
    reads: () =>
      seen
        .filter((note) => !refused.has(note) && note.path.startsWith('/v2/'))
        .map(({ method, path }) => `${method} ${path}`),
    interfere: undefined,
    close,
    [Symbol.asyncDispose]: close,
  };
  return observed;
}
