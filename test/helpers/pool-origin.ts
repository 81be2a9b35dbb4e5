import { once } from 'node:events';
import {
  Agent,
  createServer,
  type IncomingMessage,
  type OutgoingHttpHeaders,
  request,
  type ServerResponse,
} from 'node:http';
import type { AddressInfo } from 'node:net';
import { pipeline } from 'node:stream/promises';
import { createMemoryStore } from '../../core/object-store/memory.ts';
import type { Registry } from '../../oci/registry.ts';
import { createStoredRegistry } from '../../registry/stored-registry.ts';
import { startRegistryServer } from './registry-server.ts';

/** What a pool asked its origin for. */
export interface OriginRequest {
  readonly method: string;
  /** With the query, as it came. */
  readonly path: string;
  readonly headers: IncomingMessage['headers'];
  /** Bytes of the body that came so far. */
  received: number;
  /** Undefined while nothing was answered. */
  status?: number;
}

/** How the origin treats one request. Offsets count in the whole blob, also where a part of it is answered. */
export type OriginBehaviour =
  /** Answers by itself. */
  | { readonly status: number; readonly headers?: OutgoingHttpHeaders; readonly body?: Buffer | string }
  /** Takes the request and never answers. */
  | { readonly hang: true }
  /** Gets to the registry only then. */
  | { readonly after: Promise<unknown> }
  /** Breaks the connection before this byte of the body. */
  | { readonly cutBefore: number }
  /** One bit of this byte is wrong. */
  | { readonly damage: number }
  /** Nothing from this byte on leaves before `until`. */
  | { readonly pauseBefore: number; readonly until: Promise<unknown> };

/** A real registry behind a listener that writes down what a pool asks, and can be told to misbehave as networks and registries do. */
export interface PoolOrigin extends AsyncDisposable {
  readonly url: string;
  /** `host:port` */
  readonly host: string;
  /** The registry itself, past the listener. */
  readonly registry: Registry;
  /** In the order in which they came. */
  readonly seen: OriginRequest[];
  /** Asked for every request; undefined: as the registry answers. */
  rule: ((seen: OriginRequest) => OriginBehaviour | undefined) | undefined;
  /** Reads without Authorization are answered 401 with this challenge. */
  wants: string | undefined;
  /** Bytes of bodies that left for requests whose path has this in it. */
  bodyBytes(part: string): number;
  /** Nobody listens any more, and every connection is broken. */
  refuse(): Promise<void>;
  /** Listens again, where it did. */
  accept(): Promise<void>;
  close(): Promise<void>;
}

export async function startPoolOrigin(): Promise<PoolOrigin> {
  const registry = createStoredRegistry({ store: createMemoryStore() });
  const behind = await startRegistryServer(registry);
  const agent = new Agent({ keepAlive: true, maxSockets: 512 });
  const seen: OriginRequest[] = [];
  const sent: { path: string; bytes: number }[] = [];

  async function answer(incoming: IncomingMessage, response: ServerResponse): Promise<void> {
    const { method = '', url: path = '', headers } = incoming;
    const note: OriginRequest = { method, path, headers, received: 0 };
    seen.push(note);
    incoming.on('data', (chunk: Buffer) => {
      note.received += chunk.length;
    });
    incoming.pause();
    response.on('close', () => {
      note.status = response.statusCode;
    });
    if (origin.wants !== undefined && headers.authorization === undefined) {
      incoming.resume();
      response.writeHead(401, { 'www-authenticate': origin.wants, 'content-length': 0 }).end();
      return;
    }
    const behaviour = origin.rule?.(note);
    if (behaviour !== undefined && 'hang' in behaviour) return;
    if (behaviour !== undefined && 'status' in behaviour) {
      incoming.resume();
      response.writeHead(behaviour.status, behaviour.headers).end(behaviour.body);
      return;
    }
    if (behaviour !== undefined && 'after' in behaviour) await behaviour.after;
    // The registry behind is open; what Authorization a pool sends is only noted.
    const { authorization: _, ...passed } = headers;
    const onward = request({ host: '127.0.0.1', port: behind.port, agent, method, path, headers: passed });
    const answered = once(onward, 'response') as Promise<[IncomingMessage]>;
    await Promise.all([pipeline(incoming, onward), answered]);
    const [reply] = await answered;
    response.writeHead(reply.statusCode ?? 502, reply.rawHeaders);
    const start = Number(/^bytes (\d+)-/.exec(reply.headers['content-range'] ?? '')?.[1] ?? 0);
    const count = { path, bytes: 0 };
    sent.push(count);
    await pipeline(
      misbehaving(reply, start, behaviour, (bytes) => {
        count.bytes += bytes;
      }),
      response,
    );
  }

  const server = createServer({ requestTimeout: 0 }, (incoming, response) => {
    answer(incoming, response).catch(() => response.destroy());
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;

  const refuse = async (): Promise<void> => {
    if (!server.listening) return;
    server.close();
    server.closeAllConnections();
    await once(server, 'close');
  };
  const close = async (): Promise<void> => {
    await refuse();
    agent.destroy();
    await behind.close();
  };
  const origin: PoolOrigin = {
    url: `http://127.0.0.1:${port}`,
    host: `127.0.0.1:${port}`,
    registry,
    seen,
    rule: undefined,
    wants: undefined,
    bodyBytes: (part) =>
      sent.filter(({ path }) => path.includes(part)).reduce((sum, { bytes }) => sum + bytes, 0),
    refuse,
    async accept() {
      server.listen(port, '127.0.0.1');
      await once(server, 'listening');
    },
    close,
    [Symbol.asyncDispose]: close,
  };
  return origin;
}

async function* misbehaving(
  body: AsyncIterable<Buffer>,
  start: number,
  behaviour: OriginBehaviour | undefined,
  left: (bytes: number) => void,
): AsyncGenerator<Buffer> {
  let position = start;
  for await (const chunk of body) {
    for (const piece of cutChunk(chunk, position, behaviour)) {
      if (behaviour !== undefined && position === offsetOf(behaviour)) {
        if ('cutBefore' in behaviour) throw new Error('cut');
        if ('pauseBefore' in behaviour) await behaviour.until;
        if ('damage' in behaviour) piece[0] = (piece[0] ?? 0) ^ 1;
      }
      position += piece.length;
      left(piece.length);
      yield piece;
    }
  }
}

/** Two pieces where something happens within the chunk; copied, as the memory store's own bytes must stay right. */
function cutChunk(chunk: Buffer, position: number, behaviour: OriginBehaviour | undefined): Buffer[] {
  const at = (behaviour === undefined ? -1 : offsetOf(behaviour)) - position;
  if (at < 0 || at >= chunk.length) return [chunk];
  return [chunk.subarray(0, at), Buffer.from(chunk.subarray(at))].filter(({ length }) => length > 0);
}

function offsetOf(behaviour: OriginBehaviour): number {
  if ('cutBefore' in behaviour) return behaviour.cutBefore;
  if ('pauseBefore' in behaviour) return behaviour.pauseBefore;
  return 'damage' in behaviour ? behaviour.damage : -1;
}
