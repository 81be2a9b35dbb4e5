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

/** Another HTTP server that a request is handed to. */
export interface RouteTarget {
  readonly host: string;
  readonly port: number;
}

export interface Router extends AsyncDisposable {
  /** `http://127.0.0.1:<port>` */
  readonly url: string;
  readonly port: number;
  /** Requests handed on so far. */
  readonly routed: number;
  close(): Promise<void>;
}

/**
 * A plain HTTP balancer: hands each request, not each connection, to the target that `choose` names, with its headers as they came (Host
 * too, so that answers point back here), and streams both bodies. What breaks on one side is broken off on the other. `choose` may answer
 * undefined: 502.
 */
export async function startRouter(
  choose: (request: IncomingMessage) => RouteTarget | undefined,
): Promise<Router> {
  const agent = new Agent({ keepAlive: true, maxSockets: 512 });
  let routed = 0;
  const server = createServer({ requestTimeout: 0 }, (incoming, outgoing) => {
    const target = choose(incoming);
    routed += 1;
    if (target === undefined) outgoing.writeHead(502).end();
    else void handOn(agent, target, incoming, outgoing);
  });
  // The target says whether the client may go on; until then its answer would be ours.
  server.on('checkContinue', (incoming: IncomingMessage, outgoing: ServerResponse) => {
    outgoing.writeContinue();
    server.emit('request', incoming, outgoing);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const close = async (): Promise<void> => {
    server.closeAllConnections();
    server.close();
    await once(server, 'close');
    agent.destroy();
  };
  return {
    url: `http://127.0.0.1:${port}`,
    port,
    get routed() {
      return routed;
    },
    close,
    [Symbol.asyncDispose]: close,
  };
}

async function handOn(
  agent: Agent,
  target: RouteTarget,
  incoming: IncomingMessage,
  outgoing: ServerResponse,
): Promise<void> {
  const { method, url: path } = incoming;
  const forwarded = request({ ...target, agent, method, path, headers: headersOf(incoming) });
  outgoing.once('close', () => forwarded.destroy());
  // A target may answer before it has read the whole body; its answer counts then.
  pipeline(incoming, forwarded).catch(() => {});
  try {
    const answer = await answerTo(forwarded);
    outgoing.writeHead(answer.statusCode ?? 502, answer.statusMessage, answer.rawHeaders);
    await pipeline(answer, outgoing);
  } catch {
    // Half an answer must not look like a whole one.
    if (outgoing.headersSent) outgoing.destroy();
    else outgoing.writeHead(502, { connection: 'close' }).end();
  }
}

function answerTo(forwarded: ReturnType<typeof request>): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    forwarded.on('response', resolve);
    forwarded.on('error', reject);
    forwarded.on('close', () => reject(new Error('closed')));
  });
}

function headersOf(incoming: IncomingMessage): OutgoingHttpHeaders {
  const headers: Record<string, string[]> = {};
  const raw = incoming.rawHeaders;
  for (let at = 0; at + 1 < raw.length; at += 2) {
    const name = raw[at] ?? '';
    // Of this connection alone. Without Expect the body is sent at once: our client was told to go on already.
    if (/^(?:connection|keep-alive|expect)$/i.test(name)) continue;
    (headers[name] ??= []).push(raw[at + 1] ?? '');
  }
  return Object.fromEntries(
    Object.entries(headers).map(([name, values]) => [name, values.length === 1 ? values[0] : values]),
  );
}
