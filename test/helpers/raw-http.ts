import { once } from 'node:events';
import { type IncomingHttpHeaders, type IncomingMessage, type OutgoingHttpHeaders, request } from 'node:http';
import { connect, type Socket } from 'node:net';
import { buffer } from 'node:stream/consumers';

export interface HttpAnswer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  /** Names and values as they came, repeated ones too. */
  readonly rawHeaders: readonly string[];
  readonly body: Buffer;
  /** The code of the spec's error body, where there is one. */
  readonly code: string | undefined;
}

/** One request, sent as written: neither redirects, nor corrections of the path. `path` may be a relative Location. */
export async function send(
  base: string,
  method: string,
  path: string,
  options: { headers?: OutgoingHttpHeaders; body?: Buffer | string } = {},
): Promise<HttpAnswer> {
  const { hostname, port } = new URL(base);
  const message = request({ hostname, port, method, path, headers: options.headers ?? {}, agent: false });
  message.end(options.body);
  const [response] = (await once(message, 'response')) as [IncomingMessage];
  // A server may end the connection behind its answer, while the rest of the body is still on its way.
  message.on('error', () => {});
  const body = await buffer(response);
  const { statusCode: status = 0, headers, rawHeaders } = response;
  return { status, headers, rawHeaders, body, code: codeOf(body) };
}

/** A TCP connection for what no HTTP client would send. */
export async function openSocket(base: string): Promise<Socket> {
  const { hostname, port } = new URL(base);
  const socket = connect(Number(port), hostname);
  await once(socket, 'connect');
  socket.on('error', () => {});
  return socket;
}

/** All that the server still sends, up to its closing the connection. */
export async function readToEnd(socket: Socket): Promise<string> {
  const chunks: Buffer[] = [];
  socket.on('data', (chunk: Buffer) => chunks.push(chunk));
  if (!socket.closed) await once(socket, 'close');
  return Buffer.concat(chunks).toString('latin1');
}

function codeOf(body: Buffer): string | undefined {
  try {
    const parsed = JSON.parse(body.toString()) as { errors?: { code?: string }[] };
    return parsed.errors?.[0]?.code;
  } catch {
    return undefined;
  }
}
