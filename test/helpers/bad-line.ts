import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

/**
 * How a line to a server goes wrong. `hanging`: whoever connects gets no answer, and what is open says nothing more; a number: every request is answered with
 * that status; `slow`: 1,000 bytes a second come back over each connection.
 */
export type LineFault = 'none' | 'refused' | 'hanging' | 'slow' | 500 | 503 | 429;

/** A TCP proxy whose line goes wrong when a test says so. */
export interface BadLine extends AsyncDisposable {
  readonly url: string;
  readonly port: number;
  set(fault: LineFault): Promise<void>;
  /** Connections that were accepted so far. */
  connections(): number;
  close(): Promise<void>;
}

const slowBytes = 100;
const slowEveryMs = 100;

export async function startBadLine(target: number): Promise<BadLine> {
  let fault: LineFault = 'none';
  let connections = 0;
  const sockets = new Set<Socket>();
  const server = createServer((client) => {
    connections += 1;
    track(client);
    if (typeof fault === 'number') {
      const status = fault;
      client.on('data', () => {
        client.end(`HTTP/1.1 ${status} Trouble\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`);
      });
      return;
    }
    const upstream = connect(target, '127.0.0.1');
    track(upstream);
    for (const [from, to] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      from.on('close', () => to.destroy());
    }
    client.on('data', (chunk: Buffer) => {
      if (fault !== 'hanging') upstream.write(chunk);
    });
    upstream.on('data', (chunk: Buffer) => {
      if (fault === 'slow') trickle(upstream, client, chunk);
      else if (fault !== 'hanging' && !client.write(chunk)) {
        upstream.pause();
        client.once('drain', () => upstream.resume());
      }
    });
  });
  const track = (socket: Socket): void => {
    sockets.add(socket);
    socket.on('error', () => {});
    socket.on('close', () => sockets.delete(socket));
  };
  const listen = async (port: number): Promise<number> => {
    server.listen(port, '127.0.0.1');
    await once(server, 'listening');
    return (server.address() as AddressInfo).port;
  };
  const refuse = async (): Promise<void> => {
    if (!server.listening) return;
    const closed = once(server, 'close');
    server.close();
    for (const socket of sockets) socket.destroy();
    await closed;
  };
  const port = await listen(0);
  return {
    url: `http://127.0.0.1:${port}`,
    port,
    connections: () => connections,
    async set(next) {
      fault = next;
      // A server that hangs keeps its connections.
      if (next !== 'hanging') for (const socket of sockets) socket.destroy();
      if (next === 'refused') await refuse();
      else if (!server.listening) await listen(port);
    },
    close: refuse,
    [Symbol.asyncDispose]: refuse,
  };
}

function trickle(from: Socket, to: Socket, chunk: Buffer): void {
  from.pause();
  let sent = 0;
  const timer = setInterval(() => {
    if (to.destroyed || sent >= chunk.length) {
      clearInterval(timer);
      from.resume();
      return;
    }
    to.write(chunk.subarray(sent, sent + slowBytes));
    sent += slowBytes;
  }, slowEveryMs);
}
