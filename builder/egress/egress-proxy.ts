import { lookup } from 'node:dns/promises';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { connect, isIP, type LookupFunction, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createServer, request as requestHttp } from '../../core/http/node-http.ts';
import { createEgressLedger } from './egress-ledger.ts';
import { type EgressPolicy, normalHost, privateReason } from './egress-policy.ts';

export interface EgressProxyOptions {
  readonly policy: EgressPolicy;
  readonly limits: EgressLimits;
  /** The build's log. */
  readonly log: (line: string) => void;
  /** All addresses of a name. Default: the system's resolver. Errors: those of DNS. */
  readonly resolve?: (
    host: string,
  ) => Promise<readonly { readonly address: string; readonly family: number }[]>;
}

export interface EgressLimits {
  /** Bytes in both directions; then nothing more is reached. */
  readonly bytes: number;
  /** Connections at the same time. */
  readonly connections: number;
}

export const egressLimits: EgressLimits = { bytes: 20 * 1024 ** 3, connections: 128 };

/** An HTTP proxy for the commands of one step: `CONNECT`, and requests with an absolute `http://` address. */
export interface EgressProxy {
  /** Takes over a connection of the build. */
  accept(connection: Duplex): void;
  /** Ends all connections and says in the log what was reached. */
  close(): void;
}

const connectMilliseconds = 30_000;
const idleMilliseconds = 10 * 60_000;

/** RFC 9110, 7.6.1, and those that speak to a proxy. */
const hopHeaders =
  'connection keep-alive proxy-connection proxy-authorization proxy-authenticate te trailer transfer-encoding upgrade'.split(
    ' ',
  );

/**
 * A name is resolved once, its addresses are judged, and one of those is connected to: no second answer of DNS can lead elsewhere. Redirects are
 * followed by the client, and so judged as well.
 */
export function createEgressProxy(options: EgressProxyOptions): EgressProxy {
  const { policy, limits, log, resolve = resolveAll } = options;
  const clients = new Set<Duplex>();
  const ledger = createEgressLedger({ bytes: limits.bytes, log });

  /** Where to connect to, or why not. */
  async function judge(host: string, port: number): Promise<{ lookup: LookupFunction } | Refusal> {
    if (ledger.isSpent()) return { status: 403, reason: 'this build has moved as many bytes as it may' };
    const reason = policy.refusal(host, port);
    if (reason !== undefined) return { status: 403, reason };
    const name = normalHost(host);
    try {
      const all = isIP(name) === 0 ? await resolve(name) : [{ address: name, family: isIP(name) }];
      const allowed = all.filter(({ address }) => policy.mayConnect(name, port, address));
      if (allowed.length === 0) return { status: 403, reason: privateReason };
      return { lookup: pinned(allowed) };
    } catch (error) {
      return { status: 502, reason: `its name could not be resolved (${codeOf(error)})` };
    }
  }

  async function tunnel(request: IncomingMessage, client: Duplex, head: Buffer): Promise<void> {
    const target = parseAuthority(request.url ?? '');
    if (target === undefined) return refuseTunnel(client, 400, 'CONNECT needs HOST:PORT');
    const { host, port } = target;
    const place = `${host}:${port}`;
    const found = await judge(host, port);
    if ('reason' in found) {
      ledger.refused(place, found.reason);
      return refuseTunnel(client, found.status, `${place}: ${found.reason}`);
    }
    const upstream = connect({ host: normalHost(host), port, lookup: found.lookup, allowHalfOpen: true });
    try {
      await connected(upstream);
    } catch (error) {
      upstream.destroy();
      const reason = `it did not answer (${codeOf(error)})`;
      ledger.refused(place, reason);
      return refuseTunnel(client, 502, `${place}: ${reason}`);
    }
    ledger.opened(place, upstream);
    client.write('HTTP/1.1 200 Connection established\r\n\r\n');
    if (head.length > 0) upstream.write(head);
    // Whichever side breaks off, the other one has nothing to wait for.
    await Promise.all([pipeline(client, upstream), pipeline(upstream, client)]).catch(() => {
      upstream.destroy();
      client.destroy();
    });
  }

  async function forward(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const text = request.url ?? '';
    const url = /^http:\/\//i.test(text) && URL.canParse(text) ? new URL(text) : undefined;
    if (url === undefined) return refuse(response, 400, 'this is a proxy for http:// addresses and CONNECT');
    const port = url.port === '' ? 80 : Number(url.port);
    const place = `${url.hostname}:${port}`;
    const found = await judge(url.hostname, port);
    if ('reason' in found) {
      ledger.refused(place, found.reason);
      return refuse(response, found.status, `${place}: ${found.reason}`);
    }
    const upstream = requestHttp({
      host: normalHost(url.hostname),
      port,
      path: `${url.pathname}${url.search}`,
      method: request.method ?? 'GET',
      headers: { ...endToEnd(request.headers), host: url.host },
      lookup: found.lookup,
      agent: false,
    });
    upstream.once('socket', (socket) => {
      socket.setTimeout(connectMilliseconds, () => socket.destroy(new Error('timed out')));
      socket.once('connect', () => {
        socket.setTimeout(idleMilliseconds);
        ledger.opened(place, socket);
      });
    });
    try {
      const answered = new Promise<IncomingMessage>((done, fail) => {
        upstream.once('response', done);
        upstream.once('error', fail);
      });
      // A server may answer before it has read everything; its answer is what counts.
      pipeline(request, upstream).catch(() => {});
      const answer = await answered;
      response.writeHead(answer.statusCode ?? 502, endToEnd(answer.headers));
      await pipeline(answer, response);
    } catch (error) {
      const reason = `it did not answer (${codeOf(error)})`;
      ledger.refused(place, reason);
      refuse(response, 502, `${place}: ${reason}`);
    } finally {
      upstream.destroy();
    }
  }

  const server = createServer({ requestTimeout: 0, headersTimeout: 60_000 }, (request, response) => {
    forward(request, response).catch(() => response.destroy());
  });
  server.on('connect', (request, client, head) => {
    client.on('error', () => client.destroy());
    tunnel(request, client, head).catch(() => client.destroy());
  });
  server.on('clientError', (_, client) => client.destroy());

  return {
    accept(connection) {
      connection.on('error', () => connection.destroy());
      if (clients.size >= limits.connections) {
        ledger.note(`more than ${limits.connections} connections at once; further ones are turned away`);
        connection.destroy();
        return;
      }
      clients.add(connection);
      connection.once('close', () => clients.delete(connection));
      server.emit('connection', connection);
    },
    close() {
      for (const client of clients) client.destroy();
      ledger.close();
    },
  };
}

interface Refusal {
  readonly status: 400 | 403 | 502;
  readonly reason: string;
}

const statusTexts = { 400: 'Bad Request', 403: 'Forbidden', 502: 'Bad Gateway' } as const;

function refuseTunnel(client: Duplex, status: Refusal['status'], message: string): void {
  const body = `${message}\n`;
  client.end(
    `HTTP/1.1 ${status} ${statusTexts[status]}\r\ncontent-type: text/plain\r\nconnection: close\r\n` +
      `content-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
  );
}

function refuse(response: ServerResponse, status: Refusal['status'], message: string): void {
  if (response.headersSent) {
    response.destroy();
    return;
  }
  response.writeHead(status, { 'content-type': 'text/plain', connection: 'close' }).end(`${message}\n`);
}

/** `host:port` or `[IPv6]:port`. */
function parseAuthority(text: string): { host: string; port: number } | undefined {
  const [, host = '', port = ''] = /^(\[[0-9a-f:.]+\]|[^:[\]/@\s]+):(\d{1,5})$/i.exec(text) ?? [];
  if (host === '' || Number(port) < 1 || Number(port) > 65_535) return undefined;
  return { host, port: Number(port) };
}

function endToEnd(headers: IncomingMessage['headers']): IncomingMessage['headers'] {
  const named = (headers.connection ?? '').toLowerCase().split(/\s*,\s*/);
  return Object.fromEntries(
    Object.entries(headers).filter(([name]) => !hopHeaders.includes(name) && !named.includes(name)),
  );
}

function pinned(addresses: readonly { readonly address: string; readonly family: number }[]): LookupFunction {
  return (_, options, callback) => {
    const [first] = addresses;
    if (options.all === true) callback(null, [...addresses]);
    else callback(null, first?.address ?? '', first?.family ?? 4);
  };
}

async function connected(socket: Socket): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    socket.setTimeout(connectMilliseconds, () => socket.destroy(new Error('timed out')));
    socket.once('connect', resolve);
    socket.once('error', reject);
  });
  socket.on('error', () => socket.destroy());
  socket.setTimeout(idleMilliseconds);
}

function resolveAll(host: string) {
  return lookup(host, { all: true });
}

function codeOf(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException;
  return code ?? message;
}
