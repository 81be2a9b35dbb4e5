import type { Worker } from 'node:cluster';

interface ClusterMessage {
  readonly act?: string;
  readonly seq?: number;
  readonly ack?: number;
  readonly accepted?: boolean;
}

/**
 * Gives connections that a child had not yet taken when it died to another one, and ends them when there is none. Node's round robin
 * forgets them (a child's answer to `newconn` is awaited for ever), and a client would wait on an open connection that nobody
 * reads: as if dead, the child is made to answer "not accepted". A connection that the last child refuses, because it has just stopped
 * listening, Node keeps for a next one that never comes: that ends, too. Call what this returns for each child before it listens.
 */
export function createHandOver(): (child: Worker) => void {
  const listening = new Set<Worker>();
  return (child) => {
    const offered = new Map<number, { close(): void }>();
    const channel = child.process;
    const send = channel.send.bind(channel) as (...args: unknown[]) => boolean;
    channel.send = ((message: ClusterMessage, connection: { close(): void }, ...rest: unknown[]) => {
      if (message.act === 'newconn' && message.seq !== undefined) offered.set(message.seq, connection);
      return send(message, connection, ...rest);
    }) as unknown as typeof channel.send;
    channel.on('internalMessage', ({ act, ack, accepted }: ClusterMessage) => {
      if (act === 'close') listening.delete(child);
      if (ack === undefined) return;
      const connection = offered.get(ack);
      offered.delete(ack);
      if (accepted === false && listening.size === 0) connection?.close();
    });
    const handOver = (): void => {
      listening.delete(child);
      for (const [ack, connection] of offered) {
        if (listening.size > 0) {
          channel.emit('internalMessage', { cmd: 'NODE_CLUSTER', ack, accepted: false });
        } else {
          offered.delete(ack);
          connection.close();
        }
      }
    };
    child.on('listening', () => listening.add(child));
    // In either order; what comes in between is only given up by the later one.
    child.once('disconnect', handOver);
    child.once('exit', handOver);
  };
}
