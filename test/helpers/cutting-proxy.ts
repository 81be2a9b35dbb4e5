import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

/** A TCP proxy of a line that breaks. */
export interface CuttingProxy {
  readonly url: string;
  /** Breaks every connection that has sent so many bytes to the server, so many times. */
  cutAfter(bytes: number, times: number): void;
  /** From so many bytes on nothing more of a connection arrives, though it stands. */
  stallAfter(bytes: number): void;
  /** Connections broken so far. */
  cuts(): number;
  /** Bytes that went to the server. */
  sent(): number;
  close(): Promise<void>;
}

export async function startCuttingProxy(port: number): Promise<CuttingProxy> {
  let limit = Number.POSITIVE_INFINITY;
  let stall = Number.POSITIVE_INFINITY;
  let left = 0;
  let cuts = 0;
  let sent = 0;
  const sockets = new Set<Socket>();
  const server = createServer((client) => {
    const upstream = connect(port, '127.0.0.1');
    let seen = 0;
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.on('error', () => {});
      socket.on('close', () => {
        sockets.delete(socket);
        client.destroy();
        upstream.destroy();
      });
    }
    client.on('data', (chunk: Buffer) => {
      seen += chunk.length;
      sent += chunk.length;
      if (seen > stall) {
        client.pause();
        return;
      }
      if (seen > limit && left > 0) {
        left -= 1;
        cuts += 1;
        // What was already passed on arrives.
        upstream.end();
        client.destroy();
        return;
      }
      if (!upstream.write(chunk)) {
        client.pause();
        upstream.once('drain', () => client.resume());
      }
    });
    upstream.on('data', (chunk: Buffer) => client.write(chunk));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    cutAfter(bytes, times) {
      limit = bytes;
      left = times;
    },
    stallAfter(bytes) {
      stall = bytes;
    },
    cuts: () => cuts,
    sent: () => sent,
    async close() {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}
